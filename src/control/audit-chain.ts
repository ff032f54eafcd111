// What ties the lines of the audit together: each has a number, and the SHA-256 of the line before
// it with its line feed. So a line that is changed, taken out or put in shows, over files and
// restarts. `sed -n 7p FILE | sha256sum` gives what line 8 must have as `prev`.
import { hash } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { AUDIT_CHECKPOINT_RECORDS_MAX } from '../base/limits.ts';
import type { Signer } from './audit-checkpoint.ts';
import { checkpointBody } from './audit-record.ts';
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
  /** Lines since the last checkpoint of this process. */
  readonly unsigned: number;
};

/** Gives lines their places. */
export class Chain {
  end: ChainEnd;
  readonly #clock: Clock;
  readonly #signer: Signer | null;

  constructor(end: ChainEnd, clock: Clock, signer: Signer | null) {
    this.end = end;
    this.#clock = clock;
    this.#signer = signer;
  }

  get isSigned(): boolean {
    return this.#signer === null || this.end.unsigned === 0;
  }

  /** @param body  the members of a record, of audit-record.ts. @returns its line, and a checkpoint when that is due */
  add(body: string): string {
    const line = this.#line(body, this.end.unsigned + 1, '');
    return this.end.unsigned >= AUDIT_CHECKPOINT_RECORDS_MAX ? line + this.checkpoint() : line;
  }

  /** @returns the line of a record that signs those before it; '' when there is nothing to sign. */
  checkpoint(): string {
    if (this.#signer === null || this.isSigned) return '';
    const body = checkpointBody(this.#clock.wallMs(), this.#signer.key);
    return this.#line(body, 0, this.#signer.sign(this.#open(body)));
  }

  #line(body: string, unsigned: number, signature: string): string {
    const open = this.#open(body);
    const line = signature === '' ? `${open}}\n` : `${open},"signature":"${signature}"}\n`;
    this.end = { seq: this.end.seq + 1, hash: hashOf(line), unsigned };
    return line;
  }

  /** The line but for its end. */
  #open(body: string): string {
    const { seq, hash } = this.end;
    return `{"version":${AUDIT_VERSION},"seq":${seq},${body},"prev":"${hash}"`;
  }
}

/** What a line says of its place. */
export type Place = {
  readonly seq: number;
  /** null when it has none. */
  readonly prev: string | null;
  /** Whose checkpoint it is; null when it is none. */
  readonly key: string | null;
};

/** @returns null when it is no line of ours. */
export function placeOf(line: string): Place | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null || !('seq' in value)) return null;
  const { seq, prev, action_type: type, key } = value as Partial<Record<string, unknown>>;
  if (!Number.isSafeInteger(seq)) return null;
  const isCheckpoint = type === 'checkpoint' && typeof key === 'string';
  return {
    seq: Number(seq),
    prev: typeof prev === 'string' ? prev : null,
    key: isCheckpoint ? key : null,
  };
}
