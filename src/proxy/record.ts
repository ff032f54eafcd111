// Exactly one outcome per exchange. An entry takes its in-flight slot before anything is judged and
// is closed once, whichever way the exchange went; outcomes leave in small batches.
import type { Clock } from '../base/clock.ts';
import { type Code, SallyportError } from '../base/errors.ts';
import {
  AUDIT_PATH_BYTES_MAX,
  OUTCOME_BATCH_MAX,
  OUTCOME_BATCH_MS,
  SLOT_RETRY_MS,
  SLOT_WAIT_MS_MAX,
} from '../base/limits.ts';
import type { Verdict } from '../policy/decision.ts';
import type { Host } from '../policy/host.ts';
import type { Approval, Ingress, Outcome, Slots } from './exchange.ts';

type Draft = { -readonly [Field in keyof Outcome]: Outcome[Field] };

/** One exchange while it runs: what is known so far. */
export class Entry {
  readonly draft: Draft;
  /** Whether it was refused because no rule says anything about its target. */
  uncovered = false;
  /** Whether a CONNECT was refused that must not open, be it to tell of the refusal inside. */
  closed = false;
  /** What a person said about it; null: nobody was asked. */
  approval: Approval | null = null;
  readonly #startMs: number;
  readonly #recorder: Recorder;
  #closed = false;

  /** @internal Only Recorder.open makes entries. */
  constructor(recorder: Recorder, slot: number, ingress: Ingress, named: Named) {
    this.#recorder = recorder;
    this.#startMs = recorder.clock.monotonicMs();
    this.draft = begunOutcome(slot, recorder.clock.wallMs(), ingress, named);
  }

  identified(sandbox: string): void {
    this.draft.sandbox = sandbox;
    this.#recorder.slots.name(this.draft.slot, sandbox);
  }

  /** The exchange runs in an intercepted tunnel, whose sandbox is known. */
  inside(sandbox: string): void {
    this.identified(sandbox);
    this.draft.mode = 'forward';
  }

  judged(verdict: Verdict, reason: string | null): void {
    this.uncovered = verdict.action === 'deny' && verdict.kind === 'implicit' && !verdict.http;
    this.draft.verdict = verdict.action;
    this.draft.deny_kind = verdict.action === 'deny' ? verdict.kind : null;
    this.draft.rule = verdict.rule;
    this.draft.source = verdict.source;
    this.draft.generation = verdict.generation;
    this.draft.reason = reason;
  }

  /** Milliseconds since the head was complete, to the microsecond. */
  elapsedMs(): number {
    return Math.round((this.#recorder.clock.monotonicMs() - this.#startMs) * 1000) / 1000;
  }

  /** Ends the exchange; later calls change nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.draft.duration_ms = this.elapsedMs();
    this.#recorder.add(this.draft);
  }
}

/** What a record names when the head named nothing that can be read. */
export const BAD_HEAD_HOST = { host: '' as Host, port: 0 };

type Named = {
  readonly method: string;
  readonly host: string;
  readonly port: number;
  /** Path and query, '' for none. */
  readonly path: string;
};

/**
 * What is on record of an exchange that has begun and of which nothing else is known.
 *
 * @param timeMs  wall clock, milliseconds since the Unix epoch
 */
export function begunOutcome(slot: number, timeMs: number, ingress: Ingress, named: Named): Draft {
  return {
    slot,
    time_ms: timeMs,
    sandbox: '',
    ingress,
    mode: ingress === 'connect' ? 'forward-bypass' : 'forward',
    method: named.method,
    path: recordedPath(named.path),
    host: named.host,
    port: named.port,
    address: null,
    verdict: 'none',
    deny_kind: null,
    rule: null,
    source: null,
    reason: null,
    code: null,
    bypass: null,
    injected: null,
    masked: 0,
    status: 0,
    bytes_up: 0,
    bytes_down: 0,
    decide_ms: 0,
    connect_ms: 0,
    duration_ms: 0,
    generation: 0,
  };
}

/** Queries carry tokens and personal data more often than paths do, so they are in no record. */
function recordedPath(target: string): string | null {
  if (target === '') return null;
  const query = target.indexOf('?');
  const path = query < 0 ? target : target.slice(0, query);
  return path.length <= AUDIT_PATH_BYTES_MAX ? path : `${path.slice(0, AUDIT_PATH_BYTES_MAX)}…`;
}

type Waiting = {
  readonly ingress: Ingress;
  readonly named: Named;
  readonly sinceMs: number;
  readonly resolve: (entry: Entry) => void;
  readonly reject: (error: SallyportError) => void;
};

/** Exchanges that were refused because none of them could be recorded. */
export type Refused = {
  readonly code: Code;
  readonly count: number;
  readonly fromMs: number;
  readonly toMs: number;
};

/** A worker's record keeper. */
export class Recorder {
  readonly clock: Clock;
  readonly slots: Slots;
  readonly #post: (outcomes: readonly Outcome[]) => void;
  #batch: Outcome[] = [];
  #timer: NodeJS.Timeout | null = null;
  /** Exchanges without a slot; as many as there are connections, at most. */
  readonly #waiting: Waiting[] = [];
  #retry: NodeJS.Timeout | null = null;
  /** Since when the audit takes no new exchanges; null: it does. */
  #heldSinceMs: number | null = null;
  readonly #refused = new Map<Code, Refused>();

  constructor(clock: Clock, slots: Slots, post: (outcomes: readonly Outcome[]) => void) {
    this.clock = clock;
    this.slots = slots;
    this.#post = post;
  }

  /** Whether the audit can be written. While it cannot, no exchange begins. */
  set available(available: boolean) {
    this.#heldSinceMs = available ? null : (this.#heldSinceMs ?? this.clock.monotonicMs());
  }

  /**
   * Begins the record of an exchange. When the audit is behind, no slot is free, and the exchange
   * waits here: the proxy slows down, and after SLOT_WAIT_MS_MAX refuses, rather than lose a record.
   *
   * @throws SALLYPORT_AUDIT_UNAVAILABLE, SALLYPORT_OVERLOADED, by rejecting
   */
  open(ingress: Ingress, named: Named): Entry | Promise<Entry> {
    const isHeld = this.#heldSinceMs !== null || this.#waiting.length > 0;
    const slot = isHeld ? -1 : this.#take(ingress, named);
    if (slot >= 0) return new Entry(this, slot, ingress, named);
    const nowMs = this.clock.monotonicMs();
    if (this.#heldSinceMs !== null && nowMs - this.#heldSinceMs >= SLOT_WAIT_MS_MAX) {
      return Promise.reject(this.#refusal()); // Long known: nobody has to wait to hear it.
    }
    const { promise, resolve, reject } = Promise.withResolvers<Entry>();
    this.#waiting.push({ ingress, named, sinceMs: nowMs, resolve, reject });
    this.#retry ??= setInterval(() => this.#admit(), SLOT_RETRY_MS);
    return promise;
  }

  /** @returns what was refused since it was last asked for. */
  takeRefused(): Refused[] {
    const refused = [...this.#refused.values()];
    this.#refused.clear();
    return refused;
  }

  /** First come, first served, as far as slots have become free. */
  #admit(): void {
    const nowMs = this.clock.monotonicMs();
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const slot = this.#heldSinceMs === null ? this.#take(first.ingress, first.named) : -1;
      if (slot < 0 && nowMs - first.sinceMs < SLOT_WAIT_MS_MAX) return;
      this.#waiting.shift();
      if (slot < 0) first.reject(this.#refusal());
      else first.resolve(new Entry(this, slot, first.ingress, first.named));
    }
    if (this.#retry !== null) clearInterval(this.#retry);
    this.#retry = null;
  }

  #refusal(): SallyportError {
    const error =
      this.#heldSinceMs === null
        ? new SallyportError('SALLYPORT_OVERLOADED', 'too many exchanges are under way')
        : new SallyportError('SALLYPORT_AUDIT_UNAVAILABLE', 'the audit cannot be written');
    const toMs = this.clock.wallMs();
    const { count, fromMs } = this.#refused.get(error.code) ?? { count: 0, fromMs: toMs };
    this.#refused.set(error.code, { code: error.code, count: count + 1, fromMs, toMs });
    return error;
  }

  #take(ingress: Ingress, { method, host, port }: Named): number {
    return this.slots.take(this.clock.wallMs(), ingress, method, host, port);
  }

  /** @internal Entry.close calls this once per exchange. */
  add(outcome: Outcome): void {
    this.#batch.push(outcome);
    if (this.#batch.length >= OUTCOME_BATCH_MAX) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), OUTCOME_BATCH_MS);
  }

  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#batch.length === 0) return;
    this.#post(this.#batch);
    this.#batch = [];
  }
}
