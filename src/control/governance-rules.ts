// Rules of the Governance API as rules of ours. Both sides of the API read a rule here: our server
// takes none that a daemon could not enforce.
import { SallyportError } from '../base/errors.ts';
import { HTTP_PATHS_MAX } from '../base/limits.ts';
import { parseHttpMatch } from '../policy/http.ts';
import { checkForDecision, parseResources, type Resource } from '../policy/resource.ts';
import type { Protocol } from '../policy/rule.ts';
import type { AllowlistPolicy, RuleDraft } from './governance-api.ts';
import type { GivenRule } from './policy.ts';

export type Domain = AllowlistPolicy['allowlist_v0']['domain'];

/** What is enforced of a rule; several parts when its requests have different hosts. */
type Part = Pick<GivenRule, 'resources' | 'protocols' | 'http'>;

const LAYERS = [
  { prefix: 'connect:', domain: 'network' },
  { prefix: 'request:', domain: 'network' },
  { prefix: '', domain: 'filesystem' },
] as const;

/**
 * The network rules of a policy. Filesystem rules have none: nothing is mounted here.
 *
 * @throws SALLYPORT_POLICY_INVALID naming policy and rule.
 */
export function givenRules(policy: AllowlistPolicy): GivenRule[] {
  const { id, name, allowlist_v0: list } = policy;
  return list.rules.flatMap((rule) => {
    const parts = named(`policy "${name}" (${id}), rule "${rule.name}" (${rule.id})`, () =>
      partsOf(rule, list.domain),
    );
    return parts.map(
      (part, index): GivenRule => ({
        id: index === 0 ? rule.id : `${rule.id}.${index + 1}`,
        name: rule.name,
        decision: rule.decision,
        policy: { id, name },
        ...part,
      }),
    );
  });
}

/**
 * Reads one rule.
 *
 * @param domain  of its policy; null: it has no rules so far.
 * @returns the domain that its policy has with it.
 * @throws SALLYPORT_POLICY_INVALID
 */
export function checkRule(rule: RuleDraft, domain: Domain | null): Domain {
  const layer = layerOf(rule.actions);
  partsOf(rule, domain ?? layer.domain);
  return layer.domain;
}

function partsOf(rule: RuleDraft, domain: Domain): Part[] {
  const { actions, resources, http_resources: http, decision } = rule;
  const layer = layerOf(actions);
  if (layer.domain !== domain) throw invalid(`it is for ${layer.domain} in a policy for ${domain}`);
  const verbs = actions.map((action) => action.slice(layer.prefix.length));
  if (layer.prefix === 'request:') {
    if (resources) throw invalid('requests are to http_resources, not to resources');
    if (!http) throw invalid('it has no http_resources');
    return requestParts(verbs, http, decision);
  }
  if (http) throw invalid('http_resources are for requests alone');
  if (!resources) throw invalid('it has no resources');
  return domain === 'filesystem'
    ? mountParts(verbs, resources)
    : [connectPart(verbs, resources, decision)];
}

/** All actions are of one layer. */
function layerOf(actions: readonly string[]): (typeof LAYERS)[number] {
  const layers = actions.map(
    (action) => LAYERS.find(({ prefix }) => action.startsWith(prefix)) ?? LAYERS[2],
  );
  const [first = LAYERS[2]] = layers;
  if (layers.some((layer) => layer !== first)) throw invalid('its actions are of several layers');
  return first;
}

function connectPart(
  verbs: readonly string[],
  texts: readonly string[],
  decision: RuleDraft['decision'],
): Part {
  const protocols = [...new Set(verbs)].sort().map((verb): Protocol => {
    if (verb === 'tcp' || verb === 'udp') return verb;
    throw invalid(`"connect:${verb}" is no action; there are connect:tcp and connect:udp`);
  });
  const resources = parseResources(texts.join(','));
  checkForDecision(decision, resources);
  return { resources, protocols };
}

/** Rules of ours have hosts and paths, each host with each path: paths with the same hosts are one. */
function requestParts(
  verbs: readonly string[],
  pairs: NonNullable<RuleDraft['http_resources']>,
  decision: RuleDraft['decision'],
): Part[] {
  if (verbs.some((verb) => /^any$/i.test(verb))) throw invalid('"request:any" is no action');
  const hostsByPath = new Map<string, Set<string>>();
  for (const { host, port, path } of pairs) {
    const hosts = hostsByPath.get(path) ?? new Set();
    hostsByPath.set(path, hosts.add(port === undefined ? host : withPort(host, port)));
  }
  const byHosts = new Map<string, string[]>();
  for (const [path, hosts] of hostsByPath) {
    const key = [...hosts].sort().join(',');
    byHosts.set(key, [...(byHosts.get(key) ?? []), path]);
  }
  return [...byHosts].flatMap(([hosts, paths]) => {
    const resources = hostResources(hosts);
    checkForDecision(decision, resources);
    return chunksOf(paths, HTTP_PATHS_MAX).map(
      (some): Part => ({ resources, protocols: ['tcp'], http: parseHttpMatch(verbs, some) }),
    );
  });
}

/** An address is one, never a range: requests are to somebody. */
function hostResources(hosts: string): Resource[] {
  const resources = parseResources(hosts);
  for (const resource of resources) {
    if (resource.kind !== 'cidr' || resource.prefixLength === resource.bytes.length * 8) continue;
    throw invalid(`${resource.text}: requests are to a host or an address, not to a range`);
  }
  return resources;
}

function withPort(host: string, port: number): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Checked so far as to be told from a mistake; a runtime that mounts judges them. */
function mountParts(verbs: readonly string[], paths: readonly string[]): Part[] {
  const verb = verbs.find((one) => one !== 'read' && one !== 'write');
  if (verb !== undefined) {
    throw invalid(`"${verb}" is no action; there are connect:, request:, read and write`);
  }
  for (const path of paths) {
    if (path === '' || /\p{Cc}/u.test(path)) throw invalid('a path is empty or cannot be shown');
  }
  return [];
}

function chunksOf<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, i) =>
    all.slice(i * size, (i + 1) * size),
  );
}

function named<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error;
    throw new SallyportError(error.code, `${what}: ${error.message}`);
  }
}

function invalid(why: string): SallyportError {
  return new SallyportError('SALLYPORT_POLICY_INVALID', why);
}
