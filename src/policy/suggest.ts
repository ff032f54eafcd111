// The smallest rules under which what was asked for would be allowed: each host with its port, several
// under one domain as a wildcard, requests by method and path where HTTP rules decide. A proposal for
// people to look at; what is dangerous, or cannot be said by a rule, is refused with its reason.
import { HTTP_PATHS_MAX } from '../base/limits.ts';
import { type Address, isAddress } from './address.ts';
import { broadness, METADATA, siteOf } from './broad.ts';
import { collapseHosts, collapsePaths } from './collapse.ts';
import { touches } from './explain.ts';
import type { Host } from './host.ts';
import { METHODS, parseHttpMatch } from './http.ts';
import { commonHost } from './instances.ts';
import type { AddressGuard, AskedRequest } from './judge.ts';
import { ownPattern } from './path.ts';
import { judgeProbe } from './probe.ts';
import { referenceMatcher } from './reference.ts';
import { checkForDecision, formatHostPort, parseResources, type Resource } from './resource.ts';
import { GLOBAL_SCOPE, type Rule } from './rule.ts';
import type { Judged } from './witness.ts';

/** What was asked for, however often. */
export type Seen = {
  readonly scope: number;
  readonly host: Host | Address;
  readonly port: number;
  /** Null: a connection. */
  readonly request: AskedRequest | null;
};

export type Part<S extends Seen> = {
  readonly resource: Resource;
  /** What it is there for. */
  readonly seen: readonly S[];
  /** What it opens beside that; null for nothing known. */
  readonly warning: string | null;
};

export type Suggested<S extends Seen> = {
  readonly rule: Rule;
  /** In the order of the rule's resources. */
  readonly parts: readonly Part<S>[];
};

export type Refused<S extends Seen> = { readonly seen: S; readonly why: string };

export type Suggestions<S extends Seen> = {
  readonly suggested: readonly Suggested<S>[];
  readonly refused: readonly Refused<S>[];
};

export type SuggestOptions = {
  readonly guard: AddressGuard;
  /** So many names under one domain become a wildcard, so many paths a pattern; 0: never. */
  readonly collapseMin: number;
  /** Rules for all sandboxes, whichever asked. */
  readonly global: boolean;
};

/** @param base  what holds already: what it allows needs no rule */
export function suggest<S extends Seen>(
  base: Judged,
  list: readonly S[],
  options: SuggestOptions,
): Suggestions<S> {
  const refused: Refused<S>[] = [];
  const narrowing = base.rules.filter(({ http }) => http !== undefined);
  const wanted = { plain: [] as S[], byRequest: [] as S[] };
  for (const seen of list) {
    const sorted = sortOut(base, seen, options.guard);
    const scoped = options.global ? { ...seen, scope: GLOBAL_SCOPE } : seen;
    if (sorted === 'wanted') wanted[wayOf(scoped, narrowing)].push(scoped);
    else if (sorted !== null) refused.push({ seen, why: sorted });
  }
  const all = [
    ...rulesForHosts(wanted.plain, narrowing, options, refused),
    ...rulesForRequests(wanted.byRequest, options, refused),
  ];
  const suggested = all.map(({ rule, parts }, i) => ({
    rule: { ...rule, id: `s${i + 1}` },
    parts,
  }));
  return { suggested, refused };
}

/** @returns null for what is allowed, `wanted` for what a rule may allow, or why none is proposed */
function sortOut(base: Judged, seen: Seen, guard: AddressGuard): string | null {
  const probe = { ...seen, protocol: 'tcp', address: null } as const;
  const { action, rule } = judgeProbe(base.matcher, probe, guard);
  if (action === 'allow') return null;
  if (rule !== null) return `rule ${rule} denies it, and deny wins`;
  if (action === 'open') return 'HTTP rules cover it, and its requests were not seen';
  const place = resourceFor(seen.host, seen.port);
  if (typeof place === 'string') return place;
  return broadness(place, {})?.endsWith(METADATA) ? METADATA : 'wanted';
}

/**
 * A rule for the host as a whole would open what HTTP rules were written to narrow: where there are
 * such, only requests are proposed. A rule for all sandboxes has those of each of them in its way.
 */
function wayOf({ scope, host, port }: Seen, narrowing: readonly Rule[]): 'plain' | 'byRequest' {
  const isNarrowed = narrowing.some((rule) => {
    const asking = scope === GLOBAL_SCOPE ? rule.scope : scope;
    return touches(rule, { scope: asking, protocol: 'tcp', host, port }) !== null;
  });
  return isNarrowed ? 'byRequest' : 'plain';
}

/** The same for a pattern: whether it covers a host that they cover. @param scope  as of a rule */
function opensNarrowed(resource: Resource, scope: number, narrowing: readonly Rule[]): boolean {
  return narrowing.some((rule) => {
    const apart = ![rule.scope, scope].includes(GLOBAL_SCOPE) && rule.scope !== scope;
    return !apart && rule.resources.some((one) => overlaps(one, resource));
  });
}

function overlaps(one: Resource, other: Resource): boolean {
  const isSamePort = one.port === 0 || other.port === 0 || one.port === other.port;
  if (one.kind === 'cidr' || other.kind === 'cidr' || !isSamePort) return false;
  return one.kind === 'any' || other.kind === 'any' || commonHost(one, other) !== null;
}

/** @returns why there is none, for what no allow rule may name */
function resourceFor(host: string, port: number): Resource | string {
  try {
    const [resource] = parseResources(formatHostPort(host, port));
    if (resource === undefined) return 'no rule can name it';
    checkForDecision('allow', [resource]);
    return resource;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

type Draft<S extends Seen> = {
  readonly rule: Omit<Rule, 'id'>;
  readonly parts: readonly Part<S>[];
};

/** One rule for each site and scope. */
function rulesForHosts<S extends Seen>(
  list: readonly S[],
  narrowing: readonly Rule[],
  options: SuggestOptions,
  refused: Refused<S>[],
): Draft<S>[] {
  const parts = [...Map.groupBy(list, ({ scope, port }) => `${scope} ${port}`).values()]
    .flatMap((group) => partsOf(group, narrowing, options))
    .flatMap((part) => checked(part, options.guard, refused));
  const groups = Map.groupBy(parts, ({ site, seen: [first] }) => `${first?.scope} ${site}`);
  return [...groups.values()].flatMap((group): Draft<S>[] => {
    const scope = group[0]?.seen[0]?.scope;
    return scope === undefined ? [] : [{ rule: ruleOf(scope, group), parts: group }];
  });
}

type SitePart<S extends Seen> = Part<S> & { readonly site: string };

/** @param list  of one scope and one port */
function partsOf<S extends Seen>(
  list: readonly S[],
  narrowing: readonly Rule[],
  { collapseMin }: SuggestOptions,
): SitePart<S>[] {
  const { scope = GLOBAL_SCOPE, port = 0 } = list[0] ?? {};
  const byHost = Map.groupBy(list, ({ host }): string => host);
  const names = [...byHost.keys()].filter((host) => !isAddress(host));
  const may = (pattern: string): boolean => {
    const resource = resourceFor(pattern, port);
    if (typeof resource === 'string' || broadness(resource, {}) !== null) return false;
    return !opensNarrowed(resource, scope, narrowing);
  };
  const patterns = new Map([
    ...collapseHosts(names, collapseMin, may),
    ...[...byHost.keys()].filter(isAddress).map((host) => [host, [host]] as const),
  ]);
  return [...patterns].flatMap(([pattern, hosts]): SitePart<S>[] => {
    const resource = resourceFor(pattern, port);
    if (typeof resource === 'string') return []; // Only what may stand was proposed.
    const seen = hosts.flatMap((host) => byHost.get(host) ?? []);
    return [{ resource, seen, warning: broadness(resource, {}), site: siteOf(pattern) }];
  });
}

/** A rule that would not do is none. */
function checked<S extends Seen>(
  part: SitePart<S>,
  guard: AddressGuard,
  refused: Refused<S>[],
): SitePart<S>[] {
  const seen = part.seen.filter((one) => {
    const matcher = referenceMatcher([{ ...ruleOf(one.scope, [part]), id: 's' }]);
    const probe = { ...one, protocol: 'tcp', address: null } as const;
    const isAllowed = judgeProbe(matcher, probe, guard).action === 'allow';
    if (!isAllowed) refused.push({ seen: one, why: 'no rule of its own would allow it' });
    return isAllowed;
  });
  return seen.length === 0 ? [] : [{ ...part, seen }];
}

function ruleOf(scope: number, parts: readonly Pick<Part<Seen>, 'resource'>[]): Omit<Rule, 'id'> {
  const resources = parts.map(({ resource }) => resource);
  return { source: 'local', decision: 'allow', scope, protocols: ['tcp'], resources };
}

/** One rule for each host and set of paths. */
function rulesForRequests<S extends Seen>(
  list: readonly S[],
  { collapseMin }: SuggestOptions,
  refused: Refused<S>[],
): Draft<S>[] {
  const sayable = list.filter((seen) => {
    const why = whyUnsayable(seen);
    if (why !== null) refused.push({ seen, why });
    return why === null;
  });
  const places = Map.groupBy(sayable, ({ scope, host, port }) => `${scope} ${host} ${port}`);
  const min = Math.min(
    collapseMin === 0 ? Number.POSITIVE_INFINITY : collapseMin,
    HTTP_PATHS_MAX + 1,
  );
  return [...places.values()].flatMap((group) => {
    const byMethod = Map.groupBy(group, ({ request }) => request?.method ?? '');
    const paths = [...byMethod].map(([method, seen]) => {
      const own = new Set(seen.map(({ request }) => ownPattern(request?.target ?? '') ?? ''));
      return { method, seen, paths: collapsePaths([...own].sort(), min) };
    });
    return [...Map.groupBy(paths, (one) => one.paths.join(' ')).values()].flatMap(ruleForRequests);
  });
}

function whyUnsayable({ request }: Seen): string | null {
  if (request === null) return 'HTTP rules cover it, and its requests were not seen';
  if (!METHODS.some((method) => method === request.method))
    return 'its method is in no rule but ANY';
  return ownPattern(request.target) === null ? 'no rule is for its path alone' : null;
}

/** Methods with the same paths. */
function ruleForRequests<S extends Seen>(
  group: readonly { method: string; seen: readonly S[]; paths: readonly string[] }[],
): Draft<S>[] {
  const seen = group.flatMap((one) => one.seen);
  const [first] = seen;
  const resource = first && resourceFor(first.host, first.port);
  if (first === undefined || resource === undefined || typeof resource === 'string') return [];
  const http = parseHttpMatch(
    group.map(({ method }) => method),
    group[0]?.paths ?? [],
  );
  const rule = { ...ruleOf(first.scope, [{ resource }]), http };
  return [{ rule, parts: [{ resource, seen, warning: broadness(resource, rule) }] }];
}
