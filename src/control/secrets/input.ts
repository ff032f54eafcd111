// What a secret must be before it is stored. Every fault of it is named at once, and none quotes the
// value.
import { SallyportError } from '../../base/errors.ts';
import {
  OAUTH_SCOPE_BYTES_MAX,
  SCRUB_VALUE_BYTES_MIN,
  SECRET_COMMAND_BYTES_MAX,
  SECRET_HOSTS_MAX,
  SECRET_NAME_BYTES_MAX,
  SECRET_PLACEHOLDER_BYTES_MAX,
  SECRET_PLACEHOLDER_BYTES_MIN,
  SECRET_REFRESH_MS,
  SECRET_REFRESH_MS_MAX,
  SECRET_REFRESH_MS_MIN,
} from '../../base/limits.ts';
import type { InjectionPolicy, Scrub } from '../../credentials/binding.ts';
import type { OAuthClient, OAuthSecrets } from '../../credentials/oauth.ts';
import { registryName } from '../../credentials/registries.ts';
import { SERVICES } from '../../credentials/services.ts';
import { ON_DEMAND_MS } from '../../credentials/sources.ts';
import { faultOfValue } from '../../credentials/value.ts';
import { parseResources, type Resource } from '../../policy/resource.ts';
import type { Place, StoredSecret } from './store.ts';

/** What all kinds have in common. */
export type Placing = {
  /** Absent: all sandboxes; for a registry, none. */
  readonly sandbox?: string | undefined;
  /** Takes the place of one that is there. */
  readonly replace?: boolean | undefined;
  /** False: the command or the token endpoint is first asked when the value is needed. */
  readonly verify?: boolean | undefined;
};

type Given = Placing & {
  /** Either the value itself, or a command that writes it. */
  readonly value?: string | undefined;
  readonly command?: string | undefined;
  /** With a command; ON_DEMAND_MS for on demand. */
  readonly refreshMs?: number | undefined;
};

/** What services and custom secrets have in common. */
type Bound = {
  /** Over plain HTTP, too. */
  readonly plaintext?: boolean | undefined;
  readonly scrub?: Scrub | undefined;
};

export type NewService = Given &
  Bound & {
    readonly service: string;
    readonly policy?: InjectionPolicy | undefined;
  };

export type NewRegistry = Given & {
  /** HOST or HOST:PORT. */
  readonly registry: string;
  readonly username?: string | undefined;
  /** The one URL besides the registry that may have the credential, for its bearer tokens. */
  readonly authEndpoint?: string | undefined;
  readonly allSandboxes?: boolean | undefined;
};

export type NewCustom = Given &
  Bound & {
    /** Comma lists. */
    readonly hosts: readonly string[];
    readonly env: string;
    readonly placeholder?: string | undefined;
    readonly in?: readonly Place[] | undefined;
  };

export type NewOAuth = Placing & {
  /** A service, or a name of its own. */
  readonly name: string;
  readonly tokenUrl: string;
  /** Absent when sandboxes sign in, each for itself. */
  readonly clientId?: string | undefined;
  readonly signInInside?: boolean | undefined;
  readonly clientAuth?: OAuthClient['clientAuth'] | undefined;
  /** Absent: a public client. */
  readonly clientSecret?: string | undefined;
  /** Absent: the client asks in its own name. */
  readonly refreshToken?: string | undefined;
  readonly scope?: string | undefined;
  /** Comma lists; absent: the hosts of the service. */
  readonly hosts?: readonly string[] | undefined;
  readonly policy?: InjectionPolicy | undefined;
};

/** A secret as it will be stored, but for what is only known then. */
export type Draft = Omit<
  StoredSecret,
  'id' | 'scope' | 'placeholderKey' | 'sealed' | 'createdAtMs'
> & {
  /** What is to be sealed. */
  readonly value: string | null;
  /** Absent: that of the secret whose place it takes, or a new one. */
  readonly placeholderKey?: string | null;
};

export const DEFAULT_POLICY: InjectionPolicy = 'if-sentinel-or-absent';
export const DEFAULT_PLACEHOLDER = 'sbx-cs-{rand}';
/** Content only if asked for: a service may show to others what is posted to it. */
export const DEFAULT_PLACES: readonly Place[] = ['fields', 'query'];

const NOTHING = {
  hosts: [],
  placeholder: null,
  in: [],
  policy: null,
  plaintext: false,
  scrub: 'off',
  username: null,
  authEndpoint: null,
  oauth: null,
} as const;

/** @throws SALLYPORT_SECRET_INVALID naming every fault */
export function serviceDraft(wanted: NewService): Draft {
  const { service, policy = DEFAULT_POLICY } = wanted;
  const faults: string[] = [];
  if (!Object.hasOwn(SERVICES, service)) {
    const names = Object.keys(SERVICES).join(', ');
    faults.push(
      `there is no service "${service}", only ${names}; for another use secret set-custom`,
    );
  }
  const source = sourceOf(wanted, SECRET_REFRESH_MS, faults);
  const bound = boundOf(wanted, faults);
  refuse(faults);
  return { ...NOTHING, ...source, ...bound, kind: 'service', name: service, policy };
}

/**
 * What several services are stored as, each once.
 *
 * @throws SALLYPORT_SECRET_INVALID naming every fault of every one
 */
export function draftsOf(wanted: readonly NewService[]): Draft[] {
  const drafts: Draft[] = [];
  const faults: string[] = [];
  for (const one of wanted) {
    try {
      drafts.push(serviceDraft(one));
    } catch (error) {
      if (!(error instanceof SallyportError)) throw error;
      faults.push(`${one.service}: ${error.message}`);
    }
  }
  if (faults.length > 0) throw new SallyportError('SALLYPORT_SECRET_INVALID', faults.join('; '));
  return [...new Map(drafts.map((draft) => [draft.name, draft])).values()];
}

/** @throws SALLYPORT_SECRET_INVALID naming every fault */
export function registryDraft(wanted: NewRegistry): Draft {
  const { registry, username = '', authEndpoint = null, allSandboxes, sandbox } = wanted;
  const faults: string[] = [];
  const name = registryHost(registry, faults);
  if (!/^[\x21-\x39\x3b-\x7e]+$/.test(username) || username.length > SECRET_NAME_BYTES_MAX) {
    faults.push('a registry has a username, of visible letters without a colon'); // RFC 7617 section 2.
  }
  if (authEndpoint !== null && !isEndpoint(authEndpoint)) {
    faults.push('the auth endpoint is no exact https URL: no user, no query, no fragment');
  }
  if (allSandboxes && sandbox !== undefined) {
    faults.push('all sandboxes and one sandbox exclude each other');
  }
  const source = sourceOf(wanted, SECRET_REFRESH_MS, faults);
  refuse(faults);
  return { ...NOTHING, ...source, kind: 'registry', name, username, authEndpoint };
}

/** @throws SALLYPORT_SECRET_INVALID naming every fault */
export function customDraft(wanted: NewCustom): Draft {
  const { env, placeholder = DEFAULT_PLACEHOLDER } = wanted;
  const faults: string[] = [];
  const hosts = customHosts(wanted.hosts, faults);
  if (!/^[A-Za-z_]\w*$/.test(env) || env.length > SECRET_NAME_BYTES_MAX) {
    faults.push(`"${env}" is no name of an environment variable`);
  }
  const fault = faultOfPlaceholder(placeholder, wanted.value);
  if (fault !== null) faults.push(fault);
  const places = [...new Set(wanted.in ?? DEFAULT_PLACES)];
  const source = sourceOf(wanted, ON_DEMAND_MS, faults);
  const bound = boundOf(wanted, faults);
  refuse(faults);
  return {
    ...NOTHING,
    ...source,
    ...bound,
    kind: 'custom',
    name: env,
    hosts,
    placeholder,
    in: places,
  };
}

function boundOf(
  { plaintext = false, scrub = 'off', value }: Bound & Given,
  faults: string[],
): Pick<Draft, 'plaintext' | 'scrub'> {
  if (scrub !== 'off' && value !== undefined && value.length < SCRUB_VALUE_BYTES_MIN) {
    const few = `fewer than ${SCRUB_VALUE_BYTES_MIN} characters`;
    faults.push(`a value of ${few} cannot be looked for in answers, for it stands in many`);
  }
  return { plaintext, scrub };
}

/** @throws SALLYPORT_SECRET_INVALID naming every fault */
export function oauthDraft(wanted: NewOAuth): Draft {
  const { name, tokenUrl, clientId = '', clientAuth = 'basic', scope = null } = wanted;
  const { refreshToken = null, clientSecret = null, policy = DEFAULT_POLICY } = wanted;
  const { signInInside = false } = wanted;
  const faults: string[] = [];
  const service = Object.hasOwn(SERVICES, name) ? SERVICES[name] : undefined;
  if (!/^[a-z][a-z0-9-]*$/.test(name) || name.length > SECRET_NAME_BYTES_MAX) {
    faults.push(`"${name}" is no name; write small letters, digits and dashes`);
  }
  if (service === undefined && wanted.hosts === undefined) {
    faults.push(`"${name}" is no service that is known; name the hosts that its tokens go to`);
  }
  const given = wanted.hosts === undefined ? service?.hosts : customHosts(wanted.hosts, faults);
  faults.push(...faultsOfClient(wanted));
  refuse(faults);
  return {
    ...NOTHING,
    kind: 'service',
    name,
    hosts: given ?? [],
    policy,
    oauth: {
      tokenUrl,
      clientId,
      clientAuth,
      scope,
      grant: refreshToken === null && !signInInside ? 'client_credentials' : 'refresh_token',
      format: 'form',
      signInInside,
    },
    value: JSON.stringify({ refreshToken, clientSecret } satisfies OAuthSecrets),
    command: null,
    refreshMs: null,
  };
}

function faultsOfClient(wanted: NewOAuth): string[] {
  const { tokenUrl, clientId = '', clientAuth, clientSecret, refreshToken, scope } = wanted;
  const faults: string[] = [];
  if (!isEndpoint(tokenUrl)) {
    faults.push('the token URL is no exact https URL: no user, no query, no fragment');
  }
  if (wanted.signInInside) {
    const own = [wanted.clientId, clientAuth, clientSecret, refreshToken, scope];
    if (own.every((one) => one === undefined)) return faults;
    return [...faults, 'sandboxes that sign in bring their own client, tokens and scope'];
  }
  if (faultOfValue(clientId) !== null) faults.push('the client id is not of visible letters');
  if (clientSecret === undefined && refreshToken === undefined) {
    faults.push('there is neither a refresh token nor a client secret');
  }
  if (clientSecret === undefined && clientAuth !== undefined) {
    faults.push('only a client with a secret authenticates');
  }
  faults.push(...faultsOfToken('refresh token', refreshToken));
  faults.push(...faultsOfToken('client secret', clientSecret));
  if (!isScope(scope)) faults.push('the scope has words with one space between them');
  return faults;
}

function faultsOfToken(what: string, value: string | undefined): string[] {
  const fault = value === undefined ? null : faultOfValue(value);
  return fault === null ? [] : [`${what}: ${fault}`];
}

/** RFC 6749 section 3.3. */
function isScope(text: string | undefined): boolean {
  if (text === undefined) return true;
  const words = /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/;
  return text.length <= OAUTH_SCOPE_BYTES_MAX && words.test(text);
}

type Source = Pick<Draft, 'value' | 'command' | 'refreshMs'>;

function sourceOf(given: Given, defaultMs: number, faults: string[]): Source {
  const { value, command, refreshMs } = given;
  if ((value === undefined) === (command === undefined)) {
    faults.push('a secret has either a value or a command that writes it');
  }
  if (command === undefined) {
    const fault = value === undefined ? null : faultOfValue(value);
    if (fault !== null) faults.push(fault);
    if (refreshMs !== undefined) faults.push('only what a command writes can be refreshed');
    return { value: value ?? null, command: null, refreshMs: null };
  }
  faults.push(...faultsOfCommand(command, refreshMs));
  return { value: null, command, refreshMs: refreshMs ?? defaultMs };
}

function faultsOfCommand(command: string, refreshMs: number | undefined): string[] {
  const faults: string[] = [];
  if (command.trim() === '') faults.push('the command is empty');
  if (command.includes('\0')) faults.push('the command has a NUL, which no command line can hold');
  if (Buffer.byteLength(command) > SECRET_COMMAND_BYTES_MAX) {
    faults.push(`the command has more than ${SECRET_COMMAND_BYTES_MAX} bytes`);
  }
  if (refreshMs !== undefined && refreshMs !== ON_DEMAND_MS && !isInterval(refreshMs)) {
    faults.push('the refresh interval is not on-demand, nor between 10s and 24h');
  }
  return faults;
}

function isInterval(ms: number): boolean {
  return Number.isInteger(ms) && ms >= SECRET_REFRESH_MS_MIN && ms <= SECRET_REFRESH_MS_MAX;
}

function registryHost(text: string, faults: string[]): string {
  const [resource, ...more] = resourcesOf([text], faults);
  if (resource === undefined) return text;
  if (more.length > 0 || !isExact(resource)) {
    faults.push(`"${text}" is no registry; name one host, such as ghcr.io or localhost:5000`);
  }
  return registryName(resource.text);
}

/** A registry as secrets are stored by it. */
export function storedRegistry(text: string): string {
  return registryName(storedHost(text));
}

/** A host as secrets are stored by it; what is no host stays as it is, and matches none. */
export function storedHost(text: string): string {
  const [resource] = resourcesOf([text], []);
  return resource?.text ?? text;
}

function customHosts(lists: readonly string[], faults: string[]): readonly string[] {
  const resources = resourcesOf(lists, faults);
  if (resources.length > SECRET_HOSTS_MAX) {
    faults.push(`${resources.length} hosts are named, at most ${SECRET_HOSTS_MAX} are possible`);
  }
  for (const resource of resources) {
    const wide = resource.kind === 'any' || (resource.kind === 'cidr' && !isExact(resource));
    if (wide) faults.push(`"${resource.text}" is too wide for a secret; name its hosts`);
  }
  return resources.map(({ text }) => text);
}

/** One host or one address. */
function isExact(resource: Resource): boolean {
  if (resource.kind === 'any') return false;
  if (resource.kind === 'cidr') return resource.prefixLength === resource.bytes.length * 8;
  return resource.prefix === 'none' && !/[*?[]/.test(resource.text);
}

/** The grammar of rules, so that a host is spelled in one way everywhere. */
function resourcesOf(lists: readonly string[], faults: string[]): readonly Resource[] {
  try {
    return parseResources(lists.join(','));
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error;
    faults.push(error.message);
    return [];
  }
}

/** It must look the same in a field, in a query (RFC 3986 section 2.3) and in JSON. */
function faultOfPlaceholder(placeholder: string, value: string | undefined): string | null {
  const fixed = placeholder.replace('{rand}', '');
  if (!/^[\w.~-]*$/.test(fixed)) {
    return 'the placeholder has letters, digits and -._~ alone, and {rand} once at most';
  }
  if (placeholder.length > SECRET_PLACEHOLDER_BYTES_MAX) {
    return `the placeholder has more than ${SECRET_PLACEHOLDER_BYTES_MAX} bytes`;
  }
  if (fixed === placeholder && fixed.length < SECRET_PLACEHOLDER_BYTES_MIN) {
    return `a placeholder without {rand} has at least ${SECRET_PLACEHOLDER_BYTES_MIN} letters`;
  }
  return value !== undefined && value !== '' && placeholder.includes(value)
    ? 'the placeholder holds the value itself'
    : null;
}

function isEndpoint(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : null;
  return url?.protocol === 'https:' && url.href === text && !/[?#@]/.test(text);
}

function refuse(faults: readonly string[]): void {
  if (faults.length > 0) throw new SallyportError('SALLYPORT_SECRET_INVALID', faults.join('; '));
}
