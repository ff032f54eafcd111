// What an organisation says, wherever it is said: a server (server.ts) or a signed file
// (file.ts) gives its policies, and this makes the rules of ours out of them.
import { setImmediate } from 'node:timers/promises';
import { SallyportError } from '../../base/errors.ts';
import { GOVERNANCE_POLICIES_MAX } from '../../base/limits.ts';
import type { RuleType } from '../../policy/precedence.ts';
import type { SyncRecord } from '../store.ts';
import { AllowlistPolicy, faultsOf, PolicySummary } from './api.ts';
import { type GivenRules, givenRules } from './rules.ts';

/** All of it, as it is at one moment. */
export type Word = {
  readonly organization: string;
  readonly supportMessage: string | null;
  readonly delegates: readonly RuleType[];
} & GivenRules &
  Pick<SyncRecord, 'expiresMs' | 'serial' | 'digest'>;

export type GovernanceSource = {
  /** Tells this source from others; no secret. */
  readonly name: string;
  /** As far as it is known without asking. */
  readonly organization: string | null;
  /**
   * Asks.
   *
   * @param last    what this source said before, or null.
   * @param signal  gives up.
   * @throws SALLYPORT_GOVERNANCE_FAILED, SALLYPORT_POLICY_INVALID for what cannot be enforced
   */
  fetch(last: SyncRecord | null, signal: AbortSignal): Promise<Word>;
};

/**
 * The policies that are for somebody in these teams: those for all, and theirs.
 *
 * @param found  of any form; each is checked. @throws SALLYPORT_GOVERNANCE_FAILED
 */
export function summariesFor(found: readonly unknown[], teams: readonly string[]): PolicySummary[] {
  if (found.length > GOVERNANCE_POLICIES_MAX) {
    throw failed(`there are more than ${GOVERNANCE_POLICIES_MAX} policies`);
  }
  const summaries = found.map((one) => {
    const read = PolicySummary.safeParse(one);
    if (read.success) return read.data;
    throw failed(`${nameOf(one)} cannot be read: ${faultsOf(read.error)}`);
  });
  return summaries.filter(({ scope }) => {
    const theirs = scope?.teams ?? [];
    return theirs.length === 0 || theirs.some((team) => teams.includes(team));
  });
}

/** Policies that were read before, by the object that holds each: most are as they were. */
export type ReadBefore = WeakMap<object, GivenRules>;

/**
 * The rules of policies, as they come into force together. There may be 25,000 of them: others get
 * their turn after each policy.
 *
 * @throws SALLYPORT_GOVERNANCE_FAILED, SALLYPORT_POLICY_INVALID: a policy that cannot be enforced
 *   cannot be left out, for it may deny.
 */
export async function rulesOf(
  policies: readonly unknown[],
  before: ReadBefore = new WeakMap(),
): Promise<GivenRules> {
  const ids = new Set<string>();
  const given: GivenRules[] = [];
  for (const one of policies) {
    const known = before.get(one as object);
    const read = known ?? givenRules(allowlistIn(one));
    given.push(read);
    if (known !== undefined) continue;
    before.set(one as object, read); // What is no object was refused.
    await setImmediate();
  }
  const rules = given.flatMap((one) => one.rules);
  const pathRules = given.flatMap((one) => one.pathRules);
  for (const { id } of [...rules, ...pathRules]) {
    if (ids.has(id)) throw failed(`there are two rules ${id}`);
    ids.add(id);
  }
  return { rules, pathRules };
}

function allowlistIn(one: unknown): AllowlistPolicy {
  const type = fieldOf(one, 'type');
  if (type !== 'allowlist_v0') {
    const what = type === 'cedar_v1' ? 'a Cedar policy (cedar_v1)' : 'of an unknown type';
    throw failed(`${nameOf(one)} is ${what}, which cannot be enforced here; only allowlist_v0 can`);
  }
  const read = AllowlistPolicy.safeParse(one);
  if (read.success) return read.data;
  throw failed(`${nameOf(one)} cannot be read: ${faultsOf(read.error)}`);
}

/** @returns `policy pol_1`; what is no id is not repeated. */
function nameOf(policy: unknown): string {
  const id = fieldOf(policy, 'id');
  return typeof id === 'string' && /^[\w-]{1,64}$/.test(id) ? `policy ${id}` : 'a policy';
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

/** What keeps an organisation's word from being known; the message goes to people. */
export function failed(message: string, cause?: unknown): SallyportError {
  return new SallyportError('SALLYPORT_GOVERNANCE_FAILED', message, { cause });
}
