// Changes of filesystem rules: what is checked, and when one is refused. They come into force through
// changes.ts, in one transaction with whatever else changes.
import { randomUUID } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import { SallyportError } from '../../base/errors.ts';
import { FILE_PATTERNS_MAX } from '../../base/limits.ts';
import { type PathPattern, parsePathPatterns } from '../../policy/file-pattern.ts';
import type { Access } from '../../policy/mount.ts';
import { FILESYSTEM_DEFAULTS } from '../../policy/presets.ts';
import { type Decision, GLOBAL_SCOPE } from '../../policy/rule.ts';
import type { Changes } from './changes.ts';
import type { Draft } from './draft.ts';
import type { StoredPathRule } from './path-rule-store.ts';
import type { PathPlan } from './plan-paths.ts';
import { FIXED_HINT, fixedReason } from './removal.ts';
import { uninitialized } from './rule-input.ts';

/** One rule for each access. */
export type NewPathRules = {
  readonly decision: Decision;
  readonly accesses: readonly Access[];
  readonly patterns: readonly PathPattern[];
  /** Absent: global. */
  readonly sandbox?: string | undefined;
};

/** Which rules to remove, within one scope. */
export type PathSelector = {
  readonly id?: string | undefined;
  /** Each is taken out of every rule that has it. */
  readonly patterns?: readonly string[] | undefined;
  /** With patterns: out of rules for these alone. */
  readonly accesses?: readonly Access[] | undefined;
  readonly sandbox?: string | undefined;
};

/** A filesystem rule of an organisation. */
export type GivenPathRule = Pick<
  StoredPathRule,
  'id' | 'name' | 'decision' | 'access' | 'patterns' | 'policy'
>;

export type PathRemoval = { readonly rule: StoredPathRule; readonly patterns: readonly string[] };

type Queue = Pick<Changes<unknown>, 'current' | 'enqueue'>;

export class PathRules {
  readonly #changes: Queue;
  readonly #scopeOf: (sandbox: string | undefined) => number;
  readonly #clock: Clock;

  /** @param scopeOf  a sandbox's number; throws SALLYPORT_NOT_FOUND */
  constructor(changes: Queue, scopeOf: (sandbox: string | undefined) => number, clock: Clock) {
    this.#changes = changes;
    this.#scopeOf = scopeOf;
    this.#clock = clock;
  }

  /** In order of creation; which of them count, policy/precedence.ts says. */
  get all(): readonly StoredPathRule[] {
    return this.#changes.current.pathRules;
  }

  /**
   * Adds rules, all or none.
   *
   * @throws SALLYPORT_POLICY_UNINITIALIZED, SALLYPORT_POLICY_TOO_LARGE, SALLYPORT_CONFLICT,
   *   SALLYPORT_NOT_FOUND for a sandbox
   */
  async add({ decision, accesses, patterns, sandbox }: NewPathRules): Promise<StoredPathRule[]> {
    let added: StoredPathRule[] = [];
    await this.#changes.enqueue((draft) => {
      if (draft.preset === null) throw uninitialized();
      const scope = this.#scopeOf(sandbox);
      const createdAtMs = this.#clock.wallMs();
      added = accesses.map((access) => {
        const id = randomUUID();
        const who = { id, name: id, source: 'local', createdVia: 'added', createdAtMs } as const;
        return { ...who, decision, scope, access, patterns };
      });
      if (draft.semantics.conflicts === 'refuse') checkConflicts(added, draft);
      draft.pathRules = checkSize([...draft.pathRules, ...added]);
    });
    return added;
  }

  /**
   * Removes a rule by its id, or patterns from the rules of a scope. A rule that has none left goes.
   *
   * @throws SALLYPORT_USAGE without a selector, SALLYPORT_NOT_FOUND when one of the patterns is in no
   *   rule, SALLYPORT_CONFLICT for what stays whatever a user says
   */
  async remove(selector: PathSelector): Promise<PathRemoval[]> {
    const { id, patterns, sandbox } = selector;
    const texts =
      patterns === undefined ? null : parsePathPatterns(patterns).map(({ text }) => text);
    if (id === undefined && texts === null) {
      throw new SallyportError(
        'SALLYPORT_USAGE',
        'at least one selector is required: use --id or --resource',
      );
    }
    let removed: PathRemoval[] = [];
    await this.#changes.enqueue((draft) => {
      if (draft.preset === null) throw uninitialized();
      const scope = this.#scopeOf(sandbox);
      const among =
        id === undefined
          ? draft.pathRules.filter((rule) => rule.scope === scope && isAccess(rule, selector))
          : [byId(draft, id, sandbox === undefined ? null : scope)];
      removed = texts === null ? among.map(whole) : matching(among, texts);
      checkRemovable(removed, draft);
      draft.pathRules = draft.pathRules.flatMap((rule) => without(rule, removed));
    });
    return removed;
  }
}

/** What every preset begins with. */
export function defaultPathRules(createdAtMs: number): StoredPathRule[] {
  return FILESYSTEM_DEFAULTS.map(({ id, access, patterns }) => ({
    id,
    name: id,
    source: 'local',
    decision: 'allow',
    scope: GLOBAL_SCOPE,
    access,
    patterns: parsePathPatterns(patterns),
    createdVia: 'default',
    createdAtMs,
  }));
}

/** Beside what is there: an organisation may govern already. @throws SALLYPORT_POLICY_TOO_LARGE */
export function withDefaults(
  { pathRules }: Pick<Draft, 'pathRules'>,
  createdAtMs: number,
): readonly StoredPathRule[] {
  return checkSize([...pathRules, ...defaultPathRules(createdAtMs)]);
}

/**
 * The rules as they are after a policy file is applied; the same list when nothing changes.
 *
 * @throws SALLYPORT_POLICY_TOO_LARGE, SALLYPORT_CONFLICT
 */
export function rulesAfter(
  draft: Draft,
  { isGiven, changes }: PathPlan,
  createdAtMs: number,
): readonly StoredPathRule[] {
  const defaults = draft.preset === null && !isGiven ? defaultPathRules(createdAtMs) : [];
  const gone = new Set(changes.flatMap(({ op, rule }) => (op === 'remove' ? [rule.id] : [])));
  const added = changes.flatMap((change): StoredPathRule[] => {
    if (change.op === 'remove') return [];
    const { id: given, ...facts } = change.rule;
    const id = given ?? randomUUID();
    const createdVia = given === null ? 'added' : 'default';
    return [{ ...facts, id, name: id, source: 'local', createdVia, createdAtMs }];
  });
  if (gone.size + added.length + defaults.length === 0) return draft.pathRules;
  const left = draft.pathRules.filter(({ id }) => !gone.has(id));
  const rules = [...left, ...defaults, ...added];
  checkSize(rules);
  if (draft.semantics.conflicts === 'refuse') checkConflicts(added, { pathRules: rules });
  return rules;
}

/** With what an organisation says in place of what it said. @throws SALLYPORT_POLICY_TOO_LARGE */
export function takenOver(
  { pathRules }: Pick<Draft, 'pathRules'>,
  given: readonly GivenPathRule[],
  createdAtMs: number,
): readonly StoredPathRule[] {
  const common = { source: 'remote', scope: GLOBAL_SCOPE, createdVia: 'provisioned' } as const;
  const others = pathRules.filter(({ source }) => source !== 'remote');
  return checkSize([...others, ...given.map((rule) => ({ ...rule, ...common, createdAtMs }))]);
}

/** @throws SALLYPORT_POLICY_TOO_LARGE */
function checkSize(rules: readonly StoredPathRule[]): readonly StoredPathRule[] {
  const count = rules.reduce((sum, { patterns }) => sum + patterns.length, 0);
  if (count > FILE_PATTERNS_MAX) {
    throw new SallyportError(
      'SALLYPORT_POLICY_TOO_LARGE',
      `the filesystem rules would have ${count} paths; at most ${FILE_PATTERNS_MAX} are possible`,
    );
  }
  return rules;
}

function isAccess({ access }: StoredPathRule, { accesses }: PathSelector): boolean {
  return accesses === undefined || accesses.includes(access);
}

/** @param scope  null for whichever it has */
function byId(draft: Draft, id: string, scope: number | null): StoredPathRule {
  const plain = id.replace(/^local:/, '');
  const rule = draft.pathRules.find((one) => one.id === plain);
  if (rule !== undefined && (scope === null || rule.scope === scope)) return rule;
  throw new SallyportError('SALLYPORT_NOT_FOUND', `filesystem rule "${id}" not found`);
}

function whole(rule: StoredPathRule): PathRemoval {
  return { rule, patterns: rule.patterns.map(({ text }) => text) };
}

/** @throws SALLYPORT_NOT_FOUND, naming every pattern that no rule has. */
function matching(rules: readonly StoredPathRule[], texts: readonly string[]): PathRemoval[] {
  const found = rules
    .map((rule) => {
      const own = whole(rule).patterns.filter((text) => texts.includes(text));
      return { rule, patterns: own };
    })
    .filter(({ patterns }) => patterns.length > 0);
  const known = new Set(found.flatMap(({ patterns }) => patterns));
  const missing = texts.filter((text) => !known.has(text));
  if (missing.length === 0) return found;
  const names = missing.map((text) => `"${text}"`).join(', ');
  throw new SallyportError('SALLYPORT_NOT_FOUND', `no rule has the resource ${names}`);
}

/** @throws SALLYPORT_CONFLICT naming every rule that stays */
function checkRemovable(removals: readonly PathRemoval[], { semantics }: Draft): void {
  const faults = removals.flatMap(({ rule }) => {
    const reason = fixedReason(rule, semantics);
    return reason === null ? [] : [`rule "${rule.name}" cannot be removed: ${reason}`];
  });
  if (faults.length === 0) return;
  throw new SallyportError('SALLYPORT_CONFLICT', faults.join('; '), { hint: FIXED_HINT });
}

function without(rule: StoredPathRule, removals: readonly PathRemoval[]): StoredPathRule[] {
  const gone = removals.find((one) => one.rule.id === rule.id)?.patterns;
  if (gone === undefined) return [rule];
  const patterns = rule.patterns.filter(({ text }) => !gone.includes(text));
  return patterns.length === 0 ? [] : [{ ...rule, patterns }];
}

/** As with network rules: the same path cannot be allowed and denied in one scope. @throws SALLYPORT_CONFLICT */
function checkConflicts(added: readonly StoredPathRule[], draft: Pick<Draft, 'pathRules'>): void {
  const faults = added.flatMap((rule) => {
    const texts = new Set(whole(rule).patterns);
    const against = draft.pathRules.filter(
      ({ scope, source, decision, access }) =>
        scope === rule.scope &&
        source === 'local' &&
        decision !== rule.decision &&
        access === rule.access,
    );
    return against.flatMap((one) =>
      whole(one)
        .patterns.filter((text) => texts.has(text))
        .map((text) => `"${text}" conflicts with existing ${one.decision} rule "${one.id}"`),
    );
  });
  const [first] = added;
  if (first === undefined || faults.length === 0) return;
  const what = `${first.decision} filesystem rule: ${first.decision}`;
  throw new SallyportError('SALLYPORT_CONFLICT', `${what}: ${faults.join('; ')}`);
}
