// The audit file: one JSON line for each exchange, numbered without a gap, appended and never
// rewritten. Nothing is dropped here: while the disk refuses, nobody's outcomes are acknowledged,
// the workers run out of in-flight slots and slow down.
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readSync,
  unlinkSync,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import {
  AUDIT_BUFFER_BYTES,
  AUDIT_FILE_BYTES_MAX,
  AUDIT_FILES_MAX,
  AUDIT_FLUSH_MS,
  AUDIT_RETRY_MS,
} from '../base/limits.ts';
import type { Outcome } from '../proxy/exchange.ts';
import { lineOf } from './audit-record.ts';

const FILE_NAME = /^audit-(\d{15})\.jsonl$/;
const LINE_FEED = 0x0a;
const READ_BYTES = 65_536;

export type AuditOptions = {
  /** Of mode 0700; holds nothing else. */
  readonly folder: string;
  /** Told of a failed write each time, and of the first that succeeds again with null. */
  readonly onTrouble: (error: Error | null) => void;
  readonly fileBytesMax?: number;
  readonly filesMax?: number;
};

type Batch = {
  /** Number of its first line. */
  readonly firstSeq: number;
  readonly lines: string[];
  bytes: number;
  readonly done: PromiseWithResolvers<void>;
};

export class Audit {
  readonly #options: Required<AuditOptions>;
  #file: FileHandle;
  #fileBytes: number;
  /** Number of the next line. */
  #seq: number;
  #batch: Batch;
  #timer: NodeJS.Timeout | null = null;
  /** The write that runs; the next one starts when it has ended. */
  #writing: Promise<void> = Promise.resolve();
  #troubled = false;

  private constructor(
    options: Required<AuditOptions>,
    file: FileHandle,
    bytes: number,
    seq: number,
  ) {
    this.#options = options;
    this.#file = file;
    this.#fileBytes = bytes;
    this.#seq = seq;
    this.#batch = emptyBatch(seq);
  }

  /**
   * Goes on where the last process ended. A line that its death cut short is removed: it was never
   * acknowledged.
   */
  static async open(options: AuditOptions): Promise<Audit> {
    const full = { fileBytesMax: AUDIT_FILE_BYTES_MAX, filesMax: AUDIT_FILES_MAX, ...options };
    const last = auditFiles(full.folder).at(-1);
    const path = last ?? join(full.folder, fileName(1));
    const { seq, bytes } = last === undefined ? { seq: 1, bytes: 0 } : mend(path);
    return new Audit(full, await open(path, 'a', 0o600), bytes, seq);
  }

  /** @returns when the outcomes are in the file, at most AUDIT_FLUSH_MS and one write later. */
  record(outcomes: readonly Outcome[]): Promise<void> {
    const batch = this.#batch;
    for (const outcome of outcomes) {
      const line = lineOf(this.#seq++, outcome);
      batch.lines.push(line);
      batch.bytes += line.length;
    }
    if (batch.bytes >= AUDIT_BUFFER_BYTES) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), AUDIT_FLUSH_MS);
    return batch.done.promise;
  }

  /** Writes what waits, and makes it outlive a power cut. */
  async close(): Promise<void> {
    this.#flush();
    await this.#writing;
    await this.#file.sync();
    await this.#file.close();
  }

  #flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const batch = this.#batch;
    if (batch.lines.length === 0) return;
    this.#batch = emptyBatch(this.#seq);
    this.#writing = this.#writing.then(async () => {
      await this.#write(batch);
      batch.done.resolve();
    });
  }

  /** Tries until it succeeds; meanwhile the batch is in no file, or cut off again. */
  async #write(batch: Batch): Promise<void> {
    const bytes = Buffer.from(batch.lines.join(''));
    for (;;) {
      try {
        if (this.#fileBytes >= this.#options.fileBytesMax) await this.#rotate(batch.firstSeq);
        await this.#file.appendFile(bytes);
        this.#fileBytes += bytes.length;
        if (this.#troubled) this.#options.onTrouble(null);
        this.#troubled = false;
        return;
      } catch (error) {
        this.#troubled = true;
        this.#options.onTrouble(error instanceof Error ? error : new Error(String(error)));
        await this.#file.truncate(this.#fileBytes).catch(() => {});
        await later(AUDIT_RETRY_MS);
      }
    }
  }

  async #rotate(firstSeq: number): Promise<void> {
    const file = await open(join(this.#options.folder, fileName(firstSeq)), 'a', 0o600);
    const old = this.#file;
    this.#file = file;
    this.#fileBytes = 0;
    await old.sync();
    await old.close();
    const files = auditFiles(this.#options.folder);
    for (const path of files.slice(0, Math.max(0, files.length - this.#options.filesMax))) {
      unlinkSync(path);
    }
  }
}

/** The audit files of a folder, oldest first. A file is named by the number of its first line. */
export function auditFiles(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => FILE_NAME.test(name))
    .sort()
    .map((name) => join(folder, name));
}

function fileName(firstSeq: number): string {
  return `audit-${String(firstSeq).padStart(15, '0')}.jsonl`;
}

/**
 * Cuts off what a killed process, or a power cut, left at the end that is no line of ours.
 *
 * @returns the next number, and the bytes that are in the file.
 */
function mend(path: string): { seq: number; bytes: number } {
  const descriptor = openSync(path, 'r+');
  try {
    const size = fstatSync(descriptor).size;
    let bytes = lineFeedBefore(descriptor, size) + 1;
    let seq: number | null = null;
    while (bytes > 0) {
      const start = lineFeedBefore(descriptor, bytes - 1) + 1;
      const line = Buffer.alloc(bytes - start);
      readSync(descriptor, line, 0, line.length, start);
      seq = seqOf(line.toString());
      if (seq !== null) break;
      bytes = start;
    }
    if (bytes < size) ftruncateSync(descriptor, bytes);
    return { seq: seq === null ? Number(FILE_NAME.exec(basename(path))?.[1]) : seq + 1, bytes };
  } finally {
    closeSync(descriptor);
  }
}

/** @returns where the last line feed before `end` is, or -1. */
function lineFeedBefore(descriptor: number, end: number): number {
  const block = Buffer.alloc(READ_BYTES);
  for (let to = end; to > 0; to -= READ_BYTES) {
    const from = Math.max(0, to - READ_BYTES);
    const read = readSync(descriptor, block, 0, to - from, from);
    const found = block.subarray(0, read).lastIndexOf(LINE_FEED);
    if (found >= 0) return from + found;
  }
  return -1;
}

/** @returns the number of a line, or null when it is none of ours. */
function seqOf(line: string): number | null {
  try {
    const parsed: unknown = JSON.parse(line);
    const numbered = typeof parsed === 'object' && parsed !== null && 'seq' in parsed;
    return numbered && Number.isSafeInteger(parsed.seq) ? Number(parsed.seq) : null;
  } catch {
    return null;
  }
}

function emptyBatch(firstSeq: number): Batch {
  return { firstSeq, lines: [], bytes: 0, done: Promise.withResolvers<void>() };
}

function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
