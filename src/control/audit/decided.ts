// Decisions that no exchange of a worker stands behind, such as a mount: they are in the log, before
// those who follow it, and in the audit, as those of exchanges are.

import type { Audit } from './audit.ts';
import type { Followers } from './follow.ts';
import type { DecisionLog } from './log.ts';

/** What the log shows of one. */
export type Decided = {
  readonly time_ms: number;
  /** Empty for none. */
  readonly sandbox: string;
  /** The PROXY column. */
  readonly mode: 'mount:read' | 'mount:write' | 'browser-open';
  /** A path, or host:port. */
  readonly place: string;
  readonly verdict: 'allow' | 'deny';
  /** In the words of the log. */
  readonly rule: string;
  readonly reason: string | null;
};

/** What the audit has of it beside number and time. */
export type DecidedFacts = { readonly action_type: string } & Readonly<Record<string, unknown>>;

export class Decisions {
  readonly #parts: {
    readonly log: DecisionLog;
    readonly followers: Followers;
    readonly audit: Audit;
  };

  constructor(parts: { log: DecisionLog; followers: Followers; audit: Audit }) {
    this.#parts = parts;
  }

  /** @returns when it is in the audit @throws SALLYPORT_AUDIT_UNAVAILABLE: then it must not happen */
  async record(decided: Decided, { action_type, ...facts }: DecidedFacts): Promise<void> {
    const { log, followers, audit } = this.#parts;
    const time = new Date(decided.time_ms).toISOString();
    const { sandbox } = decided;
    await audit.append({ time, action_type, sandbox, ...facts });
    log.note(decided);
    followers.tell(decided);
  }
}
