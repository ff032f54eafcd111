// Takes secrets out of bytes that pass. A mask has the length of what it hides, so that no framing
// around it changes; only bytes that may be the beginning of a secret wait for the next ones.
import {
  SCRUB_HELD_BYTES_MIN,
  SCRUB_PARTIAL_BYTES_MIN,
  SCRUB_VALUE_BYTES_MIN,
} from '../base/limits.ts';

const NOTHING = Buffer.alloc(0);
const STAR = 0x2a;

/** One spelling of a secret, with what a search needs that may end between two chunks. */
type Needle = {
  readonly bytes: Buffer;
  /** Of each prefix, the length of its longest proper prefix that is its end as well (Knuth, Morris, Pratt). */
  readonly border: Uint32Array;
};

/** Secrets in all spellings that are looked for. */
export class Needles {
  readonly all: readonly Needle[];

  constructor(secrets: readonly string[]) {
    const spellings = new Set(secrets.flatMap(spellingsOf));
    this.all = [...spellings].map((text) => {
      const bytes = Buffer.from(text, 'latin1');
      return { bytes, border: bordersOf(bytes) };
    });
  }
}

/**
 * As it is, in percent-encoding (RFC 3986), as a JSON string, and within base64 of either alphabet
 * (RFC 4648), wherever in the encoded text it begins.
 */
export function spellingsOf(secret: string): string[] {
  if (secret === '') return [];
  const spellings = [secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)];
  for (const before of [0, 1, 2]) {
    const encoded = Buffer.from(' '.repeat(before) + secret).toString('base64');
    // The first and last letters also hold bits of what stands around it.
    const end = Math.floor(((before + secret.length) * 8) / 6);
    const inner = encoded.slice(Math.ceil((before * 8) / 6), end);
    spellings.push(inner, inner.replaceAll('+', '-').replaceAll('/', '_'));
  }
  return [...new Set(spellings)].filter(
    (one) => one === secret || one.length >= SCRUB_VALUE_BYTES_MIN,
  );
}

/** What must not come back from a destination. */
export type Scrubbing = {
  readonly needles: Needles;
  /** An answer that cannot be searched is refused; else it passes as it is. */
  readonly strict: boolean;
};

/** Hides needles in one stream of bytes, in whatever pieces it comes. */
export class Masker {
  readonly #needles: readonly Needle[];
  /** The end of what came, where a needle may have begun. */
  #open: Buffer = NOTHING;
  /** How many bytes at its beginning have been let go already. */
  #released = 0;
  /** How many bytes at its beginning are part of a needle found before. */
  #hidden = 0;
  /** How often something was hidden. */
  count = 0;

  constructor({ all }: Needles) {
    this.#needles = all;
  }

  /** Whether bytes are kept back. */
  get waits(): boolean {
    return this.#open.length > this.#released;
  }

  /** @returns what can go on: `chunk` itself when there is nothing to hide. */
  push(chunk: Buffer): Buffer {
    const bytes = this.#open.length === 0 ? chunk : Buffer.concat([this.#open, chunk]);
    const open = this.#openAt(bytes);
    const boundary = bytes.length - open;
    const masked = this.#hide(bytes, boundary);
    const first = this.#released;
    // So few tell nothing, and many a message ends with them by chance.
    const end = open < SCRUB_HELD_BYTES_MIN ? bytes.length : Math.max(first, boundary);
    this.#open = open === 0 ? NOTHING : Buffer.from(bytes.subarray(boundary));
    this.#released = Math.max(0, end - boundary);
    return masked.subarray(first, end);
  }

  /**
   * Lets go of what is kept back: somebody may wait for it, or nothing comes any more. Much of a
   * needle is hidden, and so will be the rest of one that began here.
   */
  release(): Buffer {
    const hidden = this.#hidden;
    const masked = Buffer.from(this.#hide(this.#open, this.#open.length));
    this.#hidden = hidden;
    if (this.#isTelling(this.#open)) {
      masked.fill(STAR);
      this.count++;
    }
    const first = this.#released;
    this.#released = this.#open.length;
    return masked.subarray(first);
  }

  /** Whether it ends with half of a needle, or a good part. */
  #isTelling(prefix: Buffer): boolean {
    return this.#needles.some((needle) => {
      const enough = Math.min(SCRUB_PARTIAL_BYTES_MIN, Math.ceil(needle.bytes.length / 2));
      return matchedAtEnd(needle, prefix) >= enough;
    });
  }

  /** How many bytes at the end may be the beginning of a needle. */
  #openAt(bytes: Buffer): number {
    let open = 0;
    for (const needle of this.#needles) open = Math.max(open, matchedAtEnd(needle, bytes));
    return open;
  }

  /**
   * Hides what begins before `boundary`; what begins behind it will be looked at again.
   *
   * @returns a copy with stars, or the same bytes.
   */
  #hide(bytes: Buffer, boundary: number): Buffer {
    let masked = bytes;
    if (this.#hidden > 0) masked = Buffer.from(bytes).fill(STAR, 0, this.#hidden);
    let until = 0;
    for (const { bytes: needle } of this.#needles) {
      let at = bytes.indexOf(needle);
      while (at >= 0 && at < boundary) {
        if (masked === bytes) masked = Buffer.from(bytes);
        until = Math.max(until, at + needle.length);
        masked.fill(STAR, at, at + needle.length);
        this.count++;
        at = bytes.indexOf(needle, at + 1);
      }
    }
    this.#hidden = Math.max(0, Math.max(until, this.#hidden) - boundary);
    return masked;
  }
}

/** Hides needles in a text that is whole. */
export function maskText(text: string, needles: Needles): { text: string; count: number } {
  const masker = new Masker(needles);
  const first = masker.push(Buffer.from(text, 'latin1')).toString('latin1');
  const masked = first + masker.release().toString('latin1');
  return { text: masked, count: masker.count };
}

/** The longest end of `bytes` that a needle begins with, and is not all of it. */
function matchedAtEnd({ bytes: needle, border }: Needle, bytes: Buffer): number {
  let matched = 0;
  for (let at = Math.max(0, bytes.length - needle.length + 1); at < bytes.length; at++) {
    while (matched > 0 && needle[matched] !== bytes[at]) matched = border[matched - 1] ?? 0;
    if (needle[matched] === bytes[at]) matched++;
  }
  return matched;
}

function bordersOf(needle: Buffer): Uint32Array {
  const border = new Uint32Array(needle.length);
  let matched = 0;
  for (let at = 1; at < needle.length; at++) {
    while (matched > 0 && needle[matched] !== needle[at]) matched = border[matched - 1] ?? 0;
    if (needle[matched] === needle[at]) matched++;
    border[at] = matched;
  }
  return border;
}
