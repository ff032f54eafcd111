// What an HTTP rule asks of a request beside its host: a method (RFC 9110 section 9) and a path. The
// grammar of both, and the obvious way to compare them; assembly/path.ts is the fast one.
import { SallyportError } from '../base/errors.ts';
import { HTTP_PATH_PATTERN_BYTES_MAX, HTTP_PATHS_MAX } from '../base/limits.ts';

/** Methods that rules can name. ANY is every method, those without a name here too. */
export const METHODS = [
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'CONNECT',
  'TRACE',
] as const;

export type HttpMatch = {
  /** Of METHODS, in their order; empty for ANY. */
  readonly methods: readonly string[];
  /** At least one, canonical. */
  readonly paths: readonly string[];
};

/** One request, as HTTP rules see it. */
export type HttpRequest = {
  /** As the client spelled it: methods are case-sensitive. */
  readonly method: string;
  /** One reading of the path (policy/path.ts), without the query; empty for CONNECT, which has none. */
  readonly path: string;
};

const UNNAMED_BIT = 1 << METHODS.length;
const ANY_BITS = 2 * UNNAMED_BIT - 1;

/**
 * Reads what a rule asks of requests.
 *
 * @param methods  names in any case, or `ANY` alone.
 * @param paths    patterns; none: `/**`.
 * @throws SALLYPORT_POLICY_INVALID naming every fault.
 */
export function parseHttpMatch(methods: readonly string[], paths: readonly string[]): HttpMatch {
  const names = [...new Set(methods.map((method) => method.trim().toUpperCase()))];
  const patterns = paths.length === 0 ? ['/**'] : [...new Set(paths)];
  const faults = [...faultsOfMethods(names), ...patterns.flatMap(faultOfPattern)];
  if (patterns.length > HTTP_PATHS_MAX) {
    faults.push(`${patterns.length} paths in one rule; at most ${HTTP_PATHS_MAX} fit`);
  }
  if (faults.length > 0) throw new SallyportError('SALLYPORT_POLICY_INVALID', faults.join('; '));
  return { methods: METHODS.filter((method) => names.includes(method)), paths: patterns };
}

function faultsOfMethods(names: readonly string[]): string[] {
  if (names.length === 0) return ['a path needs a method: name one, or ANY'];
  if (names.includes('ANY')) return names.length === 1 ? [] : ['ANY stands alone'];
  return names
    .filter((name) => !METHODS.includes(name as (typeof METHODS)[number]))
    .map((name) => `"${name}" is no method; there are ${METHODS.join(', ')} and ANY`);
}

/** A pattern has one spelling, so that two rules that look different are. */
function faultOfPattern(pattern: string): string[] {
  const fault = (why: string): string[] => [`path "${pattern}": ${why}`];
  if (!pattern.startsWith('/')) return fault('it begins with /');
  if (pattern.length > HTTP_PATH_PATTERN_BYTES_MAX) {
    return fault(`it has more than ${HTTP_PATH_PATTERN_BYTES_MAX} bytes`);
  }
  if (/[?#]/.test(pattern)) return fault('it has no query and no fragment');
  if (/%/.test(pattern)) return fault('it has no percent-encoding');
  if (!/^[\w\-./~!$&'()*+,;=:@]*$/.test(pattern)) return fault('it has a byte that no path has');
  const segments = pattern.slice(1).split('/');
  if (segments.some((segment) => segment === '.' || segment === '..')) {
    return fault('it has no segment . or ..');
  }
  if (pattern !== '/' && segments.includes('')) return fault('it has no empty segment');
  return segments.some((segment) => segment.includes('**') && segment !== '**')
    ? fault('** is a segment of its own')
    : [];
}

/** As people name them. */
export function methodNames({ methods }: HttpMatch): readonly string[] {
  return methods.length === 0 ? ['ANY'] : methods;
}

/** Bits of the methods of a rule; one for all methods that have no name here. */
export function methodBits({ methods }: Pick<HttpMatch, 'methods'>): number {
  if (methods.length === 0) return ANY_BITS;
  return methods.reduce((bits, method) => bits | methodBit(method), 0);
}

/** The bit of one request's method. */
export function methodBit(method: string): number {
  const index = METHODS.indexOf(method as (typeof METHODS)[number]);
  return index < 0 ? UNNAMED_BIT : 1 << index;
}

/** Whether one of a rule's patterns is for a path. */
export type PathCovered = (match: HttpMatch, path: string) => boolean;

export const somePathMatches: PathCovered = ({ paths }, path) =>
  paths.some((pattern) => pathMatches(pattern, path));

/**
 * Whether a rule covers a request; the reference that assembly/path.ts is compared with.
 *
 * @param covered  in place of somePathMatches, one that remembers.
 */
export function httpMatches(
  match: HttpMatch,
  { method, path }: HttpRequest,
  covered = somePathMatches,
): boolean {
  return (methodBits(match) & methodBit(method)) !== 0 && covered(match, path);
}

/**
 * `*` is one segment, or any letters within one; `**` any number of segments, none included. Bit n of
 * `at` says that the first n steps of the pattern can stand for the segments so far. Takes time in
 * proportion to the path, and to the pattern for each segment that it has not met: patterns come from
 * whoever may write rules.
 */
export function pathMatches(pattern: string, path: string): boolean {
  const steps = pattern.slice(1).split('/');
  // Two in a row match what one does.
  const kept = steps.filter((step, i) => step !== '**' || steps[i - 1] !== '**');
  const deep = bitsOf(kept, (step) => step === '**');
  const met = new Map<string, bigint>();
  let at = 1n | ((deep & 1n) << 1n);
  for (const segment of path === '' ? [] : path.slice(1).split('/')) {
    let taking = met.get(segment);
    if (taking === undefined) {
      taking = bitsOf(kept, (step) => step !== '**' && segmentMatches(step, segment));
      met.set(segment, taking);
    }
    at = (at & deep) | ((at & taking) << 1n);
    at |= (at & deep) << 1n;
    if (at === 0n) return false;
  }
  return at >> BigInt(kept.length) === 1n;
}

/** A bit for each, the first one lowest. */
function bitsOf<T>(list: readonly T[], has: (one: T) => boolean): bigint {
  const digits = list.map((one) => (has(one) ? '1' : '0')).reverse();
  return BigInt(`0b${digits.join('')}`);
}

/** Without `**`: a `*` alone is one segment that is not empty. Takes time in proportion to both lengths. */
export function segmentMatches(pattern: string, segment: string): boolean {
  if (pattern === '*') return segment !== '';
  const [head = '', ...parts] = pattern.split('*');
  if (parts.length === 0) return segment === head;
  const tail = parts.pop() ?? '';
  if (!segment.startsWith(head) || segment.length < head.length + tail.length) return false;
  let at = head.length;
  for (const part of parts) {
    const found = segment.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return segment.endsWith(tail) && segment.length - tail.length >= at;
}
