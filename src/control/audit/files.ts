// The files of the audit: each named by the number of its first line, appended to and never
// rewritten. Knows where a line ends and which number it has, not what it says.
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type ChainEnd, GENESIS, hashOf, placeOf } from './chain.ts';

const FILE_NAME = /^audit-(\d{15})\.jsonl$/;
const LINE_FEED = 0x0a;
const READ_BYTES = 65_536;
const FIRST_BYTES = 512; // The time stands near the beginning of a line.

export type AuditEnd = Omit<ChainEnd, 'unsigned'> & {
  /** Bytes cut off behind it, which a death left there. */
  readonly cut: number;
  /** Which format the last line has; null when there is none. */
  readonly format: string | null;
};

/** When another file is begun. */
export type AuditLimits = {
  readonly fileBytesMax: number;
  /** Since the first record of a file: so that old records can go with their file. */
  readonly fileMsMax: number;
};

/** The file that is written to, whichever that is. */
export class AuditFile {
  readonly #folder: string;
  readonly #limits: AuditLimits;
  #handle: FileHandle;
  #bytes: number;
  /** Whether there may be more in it than `#bytes`, of a write that failed. */
  #torn = false;
  /** When its first record was written; meaningless while there is none. */
  #sinceMs: number;

  private constructor(folder: string, limits: AuditLimits, handle: FileHandle, found: Mended) {
    this.#folder = folder;
    this.#limits = limits;
    this.#handle = handle;
    this.#bytes = found.bytes;
    this.#sinceMs = found.sinceMs;
  }

  /** Goes on where the last process ended; what its death left of a line is removed. */
  static async open(
    folder: string,
    limits: AuditLimits,
  ): Promise<{ file: AuditFile; end: AuditEnd }> {
    const files = auditFiles(folder);
    const path = files.at(-1) ?? join(folder, fileName(1));
    const found = mend(path, files.at(-2));
    const file = new AuditFile(folder, limits, await open(path, 'a', 0o600), found);
    return { file, end: found.end };
  }

  /**
   * Adds lines, all of them or none.
   *
   * @param firstSeq  number of the first.
   * @returns whether another file was begun with them.
   * @throws what the system says (ENOSPC, EIO)
   */
  async append(lines: Buffer, firstSeq: number, nowMs: number): Promise<boolean> {
    if (this.#torn) await this.#handle.truncate(this.#bytes);
    this.#torn = false;
    const { nlink, size } = await this.#handle.stat();
    const isOurs = nlink > 0 && size === this.#bytes; // Else it was deleted, or others wrote to it.
    if (!isOurs || size >= this.#limits.fileBytesMax) await this.begin(firstSeq);
    else await this.turn(firstSeq, nowMs);
    const isFirst = this.#bytes === 0;
    if (isFirst) this.#sinceMs = nowMs;
    this.#torn = true;
    await this.#handle.appendFile(lines);
    this.#torn = false;
    this.#bytes += lines.length;
    return isFirst;
  }

  /** Begins another file when the first record of this one is too old. @param nextSeq  of the next record */
  async turn(nextSeq: number, nowMs: number): Promise<void> {
    const isOld = nowMs - this.#sinceMs >= this.#limits.fileMsMax;
    if (this.#bytes > 0 && isOld) await this.begin(nextSeq);
  }

  /** Makes it outlive a power cut. */
  async close(): Promise<void> {
    if (this.#torn) await this.#handle.truncate(this.#bytes).catch(() => {});
    await this.#handle.sync();
    await this.#handle.close();
  }

  /** Begins another file. @param firstSeq  of its first line */
  async begin(firstSeq: number): Promise<void> {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const handle = await open(join(this.#folder, fileName(firstSeq)), 'a', 0o600);
    const old = this.#handle;
    this.#handle = handle;
    this.#bytes = 0;
    await old.sync();
    await old.close();
  }
}

/** The audit files of a folder, oldest first. */
export function auditFiles(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => FILE_NAME.test(name))
    .sort()
    .map((name) => join(folder, name));
}

/** @returns the number of its first line, or null when it is no name of ours. */
export function firstSeqOf(path: string): number | null {
  const digits = FILE_NAME.exec(basename(path))?.[1];
  return digits === undefined ? null : Number(digits);
}

function fileName(firstSeq: number): string {
  return `audit-${String(firstSeq).padStart(15, '0')}.jsonl`;
}

type Mended = { readonly end: AuditEnd; readonly bytes: number; readonly sinceMs: number };

/**
 * Cuts off what a killed process, or a power cut, left at the end that is no line of ours.
 *
 * @param before  the file before it, which tells the last hash when this one is empty.
 */
function mend(path: string, before: string | undefined): Mended {
  const descriptor = openSync(path, 'a+', 0o600);
  try {
    const size = fstatSync(descriptor).size;
    const { last, bytes } = lastLine(descriptor, size);
    if (bytes < size) ftruncateSync(descriptor, bytes);
    const seq = last === null ? (firstSeqOf(path) ?? 1) : last.seq + 1;
    const hash = last?.hash ?? hashAtEndOf(before);
    const end = { seq, hash, cut: size - bytes, format: last?.format ?? null };
    return { end, bytes, sinceMs: firstTime(descriptor, bytes) };
  } finally {
    closeSync(descriptor);
  }
}

/** @returns when the first record was written, or at least began; 0 when it does not say. */
function firstTime(descriptor: number, bytes: number): number {
  const start = Buffer.alloc(Math.min(bytes, FIRST_BYTES));
  readSync(descriptor, start, 0, start.length, 0);
  const time = /"(?:time|timestamp)":(?:"([^"]+)"|(\d+))/.exec(start.toString());
  return time === null ? 0 : Number(time[2] ?? Date.parse(time[1] ?? '')) || 0;
}

function hashAtEndOf(path: string | undefined): string {
  if (path === undefined) return GENESIS;
  const descriptor = openSync(path, 'r');
  try {
    return lastLine(descriptor, fstatSync(descriptor).size).last?.hash ?? GENESIS;
  } finally {
    closeSync(descriptor);
  }
}

type Found = { last: { seq: number; hash: string; format: string } | null; bytes: number };

/** @returns the last line of ours, and where it ends. */
function lastLine(descriptor: number, size: number): Found {
  let bytes = lineFeedBefore(descriptor, size) + 1;
  while (bytes > 0) {
    const start = lineFeedBefore(descriptor, bytes - 1) + 1;
    const line = Buffer.alloc(bytes - start);
    readSync(descriptor, line, 0, line.length, start);
    const place = placeOf(line.toString());
    if (place !== null) {
      const { seq, format } = place;
      return { last: { seq, hash: hashOf(line), format }, bytes };
    }
    bytes = start;
  }
  return { last: null, bytes };
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
