// The obvious matcher: a loop over all rules, read straight off the grammar. It is what the Wasm
// matcher is compared with, and it must stay too simple to be wrong. At run time it is for lists that
// are short: resourceMatches for bindings, the whole for the few rules that `policy explain` tells of.
import { addressBytes, covers, isAddress } from './address.ts';
import type { Matcher, Question, Verdict } from './decision.ts';
import { type GlobStep, isGlob, readGlob } from './glob.ts';
import { httpMatches, type PathCovered } from './http.ts';
import type { Resource } from './resource.ts';
import { GLOBAL_SCOPE, type Rule } from './rule.ts';

/** @returns a matcher over these rules, in this order. */
export function referenceMatcher(
  rules: readonly Rule[],
  generation = 1,
  covered?: PathCovered,
): Matcher {
  return { match: (question) => decideBy(rules, question, generation, covered) };
}

function decideBy(
  rules: readonly Rule[],
  question: Question,
  generation: number,
  covered: PathCovered | undefined,
): Verdict {
  const covering = rules.filter((rule) => applies(rule, question));
  const http = covering.some((rule) => rule.http !== undefined);
  const applying = covering.filter((rule) => coversRequest(rule, question, covered));
  const rule = applying.find(({ decision }) => decision === 'deny') ?? applying[0];
  if (rule === undefined) {
    return { action: 'deny', kind: 'implicit', rule: null, source: null, http, generation };
  }
  return {
    action: rule.decision,
    kind: 'explicit',
    rule: rule.id,
    source: rule.source,
    http,
    generation,
  };
}

function coversRequest({ http }: Rule, { request }: Question, covered?: PathCovered): boolean {
  if (http === undefined) return true;
  return request !== undefined && httpMatches(http, request, covered);
}

function applies(rule: Rule, question: Question): boolean {
  if (rule.scope !== GLOBAL_SCOPE && rule.scope !== question.scope) return false;
  if (!rule.protocols.includes(question.protocol)) return false;
  return rule.resources.some((resource) => {
    if (rule.decision === 'allow' && question.namedOnly === true && !isNamed(resource))
      return false;
    return resourceMatches(resource, question.host, question.port);
  });
}

/** Whether a resource names what it covers, rather than sweeping it in. */
export function isNamed(resource: Resource): boolean {
  if (resource.kind !== 'host') return resource.kind === 'cidr';
  return resource.prefix === 'none' && !resource.labels.some(isGlob);
}

/** Whether one resource covers a host and port. */
export function resourceMatches(resource: Resource, host: string, port: number): boolean {
  if (resource.port !== 0 && resource.port !== port) return false;
  if (resource.kind === 'any') return true;
  if (resource.kind === 'cidr') {
    return isAddress(host) && covers(resource.bytes, resource.prefixLength, addressBytes(host));
  }
  if (isAddress(host)) return false;
  const labels = host.split('.');
  const extra = labels.length - resource.labels.length;
  if (resource.prefix === 'none' && extra !== 0) return false;
  if (resource.prefix === 'one' && extra !== 1) return false;
  if (resource.prefix === 'many' && extra < 1) return false;
  return resource.labels.every((pattern, i) => labelMatches(pattern, labels[extra + i] ?? ''));
}

function labelMatches(pattern: string, label: string): boolean {
  if (!isGlob(pattern)) return pattern === label;
  const steps = readGlob(pattern);
  return typeof steps !== 'string' && globMatches(steps, label);
}

/** Follows every way to read the label at once: the places that the steps so far can end at. */
function globMatches(steps: readonly GlobStep[], label: string): boolean {
  let places = [0];
  for (const step of steps) places = [...new Set(places.flatMap((at) => endsOf(step, label, at)))];
  return places.includes(label.length);
}

/** Where a step that begins at this place can end. */
function endsOf(step: GlobStep, label: string, place: number): number[] {
  if (step === '*') {
    return Array.from({ length: label.length - place + 1 }, (_, more) => place + more);
  }
  if (place === label.length) return [];
  const character = label.charAt(place);
  const among = step.ranges.some(([from, to]) => from <= character && character <= to);
  return among === step.negated ? [] : [place + 1];
}
