// The audit: one line for each exchange, numbered without a gap and chained by hashes. Nothing is
// dropped here: while the disk refuses, nobody's outcomes are acknowledged, the workers run out of
// in-flight slots and slow down.
import {
  AUDIT_BUFFER_BYTES,
  AUDIT_FILE_BYTES_MAX,
  AUDIT_FILES_MAX,
  AUDIT_FLUSH_MS,
  AUDIT_RETRY_MS,
} from '../base/limits.ts';
import type { Outcome } from '../proxy/exchange.ts';
import { Chain } from './audit-chain.ts';
import { AuditFile } from './audit-files.ts';
import { exchangeBody } from './audit-record.ts';

export type AuditOptions = {
  /** Of mode 0700; holds nothing else. */
  readonly folder: string;
  /** Told of a failed write each time, and of the first that succeeds again with null. */
  readonly onTrouble: (error: Error | null) => void;
  readonly fileBytesMax?: number;
  readonly filesMax?: number;
};

/** Records that are written together. */
type Batch = {
  readonly bodies: string[];
  bytes: number;
  readonly done: PromiseWithResolvers<void>;
};

export class Audit {
  readonly #onTrouble: AuditOptions['onTrouble'];
  readonly #file: AuditFile;
  readonly #chain: Chain;
  #batch: Batch = emptyBatch();
  #timer: NodeJS.Timeout | null = null;
  /** Set while something is being written; what comes meanwhile follows in one piece. */
  #writing: Promise<void> | null = null;
  #troubled = false;

  private constructor({ onTrouble }: AuditOptions, file: AuditFile, chain: Chain) {
    this.#onTrouble = onTrouble;
    this.#file = file;
    this.#chain = chain;
  }

  /**
   * Goes on where the last process ended. A line that its death cut short is removed: it was never
   * acknowledged.
   */
  static async open(options: AuditOptions): Promise<Audit> {
    const { fileBytesMax = AUDIT_FILE_BYTES_MAX, filesMax = AUDIT_FILES_MAX } = options;
    const { file, end } = await AuditFile.open(options.folder, { fileBytesMax, filesMax });
    return new Audit(options, file, new Chain(end));
  }

  /** @returns when the outcomes are in the file, at most AUDIT_FLUSH_MS and one write later. */
  record(outcomes: readonly Outcome[]): Promise<void> {
    for (const outcome of outcomes) this.#add(exchangeBody(outcome));
    return this.#filed();
  }

  /** Likewise, a record of another kind. @param record  without its place in the chain; see audit-schema.ts */
  append(record: object): Promise<void> {
    this.#add(JSON.stringify(record).slice(1, -1));
    return this.#filed();
  }

  #add(body: string): void {
    this.#batch.bodies.push(body);
    this.#batch.bytes += body.length;
  }

  #filed(): Promise<void> {
    const batch = this.#batch;
    if (batch.bytes >= AUDIT_BUFFER_BYTES) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), AUDIT_FLUSH_MS);
    return batch.done.promise;
  }

  /** Writes what waits, and makes it outlive a power cut. */
  async close(): Promise<void> {
    this.#flush();
    await this.#writing;
    await this.#file.close();
  }

  #flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#batch.bodies.length > 0) this.#writing ??= this.#writeAll();
  }

  async #writeAll(): Promise<void> {
    while (this.#batch.bodies.length > 0) {
      const batch = this.#batch;
      this.#batch = emptyBatch();
      await this.#write(batch);
      batch.done.resolve();
    }
    this.#writing = null; // In the same turn as the look at the batch: none may come in between.
  }

  /** Tries until it succeeds; meanwhile the batch is in no file, or cut off again. */
  async #write({ bodies }: Batch): Promise<void> {
    const firstSeq = this.#chain.seq;
    const lines = Buffer.from(bodies.map((body) => this.#chain.add(body)).join(''));
    for (;;) {
      try {
        await this.#file.append(lines, firstSeq);
        if (this.#troubled) this.#onTrouble(null);
        this.#troubled = false;
        return;
      } catch (error) {
        this.#troubled = true;
        this.#onTrouble(error instanceof Error ? error : new Error(String(error)));
        await later(AUDIT_RETRY_MS);
      }
    }
  }
}

function emptyBatch(): Batch {
  return { bodies: [], bytes: 0, done: Promise.withResolvers<void>() };
}

function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
