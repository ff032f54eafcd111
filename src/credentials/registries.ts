// Container registries: under which host each is reached, which URL may have its login for a token,
// and which requests to it are those of the distribution API. No other request is given anything.
import { formatAddress } from '../policy/address.ts';
import { formatHostPort, parseResources } from '../policy/resource.ts';
import type { RegistryBinding } from './binding.ts';
import { basicOf, removeFields } from './request-parts.ts';

type Known = { readonly host: string; readonly realm: string };

/** Those whose token endpoint is known: no answer of theirs can send the login elsewhere. */
const KNOWN: Readonly<Record<string, Known>> = {
  'docker.io': { host: 'registry-1.docker.io', realm: 'https://auth.docker.io/token' },
  'ghcr.io': { host: 'ghcr.io', realm: 'https://ghcr.io/token' },
  'quay.io': { host: 'quay.io', realm: 'https://quay.io/v2/auth' },
  'registry.gitlab.com': { host: 'registry.gitlab.com', realm: 'https://gitlab.com/jwt/auth' },
};

const ALIASES: Readonly<Record<string, string>> = {
  'index.docker.io': 'docker.io',
  'registry-1.docker.io': 'docker.io',
};

const HTTPS_SUFFIX = /(?<!:.*):443$/; // Not the last group of an address.
const SENTINEL = 'proxy-managed';

/** One name for each registry. @param host  in normal form, such as `index.docker.io:443`. */
export function registryName(host: string): string {
  const name = host.replace(HTTPS_SUFFIX, '');
  return Object.hasOwn(ALIASES, name) ? (ALIASES[name] ?? name) : name;
}

export type RegistrySecret = Pick<
  RegistryBinding,
  'id' | 'scope' | 'value' | 'onDemand' | 'username'
> & {
  /** The one URL for tokens that its owner named; null: as is known, or the registry's own origin. */
  readonly authEndpoint: string | null;
};

/** @param name  what registryName gave. */
export function registryBinding(
  name: string,
  { authEndpoint, ...given }: RegistrySecret,
): RegistryBinding {
  const known = Object.hasOwn(KNOWN, name) ? KNOWN[name] : undefined;
  const realm = authEndpoint ?? known?.realm;
  return {
    ...given,
    kind: 'registry',
    registry: name,
    hosts: [withPort(known?.host ?? name)],
    plaintext: false,
    scrub: 'off',
    realms: realm === undefined ? null : [realm],
  };
}

/** A name without a port means that of https alone, not every port. */
function withPort(name: string): string {
  const [resource] = parseResources(name);
  if (resource === undefined || resource.port !== 0) return name;
  return formatHostPort(resource.kind === 'cidr' ? formatAddress(resource.bytes) : name, 443);
}

/** Whether the client leaves it to us to log in: it sent no login, or the sentinel in its place. */
export function leavesLogin(fields: readonly string[]): boolean {
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (fields[i]?.toLowerCase() !== 'authorization') continue;
    const value = fields[i + 1] ?? '';
    if (!(basicOf(value) ?? value).includes(SENTINEL)) return false;
  }
  return true;
}

const STOPPED: ReadonlySet<string> = new Set(['authorization', 'cookie']);

/** The fields with this login, and with no other beside it. */
export function withLogin(fields: readonly string[], authorization: string): string[] {
  return [...removeFields(fields, STOPPED), 'authorization', authorization];
}

const COMPONENT = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const NAME = `${COMPONENT}(?:/${COMPONENT})*`;
const DIGEST = '[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+';
/** End-points of the OCI distribution specification 1.1, section "API". */
const REPOSITORY = new RegExp(
  `^/v2/(${NAME})/(?:manifests/(?:\\w[\\w.-]{0,127}|${DIGEST})|blobs/${DIGEST}` +
    `|blobs/uploads?/(?:[\\w=~-][\\w.=~-]*)?|tags/list|referrers/${DIGEST})$`,
);
const WHOLE_NAME = new RegExp(`^${NAME}$`);
const NAME_BYTES_MAX = 255; // Of host and name together, by the same specification.

const ACTIONS: Readonly<Record<string, string>> = {
  GET: 'pull',
  HEAD: 'pull',
  POST: 'pull,push',
  PUT: 'pull,push',
  PATCH: 'pull,push',
  DELETE: 'delete',
};

/**
 * What a request needs leave for, in the words of token scopes (distribution, "Token Scope
 * Documentation"): `repository:library/alpine:pull`.
 *
 * @returns none for the API's root; null for what is not of the API, which a login must not reach:
 *   a token endpoint on the same host would answer the sandbox with a token.
 */
export function scopesOf(method: string, path: string): readonly string[] | null {
  const at = path.indexOf('?');
  const bare = at < 0 ? path : path.slice(0, at);
  const actions = Object.hasOwn(ACTIONS, method) ? ACTIONS[method] : undefined;
  if (actions === undefined) return null;
  if (bare === '/v2/') return [];
  if (bare === '/v2/_catalog') return ['registry:catalog:*'];
  const name = REPOSITORY.exec(bare)?.[1];
  if (name === undefined || name.length > NAME_BYTES_MAX) return null;
  const scopes = [`repository:${name}:${actions}`];
  const from = method === 'POST' && at >= 0 ? mountedFrom(path.slice(at + 1)) : null;
  return from === null ? scopes : [...scopes, `repository:${from}:pull`];
}

/** The repository that a blob is mounted from, when one is named as it should be. */
function mountedFrom(query: string): string | null {
  const from = new URLSearchParams(query).get('from');
  return from !== null && from.length <= NAME_BYTES_MAX && WHOLE_NAME.test(from) ? from : null;
}
