// The grammar of what a filesystem rule names, and whether a path is among it. A list is taken whole or
// refused whole. No expression is built from a pattern: matching takes steps in proportion to the two
// numbers of segments, whatever the pattern.
import { SallyportError } from '../base/errors.ts';
import {
  FILE_PATTERN_BYTES_MAX,
  FILE_RULE_PATTERNS_MAX,
  FILE_SEGMENTS_MAX,
} from '../base/limits.ts';
import { foldCase, hasControl, type PathSegments, type PathStyle } from './file-path.ts';
import { segmentMatches } from './http.ts';

/** One pattern of a rule: an exact path, `*` for one segment or within one, `**` for any number of them. */
export type PathPattern = {
  /** Canonical spelling. */
  readonly text: string;
  /** On which systems it can match: `~` and `**` on all. */
  readonly form: 'everywhere' | 'posix' | 'windows';
  /** The root first: `/`, `~`, `C:`, `*:`, `\\server\share` or `**`. */
  readonly segments: readonly string[];
};

/** A pattern on one machine, for one user. */
export type ReadyPattern = {
  readonly pattern: PathPattern;
  /** The segments before the first wildcard. */
  readonly fixed: PathSegments;
  readonly rest: readonly string[];
};

/**
 * Reads the patterns of one rule; duplicates count once.
 *
 * @throws SALLYPORT_POLICY_INVALID naming every faulty one with its place.
 */
export function parsePathPatterns(texts: readonly string[]): PathPattern[] {
  if (texts.length === 0) throw invalid('a filesystem rule names at least one path');
  if (texts.length > FILE_RULE_PATTERNS_MAX) {
    throw invalid(`${texts.length} paths in one rule; at most ${FILE_RULE_PATTERNS_MAX} fit`);
  }
  const found = new Map<string, PathPattern>();
  const faults: string[] = [];
  for (const [index, text] of texts.entries()) {
    const pattern = read(text);
    if (typeof pattern === 'string') {
      faults.push(`element ${index + 1} ${JSON.stringify(text.slice(0, 200))}: ${pattern}`);
    } else found.set(pattern.text, pattern);
  }
  if (faults.length > 0) throw invalid(faults.join('; '));
  return [...found.values()];
}

/** Whether a pattern of this form can match anything there. */
export function isForStyle({ form }: PathPattern, style: PathStyle): boolean {
  return form === 'everywhere' || (form === 'windows') === (style === 'windows');
}

/**
 * Makes a pattern ready.
 *
 * @param home  of the user, as readPath gives it; what `~` stands for.
 */
export function readyPattern(
  pattern: PathPattern,
  home: PathSegments,
  style: PathStyle,
): ReadyPattern {
  const [root = '', ...names] = pattern.segments;
  const folded = names.map((name) => foldCase(name, style));
  const wild = folded.findIndex((name) => name.includes('*'));
  const split = wild < 0 ? folded.length : wild;
  if (root.includes('*')) return { pattern, fixed: [], rest: [root, ...folded] };
  const start = root === '~' ? home : [foldCase(root, style)];
  return { pattern, fixed: [...start, ...folded.slice(0, split)], rest: folded.slice(split) };
}

/** Whether a path is the pattern's, or among what it covers. `/data/**` covers `/data`, too. */
export function patternMatches({ fixed, rest }: ReadyPattern, path: PathSegments): boolean {
  if (path.length < fixed.length) return false;
  for (const [i, name] of fixed.entries()) if (path[i] !== name) return false;
  return restMatches(rest, path, fixed.length);
}

/** Goes back to the last `**` alone: what stands before it has its earliest place already. */
function restMatches(steps: readonly string[], path: PathSegments, from: number): boolean {
  let step = 0;
  let at = from;
  let afterMany = -1;
  let taken = 0;
  while (at < path.length) {
    const wanted = steps[step];
    if (wanted === '**') {
      afterMany = ++step;
      taken = at;
    } else if (wanted !== undefined && segmentMatches(wanted, path[at] ?? '')) {
      step++;
      at++;
    } else if (afterMany >= 0) {
      step = afterMany;
      at = ++taken;
    } else {
      return false;
    }
  }
  while (steps[step] === '**') step++;
  return step === steps.length;
}

type Shape = Pick<PathPattern, 'form'> & {
  readonly root: string;
  readonly separator: '/' | '\\';
  /** What follows the root. */
  readonly rest: string;
};

function read(text: string): PathPattern | string {
  if (Buffer.byteLength(text) > FILE_PATTERN_BYTES_MAX) {
    return `it has more than ${FILE_PATTERN_BYTES_MAX} bytes`;
  }
  if (hasControl(text)) return 'it has a control character';
  const shape = shapeOf(text);
  if (typeof shape === 'string') return shape;
  const { form, root, separator, rest } = shape;
  const names = rest.split(separator);
  if (names.at(-1) === '') names.pop();
  const fault = faultOfNames(names, separator);
  if (fault !== null) return fault;
  return { text: spell(shape, names), form, segments: [root, ...names] };
}

/** Reads the root: what a pattern is for shows there. */
function shapeOf(text: string): Shape | string {
  if (/^~([/\\]|$)/.test(text)) {
    const separator = text.charAt(1) === '\\' ? '\\' : '/';
    const form = separator === '\\' ? 'windows' : 'everywhere';
    return { form, root: '~', separator, rest: text.slice(2) };
  }
  if (text.startsWith('/')) {
    return { form: 'posix', root: '/', separator: '/', rest: text.slice(1) };
  }
  if (text === '**') return { form: 'everywhere', root: '**', separator: '/', rest: '' };
  if (/^\*\*[/\\]/.test(text)) {
    const posix = text.charAt(2) === '/';
    const separator = posix ? '/' : '\\';
    return { form: posix ? 'posix' : 'windows', root: '**', separator, rest: text.slice(3) };
  }
  return windowsShapeOf(text);
}

const BEGINNINGS =
  'it begins with /, ~/, a drive (C:\\ or *:\\), \\\\server\\share or **; variables are not expanded';

function windowsShapeOf(text: string): Shape | string {
  const windows = { form: 'windows', separator: '\\' } as const;
  if (/^[A-Za-z*]:(\\|$)/.test(text)) {
    return { ...windows, root: text.slice(0, 2).toUpperCase(), rest: text.slice(3) };
  }
  if (/^[A-Za-z*]:\//.test(text)) return 'on Windows the separator of a pattern is \\';
  const [root, server = '', share = ''] = /^\\\\([^\\/]+)\\([^\\/]+)/.exec(text) ?? [];
  if (root === undefined) return BEGINNINGS;
  if (/[*?]/.test(server + share)) return 'server and share have no wildcards';
  const told = /^wsl\$$/i.test(server) ? 'wsl.localhost' : server;
  return { ...windows, root: `\\\\${told}\\${share}`, rest: text.slice(root.length + 1) };
}

function faultOfNames(names: readonly string[], separator: string): string | null {
  if (names.length >= FILE_SEGMENTS_MAX) return `it has more than ${FILE_SEGMENTS_MAX} segments`;
  const odd = separator === '\\' ? /[?[\]{}:"<>|/]/ : /[?[\]{}]/;
  for (const name of names) {
    const fault = faultOfName(name, odd);
    if (fault !== null) return fault;
  }
  return null;
}

/** @param odd  letters that names do not have there, or that stand for a wildcard elsewhere */
function faultOfName(name: string, odd: RegExp): string | null {
  if (name === '') return 'it has an empty segment';
  if (name === '.' || name === '..') return `it has a segment ${name}`;
  if (name.includes('**') && name !== '**') return '** is a segment of its own';
  const found = odd.exec(name);
  return found === null ? null : `${found[0]} has no meaning in it; there are * and **`;
}

function spell({ root, separator }: Shape, names: readonly string[]): string {
  if (root === '/') return `/${names.join('/')}`;
  if (names.length > 0) return [root, ...names].join(separator);
  return root === '**' || root.startsWith('\\\\') ? root : root + separator;
}

function invalid(message: string): SallyportError {
  return new SallyportError('SALLYPORT_POLICY_INVALID', message);
}
