// One in-label pattern in the form that assembly/glob.ts runs. Resources arrive checked by the
// resource parser; what does not read as a pattern here is refused all the same.
import { GLOB_CLASS, GLOB_CLASS_BYTES, GLOB_END, GLOB_STAR } from '../../assembly/layout.ts';
import { SallyportError } from '../base/errors.ts';
import type { Words } from './compile-words.ts';

/**
 * Appends a pattern to `words`.
 *
 * @param pattern  a label with `*`, `?`, `[ab]`, `[a-c]` or `[!ab]`, ASCII, lower case.
 * @returns        its offset in the image.
 * @throws         SALLYPORT_POLICY_INVALID for a class that does not end or is empty.
 */
export function compileGlob(words: Words, pattern: string): number {
  const bytes: number[] = [];
  for (let i = 0; i < pattern.length; ) {
    const code = pattern.charCodeAt(i);
    if (code === GLOB_CLASS) {
      const end = pattern.indexOf(']', i + 2);
      if (end === -1) throw invalid(pattern);
      bytes.push(GLOB_CLASS, ...classBits(pattern, i + 1, end));
      i = end + 1;
      continue;
    }
    if (code !== GLOB_STAR || bytes.at(-1) !== GLOB_STAR) bytes.push(code);
    i++;
  }
  bytes.push(GLOB_END);
  const offset = words.offset;
  for (let i = 0; i < bytes.length; i += 4) {
    const [a = 0, b = 0, c = 0, d = 0] = bytes.slice(i, i + 4);
    words.push((a | (b << 8) | (c << 16) | (d << 24)) >>> 0);
  }
  return offset;
}

/** The bit map of a class whose text runs from `start` to `end`, brackets not included. */
function classBits(pattern: string, start: number, end: number): Uint8Array {
  const bits = new Uint8Array(GLOB_CLASS_BYTES);
  const negated = pattern[start] === '!';
  let i = negated ? start + 1 : start;
  if (i >= end) throw invalid(pattern);
  while (i < end) {
    const isRange = i + 2 < end && /^[^-]-[^-]/.test(pattern.slice(i, i + 3));
    const last = isRange ? i + 2 : i;
    if (!setBits(bits, pattern.charCodeAt(i), pattern.charCodeAt(last))) throw invalid(pattern);
    i = last + 1;
  }
  return negated ? bits.map((byte) => ~byte) : bits;
}

/** Sets the bits of an ASCII range; false when it is none. */
function setBits(bits: Uint8Array, from: number, to: number): boolean {
  if (from > to || to > 127) return false;
  for (let code = from; code <= to; code++) {
    bits[code >>> 3] = (bits[code >>> 3] ?? 0) | (1 << (code & 7));
  }
  return true;
}

function invalid(pattern: string): SallyportError {
  return new SallyportError(
    'SALLYPORT_POLICY_INVALID',
    `not a pattern: ${JSON.stringify(pattern)}`,
  );
}
