// What a rule must be before it is taken. Every fault of it is named at once.
import { SallyportError } from '../base/errors.ts';
import { type HttpMatch, parseHttpMatch } from '../policy/http.ts';
import { checkForDecision, parseResources, type Resource } from '../policy/resource.ts';
import type { Decision, Protocol } from '../policy/rule.ts';
import type { Draft } from './draft.ts';
import type { StoredRule } from './store.ts';

export type NewRule = {
  readonly decision: Decision;
  /** Comma lists; together the resources of one rule. */
  readonly resources: readonly string[];
  /** Absent: tcp for allow, tcp and udp for deny. */
  readonly protocols?: readonly Protocol[] | undefined;
  /** Absent: global. */
  readonly sandbox?: string | undefined;
  /** An HTTP rule: these methods, or ANY; with paths, else all of them. */
  readonly methods?: readonly string[] | undefined;
  readonly paths?: readonly string[] | undefined;
};

/** What of a rule comes from whoever writes it. */
export type RuleFacts = Pick<StoredRule, 'protocols' | 'resources'> & { readonly http?: HttpMatch };

/** @throws SALLYPORT_POLICY_INVALID naming every fault */
export function ruleFacts({
  decision,
  resources: lists,
  protocols,
  methods = [],
  paths = [],
}: NewRule): RuleFacts {
  const resources = parseResources(lists.join(','));
  checkForDecision(decision, resources);
  if (methods.length + paths.length === 0) {
    return { resources, protocols: protocolsOf(decision, protocols) };
  }
  checkForHttp(resources, protocols);
  return { resources, protocols: ['tcp'], http: parseHttpMatch(methods, paths) };
}

/** A deny is for both transports unless it says otherwise, an allow for tcp. */
export function protocolsOf(decision: Decision, wanted?: readonly Protocol[]): readonly Protocol[] {
  if (wanted !== undefined) return [...new Set(wanted)].sort();
  return decision === 'allow' ? ['tcp'] : ['tcp', 'udp'];
}

/** An address says nothing of whose requests go there. @throws SALLYPORT_POLICY_INVALID naming all */
function checkForHttp(
  resources: readonly Resource[],
  protocols: readonly Protocol[] | undefined,
): void {
  const faults = resources
    .filter(({ kind }) => kind === 'cidr')
    .map(({ text }) => `${text}: an HTTP rule names hosts, not addresses`);
  if (protocols?.includes('udp')) faults.push('an HTTP rule is for tcp alone');
  if (faults.length > 0) throw new SallyportError('SALLYPORT_POLICY_INVALID', faults.join('; '));
}

/** As sbx has it: the same resource cannot be allowed and denied in one scope. @throws SALLYPORT_CONFLICT */
export function checkConflicts(added: readonly StoredRule[], draft: Draft): void {
  const faults = added.flatMap((rule) => {
    const texts = new Set(rule.resources.map(({ text }) => text));
    const against = draft.select(
      ({ scope, source, decision, http }) =>
        scope === rule.scope &&
        source === 'local' &&
        decision !== rule.decision &&
        !http &&
        !rule.http,
    );
    return against.flatMap(({ id, decision, resources }) =>
      resources
        .filter(({ text }) => texts.has(text))
        .map(({ text }) => `"${text}" conflicts with existing ${decision} rule "${id}"`),
    );
  });
  const [first] = added;
  if (first === undefined || faults.length === 0) return;
  const what = `${first.decision} network rule: ${first.decision}`;
  throw new SallyportError('SALLYPORT_CONFLICT', `${what}: ${faults.join('; ')}`);
}
