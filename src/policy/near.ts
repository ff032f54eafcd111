// The rule that somebody meant: how an allow rule that does not cover a target differs from one that
// would. Words for people; nothing is decided by them.
import { addressBytes, covers, isAddress } from './address.ts';
import type { Question } from './decision.ts';
import { touches } from './explain.ts';
import { resourceMatches } from './reference.ts';
import type { Resource } from './resource.ts';
import { GLOBAL_SCOPE, type Rule } from './rule.ts';

export type Near = {
  readonly rule: Rule;
  readonly resource: Resource;
  /** How far off it is; less is nearer. */
  readonly distance: number;
  /** What keeps it from covering the target, to stand behind the rule. */
  readonly why: string;
};

type Difference = { readonly distance: number; readonly why: string };
type HostResource = Extract<Resource, { kind: 'host' }>;

const SAME: Difference = { distance: 0, why: '' };
const SHAPE = 3; // The right domain, one label more or less.
const SPELLING = 4;
const SIBLING = 6;
const SHARED_V4_BITS = 16;
const SHARED_V6_BITS = 48;
const SPELLING_LENGTH_MIN = 5; // Short names differ by a letter by chance.

/**
 * @param nameOf  of a scope, for the words.
 * @returns null for deny rules, for rules that cover the target, and for those far off.
 */
export function nearMiss(
  rule: Rule,
  question: Question,
  nameOf: (scope: number) => string,
): Near | null {
  if (rule.decision !== 'allow') return null;
  const around = [ofScope(rule, question, nameOf), ofProtocol(rule, question)];
  let best: Near | null = null;
  for (const resource of rule.resources) {
    const host = ofHost(resource, question);
    // Under another spelling of this machine it may cover the target all the same.
    if (host === null || touches({ ...rule, resources: [resource] }, question) !== null) continue;
    const all = [host, ofPort(resource, question), ...around].filter((one) => one.distance > 0);
    const distance = all.reduce((sum, one) => sum + one.distance, 0);
    if (distance === 0 || (best !== null && best.distance <= distance)) continue;
    best = { rule, resource, distance, why: all.map(({ why }) => why).join('; ') };
  }
  return best;
}

function ofScope(
  { scope }: Rule,
  question: Question,
  nameOf: (scope: number) => string,
): Difference {
  if (scope === GLOBAL_SCOPE || scope === question.scope) return SAME;
  return { distance: 2, why: `it is for ${nameOf(scope)} alone` };
}

function ofProtocol({ protocols }: Rule, { protocol }: Question): Difference {
  if (protocols.includes(protocol)) return SAME;
  return { distance: 1, why: `it is for ${protocols.join(' and ')}, not ${protocol}` };
}

function ofPort({ port }: Resource, question: Question): Difference {
  if (port === 0 || port === question.port) return SAME;
  return { distance: 1, why: `it is for port ${port}, not ${question.port}` };
}

/** @returns null when the hosts have nothing to do with each other */
function ofHost(resource: Resource, { host }: Question): Difference | null {
  if (resourceMatches({ ...resource, port: 0 }, host, 1)) return SAME;
  if (resource.kind === 'cidr') return ofAddress(resource, host);
  if (resource.kind === 'any' || isAddress(host)) return null;
  return ofShape(resource, host) ?? ofSpelling(resource, host) ?? ofSibling(resource, host);
}

function ofAddress(
  { bytes, prefixLength, text }: Extract<Resource, { kind: 'cidr' }>,
  host: string,
): Difference | null {
  if (!isAddress(host)) return null;
  const shared = Math.min(prefixLength, bytes.length === 4 ? SHARED_V4_BITS : SHARED_V6_BITS);
  if (!covers(bytes, shared, addressBytes(host))) return null;
  return {
    distance: SHAPE,
    why: `${host} is not ${prefixLength < 32 ? 'within' : 'that of'} ${text}`,
  };
}

/** The pattern fits the end of the host, but has more or fewer labels before it. */
function ofShape(resource: HostResource, host: string): Difference | null {
  const { prefix, labels } = resource;
  const own = labels.join('.');
  const extra = host.split('.').length - labels.length;
  const fits = resourceMatches(
    { ...resource, port: 0, prefix: extra > 0 ? 'many' : 'none' },
    host,
    1,
  );
  if (!fits) return null;
  const shown = `\`${textOf(resource)}\` does not cover \`${host}\``;
  if (prefix === 'none') {
    const form = extra === 1 ? `*.${own}` : `**.${own}`;
    return {
      distance: SHAPE,
      why: `${shown}: it is that name alone; \`${form}\` covers those below it`,
    };
  }
  if (extra === 0) {
    const more = prefix === 'one' ? 'exactly one label more' : 'one or more labels more';
    return { distance: SHAPE, why: `${shown}: it covers ${more}; \`${own}\` is the name itself` };
  }
  return {
    distance: SHAPE,
    why: `${shown}: it covers exactly one label more, not ${extra}; \`**.${own}\` covers any number`,
  };
}

function ofSpelling(resource: HostResource, host: string): Difference | null {
  const own = resource.labels.join('.');
  if (resource.prefix !== 'none' || host.length < SPELLING_LENGTH_MIN) return null;
  if (!isSpeltAlike(own, host)) return null;
  return { distance: SPELLING, why: `\`${own}\` is spelt a little differently from \`${host}\`` };
}

/** One letter more, less or other, or two neighbours swapped. */
function isSpeltAlike(one: string, other: string): boolean {
  if (Math.abs(one.length - other.length) > 1) return false;
  let start = 0;
  while (start < one.length && one[start] === other[start]) start++;
  const [rest, otherRest] = [one.slice(start), other.slice(start)];
  const swapped = `${rest.charAt(1)}${rest.charAt(0)}${rest.slice(2)}`;
  return (
    rest.slice(1) === otherRest.slice(1) ||
    rest.slice(1) === otherRest ||
    rest === otherRest.slice(1) ||
    (rest.length > 1 && swapped === otherRest)
  );
}

function ofSibling(resource: HostResource, host: string): Difference | null {
  const own = resource.labels.slice(-2).join('.');
  const shares = resource.labels.length >= 2 && host.split('.').slice(-2).join('.') === own;
  if (!shares || /[*?[]/.test(own)) return null;
  return { distance: SIBLING, why: `\`${textOf(resource)}\` is another name under \`${own}\`` };
}

function textOf({ prefix, labels }: HostResource): string {
  return { none: '', one: '*.', many: '**.' }[prefix] + labels.join('.');
}
