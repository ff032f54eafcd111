// May a sandbox be given a path of this machine? Filesystem rules are judged here, by the same order as
// network rules: what counts is settled in precedence.ts, deny wins, and what no rule allows is denied.
import type { Verdict } from './decision.ts';
import type { PathSegments } from './file-path.ts';
import { type PathPattern, patternMatches, type ReadyPattern } from './file-pattern.ts';
import { reasonOf, ruleLabel } from './reasons.ts';
import { type Decision, GLOBAL_SCOPE, type Source } from './rule.ts';

/** A rule is for one of them; a writable mount needs both. */
export type Access = 'read' | 'write';

export type PathRule = {
  /** As that of a network rule, and of another one than any of these. */
  readonly id: string;
  readonly source: Source;
  readonly decision: Decision;
  /** GLOBAL_SCOPE or the number of a sandbox. */
  readonly scope: number;
  readonly access: Access;
  readonly patterns: readonly PathPattern[];
};

/** A rule with its patterns made ready; a deny has those of the place that its folder leads to, too. */
export type ReadyRule<R extends PathRule = PathRule> = {
  readonly rule: R;
  readonly ready: readonly ReadyPattern[];
};

export type MountQuestion = {
  readonly scope: number;
  /** Without links and `..`. */
  readonly segments: PathSegments;
  /** Folders and files of the proxy itself: what holds one, or lies in one, is given to nobody. */
  readonly reserved: readonly PathSegments[];
};

export type AccessVerdict = Omit<Verdict, 'http' | 'generation'> & {
  readonly access: Access;
  /** Why it is denied, in words; null for an allow. */
  readonly reason: string | null;
};

/** What a rule is for that does not say it. */
export function accessesFor(decision: Decision): readonly Access[] {
  return accessesOf(decision === 'deny');
}

/** What a mount needs; reading first, as it is judged and told. */
export function accessesOf(writable: boolean): readonly Access[] {
  return writable ? ['read', 'write'] : ['read'];
}

export function actionOf(access: Access): `fs:mount:${Access}` {
  return `fs:mount:${access}`;
}

/** The pattern by which a rule has a say about a path, or null when it has none. */
export function pathTouches(
  { rule, ready }: ReadyRule,
  { scope, segments }: Omit<MountQuestion, 'reserved'>,
): PathPattern | null {
  if (rule.scope !== GLOBAL_SCOPE && rule.scope !== scope) return null;
  return ready.find((one) => patternMatches(one, segments))?.pattern ?? null;
}

/** Judges one access. Of several rules the first in the list is named. */
export function judgeAccess(
  rules: readonly ReadyRule[],
  question: MountQuestion,
  access: Access,
): AccessVerdict {
  if (isReserved(question)) return { ...OWN, access };
  const own = rules.filter(
    (one) => one.rule.access === access && pathTouches(one, question) !== null,
  );
  const found = own.find(({ rule }) => rule.decision === 'deny') ?? own[0];
  const { decision, id, source } = found?.rule ?? NONE;
  const kind = id === null ? 'implicit' : 'explicit';
  const verdict = { action: decision, kind, rule: id, source } as const;
  return { ...verdict, access, reason: reasonOf(verdict) };
}

const OWN = {
  action: 'deny',
  kind: 'explicit',
  rule: null,
  source: null,
  reason: 'the keys or the socket of the proxy are there',
} as const;

/** Whether no rule can allow it. */
export function isReserved({ segments, reserved }: MountQuestion): boolean {
  return reserved.some((one) => one.every((name, i) => name === (segments[i] ?? name)));
}

const NONE = { decision: 'deny', id: null, source: null } as const;

/** Judges all that a mount needs. */
export function judgeMount(
  rules: readonly ReadyRule[],
  question: MountQuestion,
  writable: boolean,
): readonly AccessVerdict[] {
  return accessesOf(writable).map((access) => judgeAccess(rules, question, access));
}

export function isAllowed(verdicts: readonly AccessVerdict[]): boolean {
  return verdicts.every(({ action }) => action === 'allow');
}

/** What the mount hangs on: the first refusal, or the last leave. */
export function decisive(verdicts: readonly AccessVerdict[]): AccessVerdict {
  const found = verdicts.find(({ action }) => action === 'deny') ?? verdicts.at(-1);
  if (found === undefined) throw new TypeError('a mount needs an access');
  return found;
}

/** `op(action=fs:mount:read, resource=fs:path:/data)` */
export function mountOperation(access: Access, path: string): string {
  return `op(action=${actionOf(access)}, resource=fs:path:${path})`;
}

/** The RULE column: for a refusal as with network rules, for a leave every rule that it rests on. */
export function mountRuleText(verdicts: readonly AccessVerdict[], path: string): string {
  if (isAllowed(verdicts)) {
    const labels = verdicts.flatMap(({ rule }) => (rule === null ? [] : [ruleLabel(rule)]));
    return [...new Set(labels)].join(', ');
  }
  const { access, rule, kind } = decisive(verdicts);
  const operation = mountOperation(access, path);
  if (kind === 'implicit') return `no applicable policies for ${operation}`;
  if (rule === null) return `denied: ${operation}`;
  return `denied: rule "${ruleLabel(rule)}" matched ${operation}`;
}

/**
 * What a runtime is told that may not mount; it starts as that of sbx does.
 *
 * @param supportMessage  of the organisation that governs, whose rules are not named; null: none has one.
 */
export function mountDenial(
  verdicts: readonly AccessVerdict[],
  path: string,
  supportMessage: string | null,
): string {
  const parts = verdicts
    .filter(({ action }) => action === 'deny')
    .map((verdict) => `${actionOf(verdict.access)} denied: ${causeOf(verdict, path)}`);
  const text = `403 Forbidden: mount policy denied: ${path}: ${parts.join('; ')}`;
  return supportMessage === null ? text : `${text}\n${supportMessage}`;
}

function causeOf(verdict: AccessVerdict, path: string): string {
  const { access, rule, source, kind, reason } = verdict;
  const operation = mountOperation(access, path);
  if (kind === 'implicit') return `no applicable policies for ${operation}`;
  if (source === 'remote' || rule === null) return reason ?? operation;
  return `rule "${ruleLabel(rule)}" matched ${operation}`;
}
