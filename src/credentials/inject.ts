// Puts credentials into requests, and keeps them out of all others. It works on the fields and the
// path that are about to go upstream; who may go there has been decided before.
import { SallyportError } from '../base/errors.ts';
import { BOUND_HOSTS_KEPT_MAX, SUBSTITUTED_SECRETS_BYTES_MAX } from '../base/limits.ts';
import { resourceMatches } from '../policy/reference.ts';
import { parseResources, type Resource } from '../policy/resource.ts';
import { GLOBAL_SCOPE } from '../policy/rule.ts';
import type {
  Binding,
  CustomBinding,
  Placement,
  RegistryBinding,
  ServiceBinding,
} from './binding.ts';
import { type Held, heldBy } from './held.ts';
import { Needles, type Scrubbing } from './mask.ts';
import { misused, placeholderPattern } from './placeholder.ts';
import {
  basicOf,
  eachValue,
  removeFields,
  removeParameters,
  replaceInContent,
  replaceInQuery,
} from './request-parts.ts';
import { holdsSentinel, sentinelPatterns, TokenEndpoints } from './token-endpoints.ts';

export type CredentialRequest = {
  readonly scope: number;
  /** Normal form. */
  readonly host: string;
  readonly port: number;
  /** Whether it goes over verified TLS. */
  readonly secure: boolean;
  /** Flat name, value. */
  readonly fields: string[];
  /** Path and query. */
  readonly path: string;
  /** Services whose credential stays out of it: this is where it comes from. */
  readonly except?: readonly string[] | undefined;
};

export type Credentialed = {
  readonly fields: string[];
  readonly path: string;
  /** Ids of what was injected. */
  readonly injected: readonly string[];
};

/** What `policy check --verbose` tells; never a value. */
export type Explained = {
  readonly id: string;
  readonly name: string;
  readonly kind: Binding['kind'];
  readonly policy: string;
};

type Known = { readonly binding: Binding; readonly resources: readonly Resource[] };

const NONE: readonly never[] = [];

/** All credentials of a worker, replaced as a whole. Its fields are private, so that no dump of it shows a value. */
export class Credentials {
  readonly #known: readonly Known[];
  readonly #placeholders: RegExp | null;
  readonly #bound = new Map<string, readonly Binding[]>();
  readonly #scrubbing = new WeakMap<readonly Binding[], { of: Scrubbing | null }>();
  readonly #needles = new Map<string, Needles>();
  readonly #tokenEndpoints: TokenEndpoints;

  /** @throws SALLYPORT_SECRET_INVALID for a value that would break out of its field (RFC 9110 section 5.5) */
  constructor(bindings: readonly Binding[]) {
    for (const { id, value } of bindings) {
      if (!/^[\x20-\x7e]*$/.test(value)) {
        throw new SallyportError(
          'SALLYPORT_SECRET_INVALID',
          `secret ${id} cannot stand in a field`,
        );
      }
    }
    this.#known = bindings.map((binding) => ({
      binding,
      resources: parseResources(binding.hosts.join(',')),
    }));
    this.#tokenEndpoints = new TokenEndpoints(bindings.filter((one) => one.kind === 'service'));
    // The longest first: a placeholder may begin with another one.
    const patterns = [...new Set(bindings.flatMap(patternsOf))];
    patterns.sort((a, b) => b.length - a.length);
    this.#placeholders = patterns.length === 0 ? null : new RegExp(patterns.join('|'), 'g');
  }

  get tokenEndpoints(): TokenEndpoints {
    return this.#tokenEndpoints;
  }

  /** What is bound to a destination: of one service or variable, the sandbox's own before the global one. */
  boundTo(scope: number, host: string, port: number): readonly Binding[] {
    if (this.#known.length === 0) return NONE;
    const key = `${scope} ${port} ${host}`;
    const kept = this.#bound.get(key);
    if (kept !== undefined) return kept;
    const found = this.#lookUp(scope, host, port);
    if (this.#bound.size >= BOUND_HOSTS_KEPT_MAX) this.#bound.clear();
    this.#bound.set(key, found);
    return found;
  }

  /** Ids of those among them whose value has to be asked for before it is used. */
  demandedBy(
    scope: number,
    host: string,
    port: number,
    except?: readonly string[],
  ): readonly string[] {
    const bound = this.boundTo(scope, host, port);
    if (bound.length === 0) return NONE;
    return bound.flatMap((one) => {
      const isWanted = one.onDemand && (one.kind !== 'service' || isInForce(one, except));
      return isWanted ? one.id : [];
    });
  }

  /** What of them must not come back from there; null: nothing is looked for. */
  scrubbing(scope: number, host: string, port: number): Scrubbing | null {
    const bound = this.boundTo(scope, host, port);
    if (bound.length === 0) return null;
    const kept = this.#scrubbing.get(bound) ?? { of: this.#scrubbingOf(bound) };
    this.#scrubbing.set(bound, kept);
    return kept.of;
  }

  explain(scope: number, host: string, port: number): Explained[] {
    return this.boundTo(scope, host, port).map((binding) => ({
      id: binding.id,
      name: nameOf(binding),
      kind: binding.kind,
      policy: policyOf(binding),
    }));
  }

  /** The login of the registry that a destination is; apply() leaves it to whoever asks for it here. */
  registryAt(scope: number, host: string, port: number): RegistryBinding | null {
    let found: RegistryBinding | null = null;
    for (const binding of this.boundTo(scope, host, port)) {
      if (binding.kind !== 'registry') continue;
      if (found === null || binding.scope === scope) found = binding;
    }
    return found;
  }

  /**
   * Sets what is bound to the destination, and removes what else the client sent to authenticate.
   *
   * @throws SALLYPORT_CREDENTIAL_MISUSED      a placeholder where its secret does not go.
   * @throws SALLYPORT_CREDENTIAL_TOO_LARGE    too many placeholders.
   * @throws SALLYPORT_CREDENTIAL_PLAINTEXT    a placeholder or sentinel over plain HTTP.
   * @throws SALLYPORT_CREDENTIAL_UNAVAILABLE  the secret cannot be had at present.
   */
  apply(request: CredentialRequest): Credentialed {
    const { scope, host, port, fields, path } = request;
    if (this.#known.length === 0) return { fields, path, injected: NONE };
    const bound = this.boundTo(scope, host, port);
    const placed = this.#placeholders === null ? null : this.#substitute(request, bound);
    let result: Credentialed = placed ?? { fields, path, injected: NONE };
    const services = bound.filter((one) => one.kind === 'service');
    for (const binding of services) {
      if (!isInForce(binding, request.except)) continue;
      const others = services.filter((one) => one !== binding);
      const beside = heldBy(scope, others).sentinels;
      result = injectService(binding, { ...request, ...result }, result, beside);
    }
    return result;
  }

  /** Whether a placeholder may stand in the content of requests to this destination. */
  searchesContent(scope: number, host: string, port: number): boolean {
    if (this.#placeholders === null) return false;
    return this.boundTo(scope, host, port).some(
      (one) => one.kind === 'custom' && one.in.includes('content'),
    );
  }

  /**
   * Puts secrets in place of their placeholders in text content.
   *
   * @param mediaType  in lower case, without parameters.
   * @returns null when none stands in it.
   * @throws what `apply` throws.
   */
  applyToContent(
    request: Pick<CredentialRequest, 'scope' | 'host' | 'port' | 'secure'>,
    content: Buffer,
    mediaType: string,
  ): { content: Buffer; injected: readonly string[] } | null {
    if (this.#placeholders === null) return null;
    const injected = new Set<string>();
    const bound = this.boundTo(request.scope, request.host, request.port);
    const secretFor = secretsOf(request, bound, injected)('content');
    const replaced = replaceInContent(content, mediaType, this.#placeholders, secretFor);
    return replaced === null ? null : { content: replaced, injected: [...injected] };
  }

  #lookUp(scope: number, host: string, port: number): readonly Binding[] {
    const found = new Map<string, Binding>();
    for (const { binding, resources } of this.#known) {
      if (!isFor(binding, scope)) continue;
      if (!resources.some((resource) => resourceMatches(resource, host, port))) continue;
      const key = `${binding.kind} ${nameOf(binding)}`;
      if (found.get(key)?.scope !== scope || scope === GLOBAL_SCOPE) found.set(key, binding);
    }
    return [...found.values()];
  }

  #scrubbingOf(bound: readonly Binding[]): Scrubbing | null {
    const scrubbed = bound.filter(({ scrub }) => scrub !== 'off');
    if (scrubbed.length === 0) return null;
    const values = [...new Set(scrubbed.map(({ value }) => value))];
    const all = values.flatMap((value) => this.#needlesOf(value).all);
    return { needles: { all }, strict: scrubbed.some(({ scrub }) => scrub === 'strict') };
  }

  /** For all destinations the same: they take many times what the secret does. */
  #needlesOf(value: string): Needles {
    const needles = this.#needles.get(value) ?? new Needles([value]);
    this.#needles.set(value, needles);
    return needles;
  }

  /** @returns null when no placeholder stands in the request. */
  #substitute(request: CredentialRequest, bound: readonly Binding[]): Credentialed | null {
    const pattern = this.#placeholders;
    if (pattern === null) return null;
    const injected = new Set<string>();
    const secretFor = secretsOf(request, bound, injected);
    const fields = eachValue(request.fields, (value) =>
      value.replace(pattern, secretFor('fields')),
    );
    const path = replaceInQuery(request.path, pattern, secretFor('query'));
    return fields === null && path === null
      ? null
      : { fields: fields ?? request.fields, path: path ?? request.path, injected: [...injected] };
  }
}

/** What to put in place of a placeholder that stands somewhere; `injected` collects the ids. */
function secretsOf(
  { scope, host, secure }: Pick<CredentialRequest, 'scope' | 'host' | 'secure'>,
  bound: readonly Binding[],
  injected: Set<string>,
) {
  let held: Held | null = null;
  let bytes = 0;
  const take = (binding: CustomBinding): string => {
    injected.add(binding.id);
    const secret = usable(binding, secure);
    bytes += secret.length;
    if (bytes > SUBSTITUTED_SECRETS_BYTES_MAX) throw tooLarge(host);
    return secret;
  };
  return (where: CustomBinding['in'][number]) =>
    (placeholder: string): string => {
      held ??= heldBy(scope, bound); // Once: a request can be full of placeholders.
      const binding = held.custom.get(placeholder);
      if (binding === undefined && !held.sentinels.has(placeholder)) throw misused(host);
      return binding?.in.includes(where) ? take(binding) : placeholder;
    };
}

function tooLarge(host: string): SallyportError {
  return new SallyportError(
    'SALLYPORT_CREDENTIAL_TOO_LARGE',
    `the secrets in a request to ${host} would have more than ${SUBSTITUTED_SECRETS_BYTES_MAX} bytes`,
  );
}

function isFor(binding: Pick<Binding, 'scope'>, scope: number): boolean {
  return binding.scope === GLOBAL_SCOPE || binding.scope === scope;
}

function isInForce(
  { service, tokenEndpoint }: ServiceBinding,
  except: readonly string[] = NONE,
): boolean {
  return !except.includes(service) && tokenEndpoint?.signedOut !== true;
}

function patternsOf(binding: Binding): readonly string[] {
  if (binding.kind === 'custom') return [placeholderPattern(binding)];
  return binding.kind === 'service' ? sentinelPatterns(binding) : NONE;
}

function nameOf(binding: Binding): string {
  if (binding.kind === 'registry') return binding.registry;
  return binding.kind === 'service' ? binding.service : binding.env;
}

function policyOf(binding: Binding): string {
  if (binding.kind === 'service') return binding.policy;
  if (binding.kind === 'custom') return 'placeholder';
  const where = binding.realms?.join(', ') ?? 'the registry itself';
  return `if-sentinel-or-absent, login at ${where}`;
}

function injectService(
  binding: ServiceBinding,
  request: CredentialRequest,
  before: Credentialed,
  beside: ReadonlySet<string>,
): Credentialed {
  const placement = placementFor(binding, request.host, request.port);
  const names = new Set([...binding.authFields, placement.field]);
  const sent = sentBy(binding, request, names, beside);
  if (!isWanted(binding, sent)) return before;
  if (!request.secure && !binding.plaintext && sent !== 'sentinel') return before;
  const secret = usable(binding, request.secure);
  // A cookie may log in as somebody else beside the credential, but is no sign that it is unwanted.
  names.add('cookie');
  const fields = removeFields(request.fields, names);
  fields.push(placement.field, valueAt(placement, secret));
  return {
    fields,
    path: removeParameters(request.path, binding.authQuery),
    injected: [...before.injected, binding.id],
  };
}

/** Of placements, one that names the host comes before one for all. */
function placementFor({ placements, id }: ServiceBinding, host: string, port: number): Placement {
  const named = placements.find(({ hosts }) =>
    hosts === undefined
      ? false
      : parseResources(hosts.join(',')).some((resource) => resourceMatches(resource, host, port)),
  );
  const placement = named ?? placements.find(({ hosts }) => hosts === undefined);
  if (placement !== undefined) return placement;
  throw new SallyportError(
    'SALLYPORT_CREDENTIAL_UNAVAILABLE',
    `secret ${id} has no place at ${host}`,
  );
}

type Sent = 'nothing' | 'sentinel' | 'own';

/**
 * What the client sent to authenticate to the service; sentinels that are not its own were refused.
 *
 * @param beside  sentinels of other grants that are bound there: they may hold one that all grants have.
 */
function sentBy(
  binding: ServiceBinding,
  { fields, path }: CredentialRequest,
  names: ReadonlySet<string>,
  beside: ReadonlySet<string>,
): Sent {
  const { sentinels, authQuery } = binding;
  let sent: Sent = 'nothing';
  const isSentinel = (text: string): boolean =>
    ![...beside].some((one) => text.includes(one)) &&
    (sentinels.some((one) => text.includes(one)) || holdsSentinel(binding, text));
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (!names.has((fields[i] ?? '').toLowerCase())) continue;
    const value = fields[i + 1] ?? '';
    if (isSentinel(basicOf(value) ?? value)) return 'sentinel';
    sent = 'own';
  }
  if (removeParameters(path, authQuery) === path) return sent;
  return isSentinel(path) ? 'sentinel' : 'own';
}

function isWanted({ policy }: ServiceBinding, sent: Sent): boolean {
  if (policy === 'always') return true;
  return sent === 'sentinel' || (policy === 'if-sentinel-or-absent' && sent === 'nothing');
}

function valueAt({ format, basicUsername }: Placement, secret: string): string {
  const shown =
    basicUsername === undefined
      ? secret
      : Buffer.from(`${basicUsername}:${secret}`).toString('base64');
  return format.replace('%s', () => shown); // A function: `$&` in a secret means itself.
}

/** @returns the value, when it may go and is there. */
function usable(binding: Binding, secure: boolean): string {
  const what = `${binding.kind} secret ${nameOf(binding)}`;
  if (!secure && !binding.plaintext) {
    throw new SallyportError(
      'SALLYPORT_CREDENTIAL_PLAINTEXT',
      `the request would carry the ${what} over plain HTTP`,
    );
  }
  if (binding.value !== '') return binding.value;
  throw new SallyportError(
    'SALLYPORT_CREDENTIAL_UNAVAILABLE',
    `the ${what} cannot be had at present`,
  );
}
