// The audit: one record for each exchange, numbered without a gap and chained by hashes. While the
// disk refuses, `required` acknowledges nobody's outcomes and has the workers begin nothing new;
// `best-effort` lets them go on, keeps what it can, and records how many it could not.
import { randomUUID } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import { SallyportError } from '../../base/errors.ts';
import {
  AUDIT_BUFFER_BYTES,
  AUDIT_CHECKPOINT_MS,
  AUDIT_CLOSE_MS,
  AUDIT_FILE_BYTES_MAX,
  AUDIT_FILE_MS_MAX,
  AUDIT_FLUSH_MS,
  AUDIT_QUEUE_BYTES_MAX,
  AUDIT_RETRY_MS,
  AUDIT_STALL_MS,
  KEEP_LOOK_MS,
} from '../../base/limits.ts';
import type { Outcome } from '../../proxy/exchange.ts';
import { Chain, type ChainEnd } from './chain.ts';
import { signerOf } from './checkpoint.ts';
import { AuditFile } from './files.ts';
import {
  type Absence,
  gapRecord,
  type OtherRecord,
  type Program,
  type RecordFormat,
  sessionRecord,
} from './record.ts';
import { deleteOld } from './retention.ts';
import { type AuditMode, type AuditSettings, FORMATS } from './settings.ts';

export type AuditOptions = AuditSettings & {
  /** Of mode 0700; holds nothing else. */
  readonly folder: string;
  readonly clock: Clock;
  /** Told of a failed write each time, and of the first that succeeds again with null. */
  readonly onTrouble: (error: Error | null) => void;
  /** Who writes. */
  readonly program: Program;
  /** Told when old files cannot be deleted. */
  readonly onKept: (error: unknown) => void;
  readonly fileBytesMax?: number;
  readonly fileMsMax?: number;
};

/** Records that are written together. */
type Batch = {
  readonly bodies: string[];
  bytes: number;
  readonly done: PromiseWithResolvers<void>;
};

export type AuditStatus = {
  readonly mode: AuditMode;
  /** Why it cannot be written at present. */
  readonly problem: string | null;
  /** Records that are missing since the start; told in the audit by records of their own. */
  readonly lost: number;
  /** Exchanges that were refused since the start, for want of a record. */
  readonly refused: number;
};

type Parts = {
  readonly session: string;
  readonly format: RecordFormat;
  readonly file: AuditFile;
  readonly chain: Chain;
  readonly cutBytes: number;
};

export class Audit {
  readonly #mode: AuditMode;
  readonly #clock: Clock;
  readonly #onTrouble: AuditOptions['onTrouble'];
  readonly #format: RecordFormat;
  readonly #options: AuditOptions;
  readonly #session: string;
  /** What the last process left of a record. */
  readonly #cutBytes: number;
  #isAnnounced = false;
  readonly #file: AuditFile;
  readonly #chain: Chain;
  #batch: Batch = emptyBatch();
  #timer: NodeJS.Timeout | null = null;
  /** Until the first flush, so that what the last process left is signed at once. */
  #isCheckpointDue = true;
  readonly #ticking: NodeJS.Timeout;
  /** When it is next looked for what is too old. */
  #lookMs = 0;
  /** Set while something is being written; what comes meanwhile follows in one piece. */
  #writing: Promise<void> | null = null;
  #trouble: Error | null = null;
  /** What has no record, by why; told with the next ones that are written. */
  readonly #absences = new Map<string, Absence>();
  #lost = 0;
  #refused = 0;
  /** When a disk that refuses is no longer waited for. */
  #endMs = Number.POSITIVE_INFINITY;
  /** Told whether exchanges may begin; set by whoever starts the workers. */
  onAvailable: ((available: boolean) => void) | null = null;

  private constructor(options: AuditOptions, parts: Parts) {
    this.#mode = options.mode;
    this.#clock = options.clock;
    this.#onTrouble = options.onTrouble;
    this.#options = options;
    this.#session = parts.session;
    this.#format = parts.format;
    this.#file = parts.file;
    this.#chain = parts.chain;
    this.#cutBytes = parts.cutBytes;
    this.#ticking = setInterval(() => this.#tick(), AUDIT_CHECKPOINT_MS).unref();
  }

  /**
   * Goes on where the last process ended. A line that its death cut short is removed: it was never
   * acknowledged.
   */
  static async open(options: AuditOptions): Promise<Audit> {
    const { fileBytesMax = AUDIT_FILE_BYTES_MAX, fileMsMax = AUDIT_FILE_MS_MAX } = options;
    const { file, end } = await AuditFile.open(options.folder, { fileBytesMax, fileMsMax });
    const signer = options.key === null ? null : signerOf(options.key);
    const session = randomUUID();
    const format = FORMATS[options.format](options.program, session);
    const chain = new Chain({ ...end, unsigned: 0 }, options.clock, signer, format);
    const audit = new Audit(options, { session, format, file, chain, cutBytes: end.cut });
    if (end.format !== null && end.format !== format.name) await file.begin(end.seq);
    return audit;
  }

  get status(): AuditStatus {
    const problem = this.#trouble?.message ?? null;
    return { mode: this.#mode, problem, lost: this.#lost, refused: this.#refused };
  }

  /** Whether exchanges may begin that must be recorded. */
  get available(): boolean {
    return this.#trouble === null || this.#mode === 'best-effort';
  }

  /**
   * @returns when the outcomes are in the file, at most AUDIT_FLUSH_MS and one write later; with
   *   best effort, at once while the disk refuses.
   */
  record(outcomes: readonly Outcome[]): Promise<void> {
    const { done } = this.#batch; // Before it is written.
    for (const outcome of outcomes)
      this.#take(outcome.time_ms, () => this.#format.exchange(outcome));
    this.#schedule();
    return done.promise;
  }

  /**
   * Likewise, a record of another kind, of what has not been answered yet.
   *
   * @param record  without its place in the chain; see schema.ts
   * @throws SALLYPORT_AUDIT_UNAVAILABLE
   */
  async append(record: OtherRecord): Promise<void> {
    const nowMs = this.#clock.wallMs();
    if (!this.available) {
      this.refused(1, 'SALLYPORT_AUDIT_UNAVAILABLE', nowMs, nowMs);
      throw new SallyportError('SALLYPORT_AUDIT_UNAVAILABLE', 'the audit cannot be written');
    }
    const { done } = this.#batch;
    this.#take(nowMs, () => this.#format.other(record));
    this.#schedule();
    await done.promise;
  }

  #take(timeMs: number, bodyOf: () => string): void {
    if (this.#mustLose()) this.#lose(timeMs);
    else add(this.#batch, bodyOf());
  }

  /** Puts on record that this process writes, and later that it ends. */
  announce(): void {
    this.#isAnnounced = true;
    this.#note('start');
  }

  /** Exchanges that were refused and have no record, since none could be begun. */
  refused(count: number, code: string, fromMs: number, toMs: number): void {
    this.#refused += count;
    this.#miss({ what: 'refused', code, reason: null, count, fromMs, toMs });
    this.#schedule();
  }

  /** From now on a disk that refuses is waited for this long; then what is left is lost. */
  endIn(ms: number): void {
    this.#endMs = this.#clock.monotonicMs() + ms;
  }

  /** Writes what waits, and makes it outlive a power cut. */
  async close(): Promise<void> {
    if (this.#endMs === Number.POSITIVE_INFINITY) this.endIn(AUDIT_CLOSE_MS);
    clearInterval(this.#ticking);
    if (this.#isAnnounced) this.#note('stop');
    this.#sign();
    while (this.#writing !== null) await this.#writing; // One may begin as another ends.
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#file.close();
  }

  /** Also when nothing happens files grow old. */
  #tick(): void {
    this.#sign();
    if (this.#writing === null && this.#clock.wallMs() >= this.#lookMs) {
      this.#writing = this.#turn();
    }
  }

  async #turn(): Promise<void> {
    const nowMs = this.#clock.wallMs();
    const turned = this.#file.turn(this.#chain.end.seq, nowMs);
    await this.#watched(this.#batch, turned).catch(this.#options.onKept);
    this.#keepLess(nowMs);
    this.#writing = null;
    this.#flush();
  }

  #keepLess(nowMs: number): void {
    this.#lookMs = nowMs + KEEP_LOOK_MS;
    const { folder, keep, fileBytesMax = AUDIT_FILE_BYTES_MAX } = this.#options;
    try {
      // The file in use may become as large as it can until it is looked again.
      deleteOld(folder, { ...keep, bytes: keep.bytes - fileBytesMax }, nowMs);
    } catch (error) {
      this.#options.onKept(error);
    }
  }

  #sign(): void {
    this.#isCheckpointDue = !this.#chain.isSigned || this.#batch.bodies.length > 0;
    this.#flush();
  }

  #note(event: 'start' | 'stop'): void {
    const nowMs = this.#clock.wallMs();
    const cutBytes = event === 'start' ? this.#cutBytes : 0;
    const facts = { event, session: this.#session, mode: this.#mode, cutBytes };
    add(this.#batch, this.#format.other(sessionRecord(nowMs, this.#options.program, facts)));
    this.#schedule();
  }

  #schedule(): void {
    if (this.#batch.bytes >= AUDIT_BUFFER_BYTES) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), AUDIT_FLUSH_MS);
  }

  #flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#hasMore()) this.#writing ??= this.#writeAll();
  }

  #hasMore(): boolean {
    if (this.#batch.bodies.length > 0) return true;
    if (this.#isOver()) return false; // What is missing is told with other records, or not at all.
    return this.#absences.size > 0 || (this.#isCheckpointDue && !this.#chain.isSigned);
  }

  #isOver(): boolean {
    return this.#clock.monotonicMs() >= this.#endMs;
  }

  async #writeAll(): Promise<void> {
    while (this.#hasMore()) {
      const batch = this.#batch;
      this.#batch = emptyBatch();
      await this.#write(batch);
      batch.done.resolve();
    }
    this.#writing = null; // In the same turn as the look at the batch: none may come in between.
  }

  /** Tries until it succeeds; meanwhile the batch is in no file, or cut off again. */
  async #write(batch: Batch): Promise<void> {
    const { end } = this.#chain;
    const missing = [...this.#absences.values()];
    this.#absences.clear();
    const lines = Buffer.from(this.#linesOf(batch, missing));
    for (;;) {
      try {
        const nowMs = this.#clock.wallMs();
        const isNewFile = await this.#watched(batch, this.#file.append(lines, end.seq, nowMs));
        if (isNewFile || nowMs >= this.#lookMs) this.#keepLess(nowMs);
        return;
      } catch (error) {
        this.#refuse(batch, error instanceof Error ? error : new Error(String(error)));
        if (this.#isOver()) return this.#giveUp(batch, missing, end);
        await later(AUDIT_RETRY_MS);
      }
    }
  }

  #linesOf({ bodies }: Batch, missing: readonly Absence[]): string {
    const nowMs = this.#clock.wallMs();
    const gaps = missing.map((absence) => this.#format.other(gapRecord(nowMs, absence)));
    const lines = [...bodies, ...gaps].map((body) => this.#chain.add(body)).join('');
    if (!this.#isCheckpointDue) return lines;
    this.#isCheckpointDue = false;
    return lines + this.#chain.checkpoint();
  }

  /** A disk may also say nothing at all. */
  async #watched<T>(batch: Batch, append: Promise<T>): Promise<T> {
    const slow = new Error(`the disk has not answered for ${AUDIT_STALL_MS} ms`);
    const timer = setTimeout(() => this.#refuse(batch, slow), AUDIT_STALL_MS);
    try {
      const appended = await append;
      this.#recover();
      return appended;
    } finally {
      clearTimeout(timer);
    }
  }

  #recover(): void {
    if (this.#trouble === null) return;
    this.#trouble = null;
    this.#onTrouble(null);
    this.onAvailable?.(true);
  }

  #refuse(batch: Batch, error: Error): void {
    const isNew = this.#trouble === null;
    this.#trouble = error;
    this.#onTrouble(error);
    if (isNew) this.onAvailable?.(this.available);
    if (this.#mode === 'required') return;
    batch.done.resolve(); // Nobody waits for it.
    this.#batch.done.resolve();
  }

  /** The numbers go to whatever can be written after all. */
  #giveUp({ bodies }: Batch, missing: readonly Absence[], end: ChainEnd): void {
    this.#chain.end = end;
    for (const absence of missing) this.#miss(absence);
    if (bodies.length === 0) return;
    const nowMs = this.#clock.wallMs();
    const reason = this.#trouble?.message ?? null;
    this.#lost += bodies.length;
    const facts = { code: null, reason, count: bodies.length, fromMs: nowMs, toMs: nowMs };
    this.#miss({ what: 'lost', ...facts });
  }

  #mustLose(): boolean {
    return this.#mode === 'best-effort' && this.#batch.bytes >= AUDIT_QUEUE_BYTES_MAX;
  }

  #lose(timeMs: number): void {
    this.#lost++;
    const reason = this.#trouble?.message ?? 'more came than could be written';
    const times = { fromMs: timeMs, toMs: timeMs };
    this.#miss({ what: 'lost', code: null, reason, count: 1, ...times });
  }

  #miss(absence: Absence): void {
    const key = `${absence.what} ${absence.code}`;
    const { count = 0, fromMs = absence.fromMs, toMs = 0 } = this.#absences.get(key) ?? {};
    this.#absences.set(key, {
      ...absence,
      count: count + absence.count,
      fromMs: Math.min(fromMs, absence.fromMs),
      toMs: Math.max(toMs, absence.toMs),
    });
  }
}

function emptyBatch(): Batch {
  return { bodies: [], bytes: 0, done: Promise.withResolvers<void>() };
}

function add(batch: Batch, body: string): void {
  batch.bodies.push(body);
  batch.bytes += body.length;
}

function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
