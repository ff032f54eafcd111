// What applying a policy file would do: which rules stay, come, go or change. It looks and says;
// policy.ts does it.
import { SallyportError } from '../../base/errors.ts';
import { isPreset, presetRules } from '../../policy/presets.ts';
import { isMadeId } from '../../policy/reasons.ts';
import { GLOBAL_SCOPE, type Rule } from '../../policy/rule.ts';
import { protocolsOf, type RuleFacts, ruleFacts } from '../../policy/rule-facts.ts';
import type { StoredRule } from '../store.ts';
import type { Draft } from './draft.ts';
import { type PathPlan, planPaths, type WantedPaths } from './plan-paths.ts';
import type { ScopeNames } from './policy.ts';
import { checkConflicts, type NewRule, uninitialized } from './rule-input.ts';

export type WantedRule = NewRule & {
  /** Absent: whichever rule says this. */
  readonly id?: string | undefined;
  /** Where it stands, for messages. */
  readonly at?: string | undefined;
};

/** A policy as somebody wants it. */
export type Wanted = WantedPaths & {
  /** replace: what is not in it goes, in the global scope and in the sandboxes that it names. */
  readonly mode: 'replace' | 'add';
  /** Null, when adding: as it is. */
  readonly preset: string | null;
  /** Null: as this version has them. */
  readonly presetRules:
    | readonly { readonly id: string; readonly resources: readonly string[] }[]
    | null;
  readonly rules: readonly WantedRule[];
  readonly sandboxes: readonly { readonly name: string; readonly at?: string | undefined }[];
};

/** A rule to be, without what only a rule that is has. */
export type PlannedRule = Pick<Rule, 'decision' | 'scope'> &
  RuleFacts & {
    /** Null: one is made. */
    readonly id: string | null;
    readonly isPreset: boolean;
    readonly at: string | undefined;
  };

export type Change =
  | { readonly op: 'add'; readonly rule: PlannedRule }
  | { readonly op: 'remove'; readonly rule: StoredRule }
  | { readonly op: 'change'; readonly rule: PlannedRule; readonly before: StoredRule };

export type Plan = {
  /** That there will be. */
  readonly preset: string;
  /** What is there, and stays as it is. */
  readonly kept: number;
  readonly changes: readonly Change[];
  readonly paths: PathPlan;
};

type Planning = {
  readonly draft: Draft;
  readonly mode: Wanted['mode'];
  /** Local rules of the scopes that the file speaks of. */
  readonly there: ReadonlyMap<string, StoredRule>;
  readonly faults: string[];
};

/**
 * @throws SALLYPORT_POLICY_INVALID naming every fault with its place, SALLYPORT_CONFLICT,
 *   SALLYPORT_POLICY_UNINITIALIZED, SALLYPORT_POLICY_TOO_LARGE
 */
export function planOf(draft: Draft, wanted: Wanted, scopes: ScopeNames): Plan {
  const faults: string[] = [];
  const preset = presetOf(draft, wanted);
  const numbers = scopeNumbers([...wanted.sandboxes, ...namedBy(wanted.rules)], scopes, faults);
  const managed = new Set([GLOBAL_SCOPE, ...numbers.values()]);
  const paths = planPaths(
    draft,
    wanted,
    wanted.mode,
    pathNumbers(wanted, numbers, scopes, faults),
    (at, error) => {
      faults.push(placed(at, wordsOf(error)));
    },
  );
  // A rule that ends is nobody's file's: it neither goes by one nor stands for a rule that stays.
  const there = draft.select(
    ({ source, scope, expiresAtMs }) =>
      source === 'local' && managed.has(scope) && expiresAtMs === undefined,
  );
  const planning = {
    ...{ draft, mode: wanted.mode, faults },
    there: new Map(there.map((rule) => [rule.id, rule])),
  };
  const rules = [
    ...presetRulesOf(wanted, preset),
    ...wanted.rules.flatMap((rule) => plannedRule(rule, numbers, faults)),
  ];
  checkIds(rules, faults);
  const { kept, changes } = compare(rules, planning);
  if (faults.length > 0) throw new SallyportError('SALLYPORT_POLICY_INVALID', faults.join('\n'));
  if (draft.semantics.conflicts === 'refuse') refuseConflicts(planning.there, changes);
  return { preset, kept, changes, paths };
}

/** @throws SALLYPORT_POLICY_INVALID, SALLYPORT_POLICY_UNINITIALIZED */
function presetOf(draft: Draft, wanted: Wanted): string {
  const { mode, preset, presetRules: given, presetFilesystem: paths } = wanted;
  if (preset !== null && !isPreset(preset)) throw invalid(`there is no preset "${preset}"`);
  if (paths !== null && wanted.filesystem === null) {
    throw invalid('the filesystem rules of the preset need the others beside them');
  }
  if (mode === 'replace') {
    if (preset !== null) return preset;
    throw invalid('it names no preset, so it is no whole policy; its rules can be added to others');
  }
  if (draft.preset === null) throw uninitialized();
  if (given !== null || paths !== null) throw invalid('the rules of the preset are not added to');
  if (preset === null || preset === draft.preset) return draft.preset;
  throw invalid(`the preset is ${draft.preset}, not ${preset}; only a whole policy changes it`);
}

type Naming = { readonly name: string; readonly at?: string | undefined };

function namedBy(
  rules: readonly { readonly sandbox?: string | undefined; readonly at?: string | undefined }[],
): Naming[] {
  return rules.flatMap(({ sandbox, at }) => (sandbox === undefined ? [] : [{ name: sandbox, at }]));
}

/** A sandbox that only filesystem rules name keeps its others. */
function pathNumbers(
  { filesystem }: Wanted,
  numbers: ReadonlyMap<string, number>,
  scopes: ScopeNames,
  faults: string[],
): ReadonlyMap<string, number> {
  const more = namedBy(filesystem ?? []).filter(({ name }) => !numbers.has(name));
  return new Map([...numbers, ...scopeNumbers(more, scopes, faults)]);
}

/** Every sandbox that is named, with its scope. */
function scopeNumbers(
  named: readonly Naming[],
  scopes: ScopeNames,
  faults: string[],
): ReadonlyMap<string, number> {
  const numbers = new Map<string, number>();
  const unknown = new Set<string>();
  for (const { name, at } of named) {
    if (numbers.has(name) || unknown.has(name)) continue;
    try {
      numbers.set(name, scopes.numberOf(name));
    } catch (error) {
      unknown.add(name);
      faults.push(placed(at, wordsOf(error)));
    }
  }
  return numbers;
}

function presetRulesOf({ mode, presetRules: given }: Wanted, preset: string): PlannedRule[] {
  if (mode === 'add' || !isPreset(preset)) return [];
  const own = given?.map(({ id, resources }) => ({
    id,
    decision: 'allow' as const,
    ...ruleFacts({ decision: 'allow', resources }),
  }));
  return (own ?? presetRules(preset)).map((rule) => ({
    ...rule,
    protocols: protocolsOf(rule.decision),
    scope: GLOBAL_SCOPE,
    isPreset: true,
    at: undefined,
  }));
}

/** @returns none when there are faults, which have been told */
function plannedRule(
  { id, sandbox, at, ...input }: WantedRule,
  numbers: ReadonlyMap<string, number>,
  faults: string[],
): PlannedRule[] {
  const scope = sandbox === undefined ? GLOBAL_SCOPE : numbers.get(sandbox);
  if (scope === undefined) return []; // The sandbox is unknown, and was told.
  try {
    const facts = ruleFacts(input);
    return [{ id: id ?? null, isPreset: false, at, decision: input.decision, scope, ...facts }];
  } catch (error) {
    faults.push(placed(at, wordsOf(error)));
    return [];
  }
}

function checkIds(rules: readonly PlannedRule[], faults: string[]): void {
  const seen = new Set<string>();
  for (const { id, at } of rules) {
    if (id === null) continue;
    if (seen.has(id)) faults.push(placed(at, `the id "${id}" stands twice`));
    seen.add(id);
  }
}

/** A rule without an id is any that says the same and was given none by a person. */
function compare(
  wanted: readonly PlannedRule[],
  planning: Planning,
): Pick<Plan, 'kept' | 'changes'> {
  const { mode, there } = planning;
  const changes: Change[] = [];
  const named = new Set(wanted.map(({ id }) => id));
  const open = [...there.values()].filter(
    ({ id }) => !named.has(id) && (mode === 'add' || isMadeId(id)),
  );
  const alike = Map.groupBy(open, contentOf);
  const found = new Set<string>();
  for (const rule of wanted) {
    if (rule.id !== null) {
      changes.push(...changeById(rule, rule.id, planning));
      continue;
    }
    const rules = alike.get(contentOf(rule)) ?? [];
    const same = mode === 'add' ? rules[0] : rules.shift();
    if (same === undefined) changes.push({ op: 'add', rule });
    else found.add(same.id);
  }
  const left = [...there.values()].filter(({ id }) => !named.has(id) && !found.has(id));
  if (mode === 'replace') changes.push(...left.map((rule): Change => ({ op: 'remove', rule })));
  return { kept: there.size - changes.filter(({ op }) => op !== 'add').length, changes };
}

/** @returns none when it is there already, or when there are faults, which have been told */
function changeById(
  rule: PlannedRule,
  id: string,
  { draft, mode, there, faults }: Planning,
): Change[] {
  const before = draft.get(id);
  if (before === undefined) return [{ op: 'add', rule }];
  if (!there.has(id) || (before.createdVia === 'default') !== rule.isPreset) {
    faults.push(placed(rule.at, `the id "${id}" is that of another rule`));
  } else if (contentOf(before) !== contentOf(rule)) {
    if (mode === 'replace') return [{ op: 'change', rule, before }];
    faults.push(placed(rule.at, `the rule "${id}" is there, and says something else`));
  }
  return [];
}

function contentOf(rule: Omit<PlannedRule, 'id' | 'isPreset' | 'at'>): string {
  const { decision, scope, protocols, resources, http } = rule;
  const texts = resources.map(({ text }) => text).sort();
  return JSON.stringify([decision, scope, protocols, texts, http?.methods, http?.paths]);
}

/** Among the rules that there will be. */
function refuseConflicts(there: ReadonlyMap<string, StoredRule>, changes: readonly Change[]): void {
  const gone = new Set(changes.flatMap((one) => (one.op === 'add' ? [] : [one.rule.id])));
  const fresh = changes
    .filter((one) => one.op !== 'remove')
    .map(({ rule }) => ({ ...rule, id: rule.id ?? 'new', source: 'local' as const }));
  checkConflicts(fresh, [...[...there.values()].filter(({ id }) => !gone.has(id)), ...fresh]);
}

function placed(at: string | undefined, why: string): string {
  return at === undefined || at === '' ? why : `${at}: ${why}`;
}

function wordsOf(error: unknown): string {
  if (error instanceof SallyportError) return error.message;
  throw error;
}

function invalid(message: string): SallyportError {
  return new SallyportError('SALLYPORT_POLICY_INVALID', message);
}
