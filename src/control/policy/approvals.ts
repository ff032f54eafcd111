// What no rule covers, put before people: each destination of a sandbox once, however often it is
// asked for. What waits for an answer is in memory alone; a yes that stays is a rule like others.
import { createHash } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import { SallyportError } from '../../base/errors.ts';
import {
  APPROVAL_ONCE_MS,
  APPROVALS_KEPT_MAX,
  APPROVALS_PER_SANDBOX_MAX,
  APPROVALS_WAITING_MAX,
  APPROVALS_WAITING_PER_SANDBOX_MAX,
} from '../../base/limits.ts';
import { formatHostPort } from '../../policy/resource.ts';
import type { ApprovalRequest } from '../../proxy/approval.ts';
import type { Approval } from '../../proxy/exchange.ts';
import type { OtherRecord } from '../audit/record.ts';
import type { PolicyService } from './policy.ts';

/** off: nobody is asked. ask: refused at once, as sbx has it. wait: held until somebody answers. */
export type ApprovalMode = 'off' | 'ask' | 'wait';

export const APPROVAL_OPTIONS = {
  allow: 'Allow',
  once: 'Allow once',
  dismiss: 'Dismiss',
} as const;
export type ApprovalOption = keyof typeof APPROVAL_OPTIONS;

/** A destination that waits for an answer. */
export type PendingApproval = {
  readonly id: string;
  readonly scope: number;
  readonly sandbox: string;
  readonly host: string;
  readonly port: number;
  readonly firstMs: number;
  readonly lastMs: number;
  /** How often it was asked for. */
  readonly count: number;
  /** Requests that are held for it now. */
  readonly waiting: number;
};

/** What a person said, for the audit. */
export type Responded = {
  readonly approval: PendingApproval;
  readonly option: ApprovalOption;
  /** Of the rule that was made; null: none was. */
  readonly rule: string | null;
  /** Wall clock; null: it does not end. */
  readonly expiresAtMs: number | null;
};

type Waiter = (approval: Approval) => void;
type Entry = Omit<PendingApproval, 'waiting'> & { lastMs: number; count: number };
type Kept = { readonly entry: Entry; readonly waiters: Set<Waiter> };

type Parts = {
  readonly policy: Pick<PolicyService, 'add' | 'end' | 'governance' | 'preset'>;
  readonly scopes: { numberOf(name: string): number };
  readonly clock: Clock;
  readonly mode: () => ApprovalMode;
  /** How long a request is held. */
  readonly waitMs: () => number;
  /** Called when a destination is asked for that nobody has been told of. */
  readonly onNew: (approval: PendingApproval) => void;
  /** Called when a rule that ends may be in force, also one that was told to have failed. */
  readonly onEnding: () => void;
  /** @returns when it is on file @throws when it cannot be */
  readonly onResponse: (responded: Responded) => Promise<void>;
};

export class Approvals {
  readonly #parts: Parts;
  /** The one that was asked for last stands last. */
  readonly #kept = new Map<string, Kept>();
  /** Until when leave for one request waits for it, monotonic. */
  readonly #onceUntilMs = new Map<string, number>();
  readonly #answering = new Set<Kept>();
  #waiting = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** A worker's question. @param signal  nobody waits for the answer any more */
  async ask(request: ApprovalRequest, signal: AbortSignal): Promise<Approval> {
    const scope = this.#scopeOf(request.sandbox);
    if (scope === null || !this.#isAsking) return 'off';
    const id = idOf(scope, request);
    if (this.#takeOnce(id)) return 'once';
    const kept = this.#keep(id, scope, request);
    const held = this.#parts.mode() === 'wait' && request.wait && !signal.aborted;
    return kept === null || !held ? 'refused' : this.#hold(kept, signal);
  }

  /** Who asked last stands first. @param sandbox  absent: of all */
  list(sandbox?: string): PendingApproval[] {
    const scope = sandbox === undefined ? null : this.#parts.scopes.numberOf(sandbox);
    return [...this.#kept.values()]
      .filter(({ entry }) => scope === null || entry.scope === scope)
      .map(pendingOf)
      .reverse();
  }

  /** @throws SALLYPORT_NOT_FOUND */
  get(id: string): PendingApproval {
    return pendingOf(this.#find(id));
  }

  /**
   * Takes a person's answer.
   *
   * @param lifeMs  of the rule that allows; null: it stays until it is removed.
   * @throws SALLYPORT_NOT_FOUND, SALLYPORT_CONFLICT, SALLYPORT_AUDIT_UNAVAILABLE, and what adding a
   *   rule throws
   */
  async respond(
    id: string,
    option: ApprovalOption,
    lifeMs: number | null = null,
  ): Promise<Responded> {
    const kept = this.#find(id);
    if (this.#answering.has(kept)) {
      throw new SallyportError('SALLYPORT_CONFLICT', `somebody answers "${id}" already`, {
        hint: 'See what came of it with `sbx policy approval ls`.',
      });
    }
    this.#answering.add(kept);
    try {
      const responded = await this.#record(pendingOf(kept), option, lifeMs);
      if (option === 'once') this.#allowOnce(kept);
      else this.#settle(kept, option === 'allow' ? 'rule' : 'refused');
      return responded;
    } finally {
      this.#answering.delete(kept);
    }
  }

  /** Nobody is let go before it is on file; a rule that cannot be recorded goes again. */
  async #record(
    approval: PendingApproval,
    option: ApprovalOption,
    lifeMs: number | null,
  ): Promise<Responded> {
    const { policy, clock, onEnding, onResponse } = this.#parts;
    if (option !== 'allow') {
      const responded = { approval, option, rule: null, expiresAtMs: null };
      await onResponse(responded);
      return responded;
    }
    const { host, port, sandbox } = approval;
    const expiresAtMs = lifeMs === null ? null : clock.wallMs() + lifeMs;
    const place = formatHostPort(host, port);
    const approved = { expiresAtMs };
    const adding = policy.add([{ decision: 'allow', resources: [place], sandbox, approved }]);
    const [rule] = await (expiresAtMs === null ? adding : adding.finally(onEnding));
    const responded = { approval, option, rule: rule?.id ?? null, expiresAtMs };
    try {
      await onResponse(responded);
    } catch (error) {
      if (rule !== undefined) await policy.end([rule.id]);
      throw error;
    }
    return responded;
  }

  /** The sandbox is gone. @param scope  null: all that was asked and answered is */
  drop(scope: number | null): void {
    if (scope === null) this.#onceUntilMs.clear(); // Else nobody asks by that scope any more.
    for (const kept of this.#kept.values()) {
      if (scope === null || kept.entry.scope === scope) this.#settle(kept, 'refused');
    }
  }

  /** Only where the user's own policy denies by default, as sbx has it. */
  get #isAsking(): boolean {
    const { policy, mode } = this.#parts;
    const { governance, preset } = policy;
    const byDefault = preset === 'balanced' || preset === 'deny-all';
    return mode() !== 'off' && governance === null && byDefault;
  }

  #scopeOf(sandbox: string): number | null {
    try {
      return this.#parts.scopes.numberOf(sandbox);
    } catch {
      return null; // It was removed a moment ago.
    }
  }

  /** @returns null when there is no room for another question */
  #keep(id: string, scope: number, { sandbox, host, port }: ApprovalRequest): Kept | null {
    const nowMs = this.#parts.clock.wallMs();
    const before = this.#kept.get(id);
    if (before !== undefined) {
      before.entry.lastMs = nowMs;
      before.entry.count++;
      this.#kept.delete(id);
      this.#kept.set(id, before);
      return before;
    }
    if (!this.#makeRoom(scope)) return null;
    const entry = { id, scope, sandbox, host, port, firstMs: nowMs, lastMs: nowMs, count: 1 };
    const kept = { entry, waiters: new Set<Waiter>() };
    this.#kept.set(id, kept);
    this.#parts.onNew(pendingOf(kept));
    return kept;
  }

  /** The oldest that nobody is held for goes: first one of the same sandbox. */
  #makeRoom(scope: number): boolean {
    const own = [...this.#kept.values()].filter(({ entry }) => entry.scope === scope);
    const among =
      own.length >= APPROVALS_PER_SANDBOX_MAX
        ? own
        : this.#kept.size >= APPROVALS_KEPT_MAX
          ? [...this.#kept.values()]
          : null;
    if (among === null) return true;
    const oldest = among.find(({ waiters }) => waiters.size === 0);
    return oldest !== undefined && this.#kept.delete(oldest.entry.id);
  }

  #hold(kept: Kept, signal: AbortSignal): Promise<Approval> {
    const own = [...this.#kept.values()].filter(({ entry }) => entry.scope === kept.entry.scope);
    const held = own.reduce((sum, { waiters }) => sum + waiters.size, 0);
    if (this.#waiting >= APPROVALS_WAITING_MAX || held >= APPROVALS_WAITING_PER_SANDBOX_MAX) {
      return Promise.resolve('refused');
    }
    const { promise, resolve } = Promise.withResolvers<Approval>();
    const waiter: Waiter = (approval) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', refuse);
      if (kept.waiters.delete(waiter)) this.#waiting--;
      resolve(approval);
    };
    const refuse = (): void => waiter('refused');
    const timer = setTimeout(refuse, this.#parts.waitMs());
    signal.addEventListener('abort', refuse);
    kept.waiters.add(waiter);
    this.#waiting++;
    return promise;
  }

  /** The request that has been held longest, else the next one. */
  #allowOnce(kept: Kept): void {
    const { id } = kept.entry;
    const [first] = kept.waiters;
    if (first === undefined) {
      this.#onceUntilMs.set(id, this.#parts.clock.monotonicMs() + APPROVAL_ONCE_MS);
    } else {
      first('once');
    }
    if (kept.waiters.size === 0) this.#kept.delete(id);
  }

  #takeOnce(id: string): boolean {
    const nowMs = this.#parts.clock.monotonicMs();
    for (const [one, untilMs] of this.#onceUntilMs) {
      if (untilMs <= nowMs) this.#onceUntilMs.delete(one);
    }
    return this.#onceUntilMs.delete(id);
  }

  #settle({ entry, waiters }: Kept, approval: Approval): void {
    this.#kept.delete(entry.id);
    for (const waiter of [...waiters]) waiter(approval);
  }

  #find(id: string): Kept {
    const kept = this.#kept.get(id);
    if (kept !== undefined) return kept;
    throw new SallyportError('SALLYPORT_NOT_FOUND', `there is no approval "${id}" to respond to`);
  }
}

function pendingOf({ entry, waiters }: Kept): PendingApproval {
  return { ...entry, waiting: waiters.size };
}

/** The answer as a record of the audit, but for its place there. */
export function approvalRecord(
  { approval, option, rule, expiresAtMs }: Responded,
  nowMs: number,
  generation: number,
): OtherRecord {
  const { sandbox, host, port } = approval;
  return {
    time: new Date(nowMs).toISOString(),
    action_type: 'approval',
    sandbox,
    host,
    port,
    option,
    rule,
    expires_at: expiresAtMs === null ? null : new Date(expiresAtMs).toISOString(),
    generation,
  };
}

/** The same for each time that it is asked for, and nothing that a sandbox could choose. */
function idOf(scope: number, { host, port }: Pick<ApprovalRequest, 'host' | 'port'>): string {
  const hash = createHash('sha256').update(`${scope} ${formatHostPort(host, port)}`);
  return `network:${hash.digest('base64url').slice(0, 22)}`;
}
