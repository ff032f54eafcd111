// What changes between two policies: the statements that come and go, each with a request that is
// decided otherwise because of it. Requests are found by trying (witness.ts) and judged by judge.ts,
// so a witness is proof; that none was found is not.
import type { AddressGuard } from './judge.ts';
import type { Protocol, Rule } from './rule.ts';
import { type Judged, type Statement, type Witness, WitnessSearch } from './witness.ts';

export type Change = {
  readonly op: 'add' | 'remove';
  readonly statement: Statement;
  /** Null: none was found; it may have no effect beside the other rules. */
  readonly witness: Witness | null;
};

/**
 * @returns what is to be added to the first policy, and removed from it, to have the second.
 */
export function differences(before: Judged, after: Judged, guard: AddressGuard): Change[] {
  const [gone, come] = [statementsOf(before.rules), statementsOf(after.rules)];
  const search = new WitnessSearch(before, after, guard);
  const changesOf = (op: Change['op'], own: Statements, others: Statements): Change[] =>
    [...own].flatMap(([name, statement]) => {
      const protocols = missing(statement.protocols, others.get(name)?.protocols ?? []);
      if (protocols.length === 0) return [];
      const changed = { ...statement, protocols };
      return [{ op, statement: changed, witness: search.find(op, changed) }];
    });
  return [...changesOf('remove', gone, come), ...changesOf('add', come, gone)];
}

type Statements = ReadonlyMap<string, Statement>;

/** By what they say; what is said twice is there once. */
function statementsOf(rules: readonly Rule[]): Statements {
  const found = new Map<string, Statement>();
  for (const statement of rules.flatMap(parts)) {
    const { scope, decision, resources, http, protocols } = statement;
    const name = `${scope} ${decision} ${resources[0]?.text} ${http?.methods} ${http?.paths}`;
    const before = found.get(name);
    const all = [...new Set([...(before?.protocols ?? []), ...protocols])].sort();
    found.set(name, { ...(before ?? statement), protocols: all });
  }
  return found;
}

function parts(rule: Rule): Statement[] {
  return rule.resources.flatMap((resource): Statement[] => {
    const one = { ...rule, resources: [resource] };
    const { http } = rule;
    if (http === undefined) return [one];
    return http.paths.map((path) => ({ ...one, http: { methods: http.methods, paths: [path] } }));
  });
}

function missing(own: readonly Protocol[], others: readonly Protocol[]): readonly Protocol[] {
  return own.filter((protocol) => !others.includes(protocol));
}
