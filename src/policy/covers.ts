// Whether one resource covers all that another does. The answer is yes only when it is proven: who
// asks removes a rule because of it. "No" may also mean that nobody knows.
import { COVERS_STEPS_MAX } from '../base/limits.ts';
import { classify, covers as coversAddress, formatAddress } from './address.ts';
import { pathCovers } from './covers-path.ts';
import { type GlobStep, isGlob, readGlob } from './glob.ts';
import type { HttpMatch } from './http.ts';
import type { Resource } from './resource.ts';
import { GLOBAL_SCOPE, type Rule } from './rule.ts';

type HostResource = Extract<Resource, { kind: 'host' }>;

/** Every host and port that `inner` matches, `outer` matches too. */
export function covers(outer: Resource, inner: Resource): boolean {
  if (outer.port !== 0 && outer.port !== inner.port) return false;
  if (outer.kind === 'any') return true;
  if (outer.kind === 'cidr') {
    return (
      inner.kind === 'cidr' &&
      outer.prefixLength <= inner.prefixLength &&
      coversAddress(outer.bytes, outer.prefixLength, inner.bytes)
    );
  }
  return inner.kind === 'host' && hostCovers(outer, inner);
}

/**
 * Whatever `inner` decides by one of its resources, `outer` decides too by one of its own. For allow
 * rules this asks whether both name what they cover, too: `**` opens no private address.
 */
export function ruleCovers(
  outer: Pick<Rule, 'decision' | 'scope' | 'protocols' | 'http'>,
  by: Resource,
  inner: Pick<Rule, 'scope' | 'protocols' | 'http'>,
  resource: Resource,
): boolean {
  if (outer.scope !== GLOBAL_SCOPE && outer.scope !== inner.scope) return false;
  if (!inner.protocols.every((protocol) => outer.protocols.includes(protocol))) return false;
  if (!httpCovers(outer.http, inner.http) || !covers(by, resource)) return false;
  return outer.decision === 'deny' || by.kind === 'cidr' || !opensByName(by, resource);
}

/** Whether `resource` opens what only a rule that names it can open, and `by` does not. */
function opensByName(by: Resource, resource: Resource): boolean {
  if (resource.kind === 'cidr') return !isPublicAddress(resource);
  if (by.kind === 'host' && by.prefix === 'none' && !by.labels.some(isGlob)) return false;
  return resource.kind === 'host' && resource.labels.join('.') === 'localhost';
}

function isPublicAddress({ bytes, prefixLength }: Extract<Resource, { kind: 'cidr' }>): boolean {
  return prefixLength === bytes.length * 8 && classify(formatAddress(bytes)) === 'public';
}

function httpCovers(outer: HttpMatch | undefined, inner: HttpMatch | undefined): boolean {
  if (outer === undefined) return true;
  if (inner === undefined) return false;
  const methods =
    outer.methods.length === 0 ||
    (inner.methods.length > 0 && inner.methods.every((method) => outer.methods.includes(method)));
  return (
    methods && inner.paths.every((path) => outer.paths.some((pattern) => pathCovers(pattern, path)))
  );
}

/** Labels from the right: what stands before them is none, exactly one or at least one label more. */
function hostCovers(outer: HostResource, inner: HostResource): boolean {
  const [own, other] = [fixedLabels(outer), fixedLabels(inner)];
  if (outer.prefix === 'many') {
    const extra = other.length - own.length;
    // `**.` of the inner stands for at least one label, which the outer's own `**.` may take.
    if (inner.prefix === 'many' ? extra < 0 : extra < 1) return false;
    return own.every((label, i) => labelCovers(label, other[extra + i] ?? ''));
  }
  if (inner.prefix === 'many' || own.length !== other.length) return false;
  return own.every((label, i) => labelCovers(label, other[i] ?? ''));
}

function fixedLabels({ prefix, labels }: HostResource): readonly string[] {
  return prefix === 'one' ? ['*', ...labels] : labels;
}

/** Every label that the pattern `inner` matches, `outer` matches; exact up to COVERS_STEPS_MAX. */
function labelCovers(outer: string, inner: string): boolean {
  if (outer === inner || outer === '*') return true;
  if (!isGlob(outer)) return false;
  const [own, other] = [readGlob(outer), readGlob(inner)];
  if (typeof own === 'string' || typeof other === 'string') return false;
  return includes(own, other);
}

const LETTERS = [...'abcdefghijklmnopqrstuvwxyz0123456789-'];

type State = {
  /** Where each pattern can be after the same letters. */
  readonly own: readonly number[];
  readonly other: readonly number[];
};

/**
 * Walks all words of `inner` at once, keeping the places that `outer` can be at; a place of `inner`
 * where it may end and `outer` may not is a word that only `inner` has.
 */
function includes(outer: readonly GlobStep[], inner: readonly GlobStep[]): boolean {
  const seen = new Set<string>();
  // A label is never empty, so what both make of the empty word is not asked.
  let open = successors(outer, inner, { own: ends(outer, [0]), other: ends(inner, [0]) });
  while (open.length > 0) {
    if (open.some(({ own, other }) => ended(inner, other) && !ended(outer, own))) return false;
    const next = open.flatMap((state) => successors(outer, inner, state));
    open = next.filter(({ own, other }) => {
      const name = `${own}|${other}`;
      return !seen.has(name) && seen.add(name);
    });
    if (seen.size > COVERS_STEPS_MAX) return false;
  }
  return true;
}

function ended(steps: readonly GlobStep[], places: readonly number[]): boolean {
  return places.includes(steps.length);
}

/** One for each letter that `inner` can go on with. */
function successors(
  outer: readonly GlobStep[],
  inner: readonly GlobStep[],
  { own, other }: State,
): State[] {
  return LETTERS.map((letter) => ({
    own: step(outer, own, letter),
    other: step(inner, other, letter),
  })).filter((state) => state.other.length > 0);
}

function step(steps: readonly GlobStep[], places: readonly number[], letter: string): number[] {
  const reached = places.flatMap((at) => {
    const one = steps[at];
    if (one === undefined) return [];
    if (one === '*') return [at];
    const among = one.ranges.some(([from, to]) => from <= letter && letter <= to);
    return among === one.negated ? [] : [at + 1];
  });
  return ends(steps, reached);
}

/** Also the places behind stars, which may stand for nothing. */
function ends(steps: readonly GlobStep[], places: readonly number[]): number[] {
  const found = new Set<number>();
  for (let at of places) {
    found.add(at);
    while (steps[at] === '*') found.add(++at);
  }
  return [...found].sort((a, b) => a - b);
}
