// The byte classes and field lines of HTTP/1.1 (RFC 9110 section 5, RFC 9112 section 5), shared by
// request heads, response heads and trailers. It judges bytes; what a field means is told elsewhere.
// Nothing here repairs input: a line is exactly right or it is refused, without quoting its value.
import { type Code, SallyportError } from '../base/errors.ts';
import { FIELDS_MAX } from '../base/limits.ts';

export const HTAB = 0x09;
export const LF = 0x0a;
export const CR = 0x0d;
export const SP = 0x20;
export const COLON = 0x3a;

function byteClass(member: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => (member(byte) ? 1 : 0));
}

const TCHARS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** tchar of RFC 9110 section 5.6.2: 1 for a member, 0 for any other byte. */
export const TOKEN = byteClass((byte) => TCHARS.includes(String.fromCharCode(byte)));

/** What a field value may hold: HTAB, SP, VCHAR, obs-text (RFC 9110 section 5.5). */
export const VALUE = byteClass((byte) => byte === HTAB || (byte >= SP && byte !== 0x7f));

/** What a request-target may hold here: VCHAR without `#` and `\`, which origins read differently. */
export const TARGET = byteClass(
  (byte) => byte > SP && byte < 0x7f && byte !== 0x23 && byte !== 0x5c,
);

/** Whether all of `text` is one token (RFC 9110 section 5.6.2). */
export function isToken(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    if (TOKEN[text.charCodeAt(i)] !== 1) return false;
  }
  return text !== '';
}

/** Whether `text` may be a field's value (RFC 9110 section 5.5): no CR, LF or NUL above all. */
export function isValue(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    if (VALUE[text.charCodeAt(i)] !== 1) return false;
  }
  return true;
}

/** Whether `text` is 1*DIGIT and nothing else. */
export function isDigits(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x30 || unit > 0x39) return false;
  }
  return text !== '';
}

/**
 * The members of a comma list, without OWS, empty ones left out (RFC 9110 section 5.6.1). Quoted
 * strings are not understood; use it for lists of tokens only.
 */
export function listMembers(value: string): string[] {
  const members: string[] = [];
  for (const part of value.split(',')) {
    const member = trimOws(part);
    if (member !== '') members.push(member);
  }
  return members;
}

function trimOws(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && isOws(text.charCodeAt(from))) from++;
  while (to > from && isOws(text.charCodeAt(to - 1))) to--;
  return text.slice(from, to);
}

function isOws(unit: number): boolean {
  return unit === SP || unit === HTAB;
}

/** A byte as error messages print it. */
export function hex(byte: number | undefined): string {
  return byte === undefined ? 'the end' : `0x${byte.toString(16).padStart(2, '0')}`;
}

/** A stretch of bytes together with its latin1 text: `text[0]` is `buffer[base]`. */
export type Section = { readonly buffer: Buffer; readonly text: string; readonly base: number };

/**
 * Reads the field lines from `at` to `end`, each with its CRLF, and appends name, value, name,
 * value to `fields`: names as received, values without OWS around them.
 *
 * The byte at `end` must be readable and be CR: it is where every scan stops at the latest.
 *
 * @throws `malformed` for a line that is not `token ":" OWS value OWS CRLF` (RFC 9112 section 5).
 * @throws SALLYPORT_HEAD_TOO_LARGE for more than FIELDS_MAX lines.
 */
export function readFieldLines(
  section: Section,
  at: number,
  end: number,
  fields: string[],
  malformed: Code,
): void {
  const { buffer, text, base } = section;
  let line = at;
  let count = 0;
  while (line < end) {
    if (++count > FIELDS_MAX) {
      throw new SallyportError('SALLYPORT_HEAD_TOO_LARGE', `more than ${FIELDS_MAX} field lines`);
    }
    const colon = scanWhile(buffer, line, TOKEN);
    if (colon === line || buffer[colon] !== COLON)
      throw badName(buffer, line, colon, count, malformed);
    const name = text.slice(line - base, colon - base);
    const from = skipOws(buffer, colon + 1);
    const stop = scanWhile(buffer, from, VALUE);
    if (buffer[stop] !== CR || buffer[stop + 1] !== LF) {
      throw badValue(buffer, stop, name, malformed);
    }
    fields.push(name, text.slice(from - base, beforeOws(buffer, from, stop) - base));
    line = stop + 2;
  }
}

/** @returns where the first byte from `at` on stands that is not a member. */
export function scanWhile(buffer: Buffer, at: number, members: Uint8Array): number {
  let i = at;
  while (members[buffer[i] as number] === 1) i++;
  return i;
}

function skipOws(buffer: Buffer, at: number): number {
  let i = at;
  while (buffer[i] === SP || buffer[i] === HTAB) i++;
  return i;
}

function beforeOws(buffer: Buffer, from: number, to: number): number {
  let i = to;
  while (i > from && (buffer[i - 1] === SP || buffer[i - 1] === HTAB)) i--;
  return i;
}

/** Quotes nothing: what stands before a missing colon may be the rest of a broken value. */
function badName(
  buffer: Buffer,
  line: number,
  at: number,
  count: number,
  malformed: Code,
): SallyportError {
  const byte = buffer[at];
  const isSpace = byte === SP || byte === HTAB;
  let fault = `byte ${hex(byte)} in or after the field name`;
  if (at === line && isSpace) fault = 'it is folded (obs-fold) or starts with space';
  else if (at === line && byte === COLON) fault = 'no name before the colon';
  else if (isSpace) fault = 'whitespace in or after the field name';
  return new SallyportError(malformed, `field line ${count}: ${fault}`);
}

function badValue(buffer: Buffer, at: number, name: string, malformed: Code): SallyportError {
  const where = `in the value of field ${name.slice(0, 64)}`;
  const byte = buffer[at];
  if (byte === CR) return new SallyportError(malformed, `CR without LF ${where}`);
  if (byte === LF) return new SallyportError(malformed, `LF without CR ${where}`);
  return new SallyportError(malformed, `byte ${hex(byte)} ${where}`);
}
