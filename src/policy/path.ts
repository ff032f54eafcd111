// The ways in which a server may read a request's path. Rules for paths are asked about each of them:
// what one server takes for `/a%2Fb` or `/a//b`, the next takes for `/a/b`, and a rule must hold for
// both (RFC 3986 section 6, RFC 9110 section 4.2.3). The path itself goes upstream as it came.
import { HTTP_PATH_BYTES_MAX } from '../base/limits.ts';

/**
 * @param target  path and query as they go upstream.
 * @returns the readings, the literal one first; or why it has none that is safe.
 */
export function readingsOf(target: string): readonly string[] | string {
  const query = target.indexOf('?');
  const path = query < 0 ? target : target.slice(0, query);
  if (path.length > HTTP_PATH_BYTES_MAX) {
    return `its path has more than ${HTTP_PATH_BYTES_MAX} bytes`;
  }
  if (PLAIN.test(path)) return [path];
  if (path === '*') return ['/']; // The whole server: rules for its root, or for every path, cover it.
  if (/%(?![0-9a-f]{2})/i.test(path)) {
    return 'its path has a percent sign without two hexadecimal digits';
  }
  if (hasControl(decode(path))) return 'its path has an encoded control character';
  const readings = new Set<string>();
  for (const one of decodings(path)) {
    if (hasDotSegment(one)) return 'its path has a segment . or .. in one of its readings';
    const merged = one.replace(/\/{2,}/g, '/');
    readings.add(one).add(merged);
    if (merged.length > 1 && merged.endsWith('/')) readings.add(merged.slice(0, -1));
  }
  return [...readings];
}

/** Parameters end at a slash: some servers look for it before they decode the path, others after. */
function decodings(path: string): string[] {
  return [path, withoutParameters(path)].flatMap((one) => {
    const slashed = decode(one).replaceAll('\\', '/');
    return [unreservedDecoded(one), slashed, withoutParameters(slashed)];
  });
}

/** A pattern that covers this path and no other; null for one that can be read in several ways. */
export function ownPattern(target: string): string | null {
  const readings = readingsOf(target);
  const [path = ''] = readings;
  return typeof readings !== 'string' && readings.length === 1 && isPattern(path) ? path : null;
}

/** Whether a path can be written as a pattern that means nothing else. */
export function isPattern(path: string): boolean {
  if (path !== '/' && path.endsWith('/')) return false;
  return /^\/[\w\-./~!$&'()+,;=:@]*$/.test(path) && !path.includes('//');
}

/** Nothing in it can be read in two ways: the path of nearly every request. */
const PLAIN = /^(?:\/[\w\-~!$&'()*+,=:@][\w\-.~!$&'()*+,=:@]*)+$|^\/$/;

/** @returns one byte a character. */
function decode(path: string): string {
  return path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => character(hex));
}

/** RFC 3986 section 6.2.2.2: these mean the same, encoded or not; other encodings in upper case. */
function unreservedDecoded(path: string): string {
  return path.replace(/%([0-9a-f]{2})/gi, (encoded: string, hex: string) => {
    const plain = character(hex);
    return /[\w\-.~]/.test(plain) ? plain : encoded.toUpperCase();
  });
}

function character(hex: string): string {
  return String.fromCharCode(Number.parseInt(hex, 16));
}

/** `/a;x=1/b` is `/a/b` to servers that keep parameters in segments (RFC 3986 section 3.3). */
function withoutParameters(path: string): string {
  return path.replace(/;[^/]*/g, '');
}

function hasControl(path: string): boolean {
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (code < 0x20 || code === 0x7f) return true;
  }
  return false;
}

function hasDotSegment(path: string): boolean {
  return path.split('/').some((segment) => segment === '.' || segment === '..');
}
