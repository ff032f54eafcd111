// Rules of the Governance API as rules of ours. Both sides of the API read a rule here: our server
// takes none that a daemon could not enforce.
import { SallyportError } from '../../base/errors.ts';
import { FILE_RULE_PATTERNS_MAX, HTTP_PATHS_MAX } from '../../base/limits.ts';
import { parsePathPatterns } from '../../policy/file-pattern.ts';
import { parseHttpMatch } from '../../policy/http.ts';
import type { Access } from '../../policy/mount.ts';
import { checkForDecision, parseResources, type Resource } from '../../policy/resource.ts';
import type { Protocol } from '../../policy/rule.ts';
import type { GivenPathRule } from '../policy/path-rules.ts';
import type { GivenRule } from '../policy/policy.ts';
import type { AllowlistPolicy, RuleDraft } from './api.ts';

export type Domain = AllowlistPolicy['allowlist_v0']['domain'];

/** What is enforced of a rule; several parts when its requests have different hosts. */
type Part = Pick<GivenRule, 'resources' | 'protocols' | 'http'>;
type PathPart = Pick<GivenPathRule, 'access' | 'patterns'>;
type Parts = { readonly network: readonly Part[]; readonly paths: readonly PathPart[] };

/** What a policy brings into force. */
export type GivenRules = {
  readonly rules: readonly GivenRule[];
  readonly pathRules: readonly GivenPathRule[];
};

const LAYERS = [
  { prefix: 'connect:', domain: 'network' },
  { prefix: 'request:', domain: 'network' },
  { prefix: '', domain: 'filesystem' },
] as const;

/**
 * The rules of a policy, for the network or for paths.
 *
 * @throws SALLYPORT_POLICY_INVALID naming policy and rule.
 */
export function givenRules(policy: AllowlistPolicy): GivenRules {
  const { id, name, allowlist_v0: list } = policy;
  const rules: GivenRule[] = [];
  const pathRules: GivenPathRule[] = [];
  for (const rule of list.rules) {
    const parts = named(`policy "${name}" (${id}), rule "${rule.name}" (${rule.id})`, () =>
      partsOf(rule, list.domain),
    );
    const { decision } = rule;
    const common = { name: rule.name, decision, policy: { id, name } };
    const idOf = (index: number): string => (index === 0 ? rule.id : `${rule.id}.${index + 1}`);
    rules.push(...parts.network.map((part, i) => ({ id: idOf(i), ...common, ...part })));
    pathRules.push(...parts.paths.map((part, i) => ({ id: idOf(i), ...common, ...part })));
  }
  return { rules, pathRules };
}

/** What a rule is for, by its actions. @throws SALLYPORT_POLICY_INVALID for actions of several layers */
export function domainOf({ actions }: Pick<RuleDraft, 'actions'>): Domain {
  return layerOf(actions).domain;
}

/**
 * Reads one rule.
 *
 * @param domain  of its policy.
 * @throws SALLYPORT_POLICY_INVALID for what cannot be enforced.
 */
export function checkRule(rule: RuleDraft, domain: Domain): void {
  partsOf(rule, domain);
}

function partsOf(rule: RuleDraft, domain: Domain): Parts {
  const { actions, resources, http_resources: http, decision } = rule;
  const layer = layerOf(actions);
  if (layer.domain !== domain) throw invalid(`it is for ${layer.domain} in a policy for ${domain}`);
  const verbs = actions.map((action) => action.slice(layer.prefix.length));
  if (layer.prefix === 'request:') {
    if (resources) throw invalid('requests are to http_resources, not to resources');
    if (!http) throw invalid('it has no http_resources');
    return { network: requestParts(verbs, http, decision), paths: [] };
  }
  if (http) throw invalid('http_resources are for requests alone');
  if (!resources) throw invalid('it has no resources');
  return domain === 'filesystem'
    ? { network: [], paths: mountParts(verbs, resources) }
    : { network: [connectPart(verbs, resources, decision)], paths: [] };
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

/** A pattern is for paths of one system, and matches nothing on others. */
function mountParts(verbs: readonly string[], paths: readonly string[]): PathPart[] {
  const accesses = [...new Set(verbs)].sort().map((verb): Access => {
    if (verb === 'read' || verb === 'write') return verb;
    throw invalid(`"${verb}" is no action; there are connect:, request:, read and write`);
  });
  const patterns = chunksOf(paths, FILE_RULE_PATTERNS_MAX).map((some) => parsePathPatterns(some));
  return accesses.flatMap((access) => patterns.map((some) => ({ access, patterns: some })));
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
