// Hosts, addresses and paths that a pattern covers: what a difference between policies is shown on.
// A pattern has ever so many; here are a few of each shape, and what it has in common with another.
import { type Address, covers, formatAddress } from './address.ts';
import { type GlobStep, isGlob, readGlob } from './glob.ts';
import { pathMatches } from './http.ts';
import type { Resource } from './resource.ts';

export type HostResource = Extract<Resource, { kind: 'host' }>;
export type RangeResource = Extract<Resource, { kind: 'cidr' }>;

/** Tried in this order, and in the other: of `[ab]` both are found. A hyphen fits in few places. */
const LETTERS = [...'wxabcdefghijklmnopqrstuvyz0123456789-'];
const LETTERS_BACK = [...'zyxvutsrqponmlkjihgfedcbaw9876543210-'];
/** Labels that no rule is likely to name. */
const FRESH = ['witness', 'w', '0w'];

/** Names that the resource covers, the plainest first; none for `*.[0-9]`, which covers no name. */
export function hostInstances({ prefix, labels }: HostResource): string[] {
  const [first, ...others] = labels.map(labelInstances);
  const depth = Math.max(1, ...[first ?? [], ...others].map((choices) => choices.length));
  const own = Array.from({ length: depth }, (_, i) =>
    labels.map((label, at) => pick(labelInstances(label), at === 0 ? i : i % 2)).join('.'),
  );
  if (prefix === 'none') return [...new Set(own)].filter(isName);
  const fronts = prefix === 'one' ? FRESH : [...FRESH, 'w.witness'];
  const [plain = '', ...more] = own;
  const names = [...fronts.map((front) => `${front}.${plain}`), ...more.map((name) => `w.${name}`)];
  return names.filter(isName);
}

/** With a last label of digits it would be an address, or look like one. */
function isName(host: string): boolean {
  return host !== '' && !NUMBER.test(host.slice(host.lastIndexOf('.') + 1));
}

/** What no name ends with: host.ts refuses it. */
const NUMBER = /^(\d*|0x[0-9a-f]*)$/;

function pick(choices: readonly string[], i: number): string {
  return choices[i % choices.length] ?? '';
}

/** Labels that a pattern matches; the label itself when it is none. */
function labelInstances(label: string): readonly string[] {
  if (!isGlob(label)) return [label];
  const made = [...FRESH, '*', '??*'].flatMap((shape) =>
    [LETTERS, LETTERS_BACK].flatMap((letters) => commonLabel(label, shape, letters) ?? []),
  );
  return [...new Set(made)];
}

/**
 * A name that two resources cover both, or null when none was found.
 */
export function commonHost(one: HostResource, other: HostResource): string | null {
  const [shortest, longest] = [one, other].map(lengthOf).sort((a, b) => a - b);
  const isOpen = one.prefix === 'many' && other.prefix === 'many';
  const total = isOpen || isFixed(one) !== isFixed(other) ? (longest ?? 0) : (shortest ?? 0);
  const [own, others] = [patternOf(one, total), patternOf(other, total)];
  if (own === null || others === null) return null;
  const labels = own.map((label, i) => {
    const beside = others[i] ?? '';
    if (i < own.length - 1) return commonLabel(label, beside);
    return (
      commonLabel(label, beside, LETTERS, isName) ??
      commonLabel(label, beside, LETTERS_BACK, isName)
    );
  });
  return labels.includes(null) ? null : labels.join('.');
}

function isFixed({ prefix }: HostResource): boolean {
  return prefix !== 'many';
}

/** How many labels it has, or has at least. */
function lengthOf({ prefix, labels }: HostResource): number {
  return labels.length + (prefix === 'none' ? 0 : 1);
}

/** As a pattern for each of so many labels; null when it covers no name of that length. */
function patternOf(resource: HostResource, total: number): string[] | null {
  const extra = total - resource.labels.length;
  const fits = isFixed(resource) ? total === lengthOf(resource) : extra >= 1;
  return fits ? [...new Array<string>(extra).fill('*'), ...resource.labels] : null;
}

type Place = { readonly at: number; readonly with: number; readonly word: string };

/** The shortest label that both patterns match and that is taken, or null when there is none. */
function commonLabel(
  one: string,
  other: string,
  letters = LETTERS,
  isTaken: (label: string) => boolean = () => true,
): string | null {
  if (!isGlob(one) && !isGlob(other)) return one === other && isTaken(one) ? one : null;
  const [own, others] = [readGlob(one), readGlob(other)];
  if (typeof own === 'string' || typeof others === 'string') return null;
  const seen = new Set<string>();
  let open: Place[] = [{ at: 0, with: 0, word: '' }];
  while (open.length > 0) {
    const done = open.find((place) => place.at === own.length && place.with === others.length);
    if (done !== undefined && LABEL.test(done.word) && isTaken(done.word)) return done.word;
    // Which letters led to a place makes no difference but to whether there were any, and more than digits.
    open = open
      .flatMap((place) => stepsFrom(own, others, place, letters))
      .filter((place) => {
        const name = `${place.at} ${place.with} ${place.word === ''} ${NUMBER.test(place.word)}`;
        return !seen.has(name) && seen.add(name);
      });
  }
  return null;
}

const LABEL = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

/** Either star may stand for nothing; else both go on by the same letter. */
function stepsFrom(
  own: readonly GlobStep[],
  others: readonly GlobStep[],
  place: Place,
  letters: readonly string[],
): Place[] {
  const [a, b] = [own[place.at], others[place.with]];
  const next: Place[] = [];
  if (a === '*') next.push({ ...place, at: place.at + 1 });
  if (b === '*') next.push({ ...place, with: place.with + 1 });
  const letter =
    a === undefined || b === undefined
      ? undefined
      : letters.find((one) => isIn(one, a) && isIn(one, b));
  if (letter === undefined) return next;
  const at = place.at + (a === '*' ? 0 : 1);
  return [...next, { at, with: place.with + (b === '*' ? 0 : 1), word: place.word + letter }];
}

function isIn(letter: string, step: GlobStep): boolean {
  if (step === '*') return true;
  return step.ranges.some(([from, to]) => from <= letter && letter <= to) !== step.negated;
}

/** The first, the last and the second. */
export function addressInstances({ bytes, prefixLength }: RangeResource): Address[] {
  const last = bytes.map(
    (byte, i) => byte | (0xff >> Math.min(8, Math.max(0, prefixLength - 8 * i))),
  );
  const isOne = prefixLength === 8 * bytes.length;
  const inside = bytes.with(-1, (bytes.at(-1) ?? 0) | (isOne ? 0 : 1));
  return [...new Set([bytes, last, inside].map((one) => formatAddress(one)))];
}

/** An address that two ranges cover both: the first of the narrower. */
export function commonAddress(one: RangeResource, other: RangeResource): Address | null {
  const [wide, narrow] = one.prefixLength < other.prefixLength ? [one, other] : [other, one];
  return covers(wide.bytes, wide.prefixLength, narrow.bytes) ? formatAddress(narrow.bytes) : null;
}

/** Paths that a pattern matches: `**` for nothing, for one segment and for two. */
export function pathInstances(pattern: string): string[] {
  const segments = pattern.slice(1).split('/');
  const made = ['', 'w', 'w/w'].map((many) => {
    const parts = segments.map((segment) =>
      segment === '**'
        ? many
        : segment === '*'
          ? 'w'
          : segment.replaceAll('*', many === '' ? '' : 'w'),
    );
    return `/${parts.filter((part, i) => part !== '' || segments[i] === '').join('/')}`;
  });
  return [...new Set(made)].filter((path) => pathMatches(pattern, path));
}
