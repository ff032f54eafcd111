// What ties the lines of the audit together: each has a number, and the SHA-256 of the line before
// it with its line feed. So a line that is changed, taken out or put in shows, over files and
// restarts. `sed -n 7p FILE | sha256sum` gives what line 8 must have as `prev`.
import { hash } from 'node:crypto';
import { AUDIT_VERSION } from './audit-schema.ts';

/** `prev` of the first line of all. */
export const GENESIS = '0'.repeat(64);

/** @param line  with its line feed */
export function hashOf(line: string | Buffer): string {
  return hash('sha256', line, 'hex');
}

/** Where the lines so far end. */
export type ChainEnd = {
  /** Number of the next line. */
  readonly seq: number;
  /** Of the last line; GENESIS when there is none. */
  readonly hash: string;
};

/** Gives lines their places. */
export class Chain {
  end: ChainEnd;

  constructor(end: ChainEnd) {
    this.end = end;
  }

  /** @param body  the members of a record, of audit-record.ts. @returns its line */
  add(body: string): string {
    const { seq, hash } = this.end;
    const line = `{"version":${AUDIT_VERSION},"seq":${seq},${body},"prev":"${hash}"}\n`;
    this.end = { seq: seq + 1, hash: hashOf(line) };
    return line;
  }
}

/** `prev` is null when the line has none. */
export type Place = { readonly seq: number; readonly prev: string | null };

/** @returns the number of a line and the hash it holds, or null when it is no line of ours. */
export function placeOf(line: string): Place | null {
  try {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed !== 'object' || parsed === null || !('seq' in parsed)) return null;
    if (!Number.isSafeInteger(parsed.seq)) return null;
    const prev = 'prev' in parsed && typeof parsed.prev === 'string' ? parsed.prev : null;
    return { seq: Number(parsed.seq), prev };
  } catch {
    return null;
  }
}
