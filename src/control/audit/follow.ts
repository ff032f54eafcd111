// Live decisions for `policy log --follow`. A reader gets every decision from when it asked, or
// is told that it was too slow and cut; it never holds up the daemon or another reader.
import { Readable } from 'node:stream';
import { SallyportError } from '../../base/errors.ts';
import { FOLLOW_QUEUE_BYTES_MAX, FOLLOWERS_MAX } from '../../base/limits.ts';
import { formatHostPort } from '../../policy/resource.ts';
import type { Outcome } from '../../proxy/exchange.ts';
import type { Decided } from './decided.ts';
import { bypassText, isListed, ruleOf, typeOf } from './log.ts';
import { type LogFacts, type LogFilter, type LogType, passes } from './log-filter.ts';

/** One line of the stream. */
export type LiveDecision = {
  readonly time: string;
  readonly sandbox: string;
  readonly decision: 'allow' | 'deny';
  /** host:port, or a path. */
  readonly host: string;
  readonly type: LogType;
  readonly proxy_type: string;
  readonly method: string;
  /** Status sent to the client, 0 when none was. */
  readonly status: number;
  readonly rule: string | null;
  readonly reason: string | null;
};

export class Followers {
  readonly #readers = new Map<Readable, (facts: LogFacts) => boolean>();

  /**
   * @returns JSON lines of LiveDecision; a reader that was cut finds `{"message": ...}` last.
   * @throws SALLYPORT_OVERLOADED, SALLYPORT_POLICY_INVALID for hosts that no rule could name
   */
  follow(filter: LogFilter): Readable {
    const isWanted = passes(filter);
    if (this.#readers.size >= FOLLOWERS_MAX) {
      throw new SallyportError('SALLYPORT_OVERLOADED', `${FOLLOWERS_MAX} readers follow already`);
    }
    const reader = new Readable({ read: () => {} });
    reader.push('\n'); // An empty line, so that the reader knows at once that it is being served.
    this.#readers.set(reader, isWanted);
    reader.once('close', () => this.#readers.delete(reader));
    return reader;
  }

  publish(outcomes: readonly Outcome[]): void {
    if (this.#readers.size === 0) return;
    for (const outcome of outcomes) {
      if (isListed(outcome)) this.#tell(liveDecision(outcome), ruleOf(outcome));
    }
  }

  /** Tells of one that is no exchange. */
  tell(decided: Decided): void {
    if (this.#readers.size > 0) this.#tell(liveDecided(decided), decided.rule);
  }

  /** Ends all readers; they have seen everything. */
  close(): void {
    for (const reader of this.#readers.keys()) reader.push(null);
    this.#readers.clear();
  }

  /** @param rule  in the words of the log, as filters know it */
  #tell(decision: LiveDecision, rule: string): void {
    const facts = { ...decision, rule, lastMs: Date.parse(decision.time) };
    const line = `${JSON.stringify(decision)}\n`;
    for (const [reader, isWanted] of this.#readers) {
      if (!isWanted(facts)) continue;
      if (reader.readableLength > FOLLOW_QUEUE_BYTES_MAX) this.#cut(reader);
      else reader.push(line);
    }
  }

  #cut(reader: Readable): void {
    this.#readers.delete(reader);
    const error = new SallyportError(
      'SALLYPORT_OVERLOADED',
      'this reader fell behind and was cut off',
    );
    reader.push(`${JSON.stringify(error)}\n`);
    reader.push(null);
  }
}

function liveDecision(outcome: Outcome): LiveDecision {
  return {
    time: new Date(outcome.time_ms).toISOString(),
    sandbox: outcome.sandbox,
    decision: outcome.verdict === 'deny' ? 'deny' : 'allow',
    host: formatHostPort(outcome.host, outcome.port),
    type: 'network',
    proxy_type: outcome.mode,
    method: outcome.method,
    status: outcome.status,
    rule: outcome.rule,
    reason: outcome.reason ?? bypassText(outcome),
  };
}

function liveDecided(decided: Decided): LiveDecision {
  return {
    time: new Date(decided.time_ms).toISOString(),
    sandbox: decided.sandbox,
    decision: decided.verdict,
    host: decided.place,
    type: typeOf(decided.mode),
    proxy_type: decided.mode,
    method: '',
    status: 0,
    rule: decided.rule === '' ? null : decided.rule,
    reason: decided.reason,
  };
}
