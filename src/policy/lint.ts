// What is wrong with a policy without being invalid: rules without effect, rules against each other,
// rules that open too much. A finding that a rule has no effect is a proof (covers.ts).
import { LINT_COMPARISONS_MAX } from '../base/limits.ts';
import { broadness } from './broad.ts';
import { ruleCovers } from './covers.ts';
import { literalEnd, type Resource } from './resource.ts';
import { type Decision, GLOBAL_SCOPE, type Rule } from './rule.ts';

/**
 * contradictory: allowed and denied alike. unreachable: an allow wholly under a deny. duplicate: said
 * before. shadowed: said by a broader rule. ineffective: limits requests that are all allowed anyway.
 */
export type FindingKind =
  | 'contradictory'
  | 'unreachable'
  | 'duplicate'
  | 'shadowed'
  | 'ineffective'
  | 'over-broad';

export type Severity = 'error' | 'warning' | 'info';

export type Finding = {
  readonly kind: FindingKind;
  readonly severity: Severity;
  readonly rule: Rule;
  /** That of its resources which is meant. */
  readonly resource: Resource;
  /** The rule and resource that it is held against; null for over-broad. */
  readonly by: { readonly rule: Rule; readonly resource: Resource } | null;
  readonly reason: string;
};

export type Lint = {
  readonly findings: readonly Finding[];
  /** false: there were too many comparisons to make them all. */
  readonly complete: boolean;
};

const SEVERITIES: Readonly<Record<FindingKind, Severity>> = {
  contradictory: 'error',
  unreachable: 'warning',
  duplicate: 'info',
  shadowed: 'info',
  ineffective: 'warning',
  'over-broad': 'warning',
};

const HTTPS_PORT = 443;

type Entry = { readonly rule: Rule; readonly resource: Resource; readonly position: number };

/**
 * @param rules    all of them, in list order.
 * @param subject  whether to look for faults of a rule; others only count against those.
 */
export function lint(rules: readonly Rule[], subject: (rule: Rule) => boolean): Lint {
  const index = new Index(rules);
  const findings: Finding[] = [];
  for (const entry of index.entries) {
    if (!subject(entry.rule)) continue;
    const useless = withoutEffect(entry, index);
    if (useless !== null) findings.push(useless);
    const broad = entry.rule.decision === 'allow' && useless?.severity !== 'error';
    const reason = broad ? broadness(entry.resource, entry.rule) : null;
    if (reason !== null) findings.push(findingOf('over-broad', entry, null, reason));
  }
  return { findings, complete: index.comparisons <= LINT_COMPARISONS_MAX };
}

function withoutEffect(entry: Entry, index: Index): Finding | null {
  const { rule } = entry;
  if (rule.decision === 'allow') {
    const deny = index.find('deny', entry, (other) => isCovered(entry, other));
    if (deny !== null) return underDeny(entry, deny);
  }
  const same = index.find(rule.decision, entry, (other) => isCovered(entry, other));
  if (same !== null) {
    const equal = coversEntry(entry, same);
    const reason = `${told(same)} ${equal ? 'says the same' : 'covers it'}; without it nothing changes`;
    return findingOf(equal ? 'duplicate' : 'shadowed', entry, same, reason);
  }
  return rule.decision === 'allow' && rule.http !== undefined ? limitless(entry, index) : null;
}

/**
 * An allow for some requests next to one for all. On port 443 alone is enough: rules of presets are
 * for that, and a host that is open there is as good as open.
 */
function limitless(entry: Entry, index: Index): Finding | null {
  const { resource } = entry;
  const open = index.find('allow', entry, (other) => allowsAll(other, entry));
  if (open !== null) return limitsNone(entry, open, resource.text);
  if (resource.port !== 0) return null;
  const https = { ...entry, resource: { ...resource, port: HTTPS_PORT } };
  const half = index.find('allow', https, (other) => allowsAll(other, https));
  return half && limitsNone(entry, half, `${resource.text} on port ${HTTPS_PORT}`);
}

function limitsNone(entry: Entry, open: Entry, where: string): Finding {
  const reason = `${told(open)} allows all requests to ${where}, so that this limits none; remove that one to have the limit`;
  return findingOf('ineffective', entry, open, reason);
}

/** Whether what an entry decides is decided by the other; of two that are equal, by the first. */
function isCovered(entry: Entry, by: Entry): boolean {
  if (by === entry || !coversEntry(by, entry)) return false;
  const opposed = by.rule.decision !== entry.rule.decision;
  return opposed || by.position < entry.position || !coversEntry(entry, by);
}

function coversEntry(by: Entry, { rule, resource }: Entry): boolean {
  const allows = by.rule.decision === 'allow';
  // Next to a rule for all requests one for some still has its host intercepted, and odd paths refused.
  if (allows && by.rule.http === undefined && rule.http !== undefined) return false;
  return ruleCovers(by.rule, by.resource, rule, resource);
}

function allowsAll(other: Entry, { rule, resource }: Entry): boolean {
  return other.rule.http === undefined && ruleCovers(other.rule, other.resource, rule, resource);
}

function underDeny(entry: Entry, deny: Entry): Finding {
  const same =
    deny.resource.text === entry.resource.text &&
    deny.rule.scope === entry.rule.scope &&
    JSON.stringify(deny.rule.http) === JSON.stringify(entry.rule.http);
  return same
    ? findingOf('contradictory', entry, deny, `${told(deny)} denies the same, and deny wins`)
    : findingOf('unreachable', entry, deny, `${told(deny)} denies all of it, and deny wins`);
}

function told({ rule, resource }: Entry): string {
  return `rule ${rule.id} (${rule.decision} ${resource.text})`;
}

function findingOf(kind: FindingKind, entry: Entry, by: Entry | null, reason: string): Finding {
  const { rule, resource } = entry;
  return {
    kind,
    severity: SEVERITIES[kind],
    rule,
    resource,
    by: by && { rule: by.rule, resource: by.resource },
    reason,
  };
}

/** Finds the few entries that can cover one among very many. */
class Index {
  readonly entries: readonly Entry[];
  readonly #buckets = new Map<string, Entry[]>();
  comparisons = 0;

  constructor(rules: readonly Rule[]) {
    let position = 0;
    this.entries = rules.flatMap((rule) =>
      rule.resources.map((resource) => ({ rule, resource, position: position++ })),
    );
    for (const entry of this.entries) {
      const key = keyOf(entry.rule, entry.resource.port, placeOf(entry.resource));
      const bucket = this.#buckets.get(key);
      if (bucket === undefined) this.#buckets.set(key, [entry]);
      else bucket.push(entry);
    }
  }

  /** @returns the first entry of that decision which `holds`, among those that can cover this one. */
  find(decision: Decision, { rule, resource }: Entry, holds: (by: Entry) => boolean): Entry | null {
    for (const scope of new Set([GLOBAL_SCOPE, rule.scope])) {
      for (const port of new Set([0, resource.port])) {
        for (const place of placesAround(resource)) {
          const found = this.#first(keyOf({ decision, scope }, port, place), holds);
          if (found !== null) return found;
        }
      }
    }
    return null;
  }

  #first(key: string, holds: (by: Entry) => boolean): Entry | null {
    for (const by of this.#buckets.get(key) ?? []) {
      if (++this.comparisons > LINT_COMPARISONS_MAX) return null;
      if (holds(by)) return by;
    }
    return null;
  }
}

function keyOf(
  { decision, scope }: Pick<Rule, 'decision' | 'scope'>,
  port: number,
  place: string,
): string {
  return `${decision} ${scope} ${port} ${place}`;
}

/** Where a resource is kept: a host under the labels that it ends with, a range under its bits. */
function placeOf(resource: Resource): string {
  if (resource.kind === 'any') return '**';
  if (resource.kind === 'cidr') return rangeName(resource.bytes, resource.prefixLength);
  return literalEnd(resource).join('.');
}

/** Every place where something may be kept that covers the resource. */
function placesAround(resource: Resource): string[] {
  if (resource.kind === 'any') return ['**'];
  if (resource.kind === 'cidr') {
    const lengths = Array.from({ length: resource.prefixLength + 1 }, (_, i) => i);
    return ['**', ...lengths.map((length) => rangeName(resource.bytes, length))];
  }
  const labels = literalEnd(resource);
  return ['**', '', ...labels.map((_, i) => labels.slice(i).join('.'))];
}

function rangeName(bytes: Uint8Array, length: number): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return `${bytes.length}/${bits.slice(0, length)}`;
}
