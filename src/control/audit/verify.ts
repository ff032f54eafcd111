// Whether the lines of the audit are those that were written: reads files, needs no daemon, and
// believes nothing but the hashes, and the keys that it is given.
import { createReadStream, statSync } from 'node:fs';
import { basename } from 'node:path';
import { SallyportError } from '../../base/errors.ts';
import { AUDIT_CHECKPOINT_RECORDS_MAX, AUDIT_LINE_BYTES_MAX } from '../../base/limits.ts';
import { GENESIS, hashOf, type Place, placeOf } from './chain.ts';
import { isSigned, type PublicKeys, publicKeysOf } from './checkpoint.ts';
import { auditFiles, firstSeqOf } from './files.ts';

/** Where the chain does not hold. */
export type BrokenRecord = {
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  /** null when the line has none. */
  readonly seq: number | null;
  readonly problem: string;
};

/** What is known from elsewhere. */
export type Evidence = {
  /** PEM of Ed25519 keys: all but the newest records must be signed by one of them. */
  readonly publicKeys?: readonly string[];
  /** A record that must be among them. */
  readonly head?: { readonly seq: number; readonly hash: string };
};

export type Verification = {
  readonly ok: boolean;
  readonly files: number;
  readonly records: number;
  readonly first_seq: number | null;
  readonly last_seq: number | null;
  /** Hash of the last record, to be kept elsewhere: it stands for all before it. */
  readonly head: string | null;
  /** Bytes of a record at the end that is being written, or was when its writer died. */
  readonly incomplete_bytes: number;
  /** Number of the last checkpoint that a given key signed; null when there is none. */
  readonly signed_to: number | null;
  readonly checkpoints: number;
  /** The first one. */
  readonly broken: BrokenRecord | null;
};

type Line = { readonly file: string; readonly line: number };
type Known = Line & { readonly seq: number; readonly hash: string };

const LINE_FEED = 0x0a;

/**
 * Follows the chain from the first line to the last, or to where it breaks.
 *
 * @param paths  files, or folders of them.
 * @throws SALLYPORT_USAGE for a path that cannot be read, or a folder without audit files
 */
export async function verifyAudit(
  paths: readonly string[],
  evidence: Evidence = {},
): Promise<Verification> {
  const files = paths
    .flatMap(filesAt)
    .sort((one, other) => (basename(one) < basename(other) ? -1 : 1));
  const verifier = new Verifier(evidence);
  let incomplete = 0;
  for (const [i, file] of files.entries()) {
    incomplete = await readLines(file, verifier);
    if (incomplete > 0 && i < files.length - 1) verifier.incomplete(file);
    if (verifier.broken !== null) break;
  }
  verifier.end();
  return verifier.result(files.length, incomplete);
}

/** The audit files at a path, oldest first. @throws SALLYPORT_USAGE */
export function filesAt(path: string): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    const found = auditFiles(path);
    if (found.length > 0) return found;
  } catch (cause) {
    throw new SallyportError('SALLYPORT_USAGE', `${path} cannot be read`, { cause });
  }
  throw new SallyportError('SALLYPORT_USAGE', `${path} holds no audit files`);
}

/** Feeds the lines of a file until one is broken. @returns the bytes behind the last line feed */
async function readLines(file: string, verifier: Verifier): Promise<number> {
  let rest: Buffer = Buffer.alloc(0);
  verifier.begin(file);
  for await (const chunk of createReadStream(file)) {
    rest = verifier.take(Buffer.concat([rest, chunk as Buffer]));
    if (verifier.broken !== null) return 0;
  }
  return rest.length;
}

class Verifier {
  broken: BrokenRecord | null = null;
  #records = 0;
  #first: number | null = null;
  #last: Known | null = null;
  #at: Line = { file: '', line: 0 };
  readonly #keys: PublicKeys | null;
  readonly #head: Evidence['head'];
  #isHeadSeen = false;
  #checkpoints = 0;
  #signedTo: number | null = null;

  constructor({ publicKeys, head }: Evidence) {
    this.#keys = publicKeys === undefined ? null : publicKeysOf(publicKeys);
    this.#head = head;
  }

  begin(file: string): void {
    this.#at = { file, line: 0 };
  }

  /** @returns what is left behind the last line feed. */
  take(bytes: Buffer): Buffer {
    let start = 0;
    for (;;) {
      const end = bytes.indexOf(LINE_FEED, start);
      if (end < 0) break;
      this.#line(bytes.subarray(start, end + 1));
      if (this.broken !== null) break;
      start = end + 1;
    }
    const rest = bytes.subarray(start);
    if (this.broken === null && rest.length > AUDIT_LINE_BYTES_MAX) {
      this.#break({ ...this.#at, line: this.#at.line + 1 }, null, 'the line is too long');
    }
    return rest;
  }

  incomplete(file: string): void {
    this.#break({ file, line: this.#at.line + 1 }, null, 'the line ends before its line feed');
  }

  /** All lines have been seen: is what should be there? */
  end(): void {
    const seq = this.#last?.seq ?? 0;
    const unsigned = seq - (this.#signedTo ?? 0);
    if (this.#head !== undefined && !this.#isHeadSeen) {
      this.#break(this.#at, null, `record ${this.#head.seq} with that hash is not there`);
    } else if (this.#keys !== null && this.#signedTo === null) {
      this.#break(this.#at, null, 'there is no checkpoint that a given key signed');
    } else if (this.#keys !== null && unsigned > AUDIT_CHECKPOINT_RECORDS_MAX) {
      this.#break(this.#at, seq, `the last ${unsigned} records have no checkpoint`);
    }
  }

  result(files: number, incomplete: number): Verification {
    return {
      ok: this.broken === null,
      files,
      records: this.#records,
      first_seq: this.#first,
      last_seq: this.#last?.seq ?? null,
      head: this.#last?.hash ?? null,
      incomplete_bytes: incomplete,
      signed_to: this.#signedTo,
      checkpoints: this.#checkpoints,
      broken: this.broken,
    };
  }

  #line(bytes: Buffer): void {
    this.#at = { ...this.#at, line: this.#at.line + 1 };
    const text = bytes.toString();
    const place = placeOf(text);
    const last = this.#last;
    if (place === null) this.#break(this.#at, null, 'this is no record');
    else if (last !== null && isChainedTo(place, last) === false) {
      this.#break(last, last.seq, 'it is not the one that the next record was chained to');
    } else {
      const problem = this.#problemOf(place) ?? this.#problemOfKey(place, text);
      if (problem !== null) this.#break(this.#at, place.seq, problem);
      else this.#accept(place.seq, hashOf(bytes));
    }
  }

  #problemOf({ seq, prev }: Place): string | null {
    const expected = this.#last === null ? this.#firstExpected(seq) : this.#last.seq + 1;
    if (seq !== expected) return `its number should be ${expected}`;
    if (prev === null) return 'it holds no hash of the one before';
    return seq === 1 && prev !== GENESIS ? 'the first of all is chained to another' : null;
  }

  /** A checkpoint of a key that was not given proves nothing, and disproves nothing. */
  #problemOfKey({ seq, key: id }: Place, text: string): string | null {
    if (id === null) return null;
    this.#checkpoints++;
    const key = this.#keys?.get(id);
    if (key === undefined) return null;
    if (!isSigned(text, key)) return 'its signature is not of the key that it names';
    this.#signedTo = seq;
    return null;
  }

  #accept(seq: number, hash: string): void {
    if (seq === this.#head?.seq && hash === this.#head.hash) this.#isHeadSeen = true;
    this.#records++;
    this.#first ??= seq;
    this.#last = { ...this.#at, seq, hash };
  }

  /** Files are named by their first line; one under another name may begin anywhere. */
  #firstExpected(seq: number): number {
    return firstSeqOf(this.#at.file) ?? seq;
  }

  #break({ file, line }: Line, seq: number | null, problem: string): void {
    this.broken ??= { file, line, seq, problem };
  }
}

/** @returns null when it is not the next one, or does not say. */
function isChainedTo({ seq, prev }: Place, last: Known): boolean | null {
  return seq !== last.seq + 1 || prev === null ? null : prev === last.hash;
}
