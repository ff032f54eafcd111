// What ties the lines of the audit together: each has a number, and the SHA-256 of the line before
// it with its line feed. So a line that is changed, taken out or put in shows, over files and
// restarts. `sed -n 7p FILE | sha256sum` gives what line 8 must have as `prev`.
import { hash } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import { AUDIT_CHECKPOINT_RECORDS_MAX } from '../../base/limits.ts';
import type { Signer } from './checkpoint.ts';
import { checkpointRecord, type RecordFormat } from './record.ts';

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
  readonly #format: RecordFormat;

  constructor(end: ChainEnd, clock: Clock, signer: Signer | null, format: RecordFormat) {
    this.end = end;
    this.#clock = clock;
    this.#signer = signer;
    this.#format = format;
  }

  get isSigned(): boolean {
    return this.#signer === null || this.end.unsigned === 0;
  }

  /** @param body  the members of a record, of record.ts. @returns its line, and a checkpoint when that is due */
  add(body: string): string {
    const line = this.#line(body, this.end.unsigned + 1, '');
    return this.end.unsigned >= AUDIT_CHECKPOINT_RECORDS_MAX ? line + this.checkpoint() : line;
  }

  /** @returns the line of a record that signs those before it; '' when there is nothing to sign. */
  checkpoint(): string {
    if (this.#signer === null || this.isSigned) return '';
    const record = checkpointRecord(this.#clock.wallMs(), this.#signer.key);
    const body = this.#format.other(record);
    return this.#line(body, 0, this.#signer.sign(this.#open(body)));
  }

  #line(body: string, unsigned: number, signature: string): string {
    const signed = signature === '' ? '' : `,"signature":"${signature}"`;
    const line = this.#open(body) + signed + this.#format.tail;
    this.end = { seq: this.end.seq + 1, hash: hashOf(line), unsigned };
    return line;
  }

  /** The line but for its end. */
  #open(body: string): string {
    const { seq, hash } = this.end;
    return `${this.#format.head(seq)}${body},"prev":"${hash}"`;
  }
}

/** What a line says of its place. */
export type Place = {
  readonly seq: number;
  /** null when it has none. */
  readonly prev: string | null;
  /** Whose checkpoint it is; null when it is none. */
  readonly key: string | null;
  readonly format: string;
};

type Members = Partial<Readonly<Record<string, unknown>>>;

/** @returns null when it is no line of ours, in whichever format. */
export function placeOf(line: string): Place | null {
  const record = membersOf(line);
  if (record === null) return null;
  // OCSF has a place of its own for the number; what it has none for is in `unmapped`.
  const ocsf = asMembers(record.unmapped);
  const seq = ocsf === null ? record.seq : asMembers(record.metadata)?.sequence;
  const { prev, action_type: type, key } = ocsf ?? record;
  if (!Number.isSafeInteger(seq)) return null;
  const isCheckpoint = type === 'checkpoint' && typeof key === 'string';
  return {
    seq: Number(seq),
    prev: typeof prev === 'string' ? prev : null,
    key: isCheckpoint ? key : null,
    format: ocsf !== null ? 'ocsf' : 'audit_event_id' in record ? 'sbx' : 'sallyport',
  };
}

function membersOf(line: string): Members | null {
  try {
    return asMembers(JSON.parse(line));
  } catch {
    return null;
  }
}

function asMembers(value: unknown): Members | null {
  return typeof value === 'object' && value !== null ? (value as Members) : null;
}
