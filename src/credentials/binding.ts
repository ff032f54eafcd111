// A credential as the data plane knows it: which destinations it goes to, where in a request it
// stands, and when. Types only; services.ts makes the built-in ones, inject.ts applies them.

/**
 * When the proxy sets the credential.
 * - `if-sentinel-or-absent`: the client sent the sentinel, or no authentication for that service.
 * - `if-sentinel`: only in place of the sentinel.
 * - `always`: whatever the client sent, as sbx does.
 */
export type InjectionPolicy = 'if-sentinel-or-absent' | 'if-sentinel' | 'always';

/** A field of the request that carries the credential. */
export type Placement = {
  /** Field name in lower case, such as `authorization`. */
  readonly field: string;
  /** The value around the secret: `Bearer %s`; `%s` once. */
  readonly format: string;
  /** Base64 of `username:secret` is what replaces `%s` (RFC 7617); absent: the secret itself. */
  readonly basicUsername?: string;
  /** Resources (host grammar of policy/resource.ts) this placement is for; absent: all hosts of the binding. */
  readonly hosts?: readonly string[];
};

/**
 * Whether the secret is looked for in the answers to requests that may carry it.
 * - `off`: no.
 * - `pass`: it is masked; an answer that cannot be searched passes.
 * - `strict`: it is masked; an answer that cannot be searched is refused.
 */
export type Scrub = 'off' | 'pass' | 'strict';

type Common = {
  /** Stable id of the stored secret; what the audit and `explain` name. */
  readonly id: string;
  /** GLOBAL_SCOPE (0) for every sandbox, else the number of the one sandbox. */
  readonly scope: number;
  /** Resources in normal form: `api.example.com`, `*.example.com`, `example.com:8443`. Without a port: every port. */
  readonly hosts: readonly string[];
  /** Lets the secret go over plain HTTP, too. */
  readonly plaintext: boolean;
  readonly scrub: Scrub;
  /** Fetched when it is needed: the daemon is asked to refresh it before it is used. */
  readonly onDemand: boolean;
  /** The secret itself; '' when it cannot be had at present. Never in a message for people, a record, a metric or an error. */
  readonly value: string;
};

/** A credential of a known service, set into fields. */
export type ServiceBinding = Common & {
  readonly kind: 'service';
  /** `anthropic`, `github` and so on. */
  readonly service: string;
  readonly policy: InjectionPolicy;
  readonly placements: readonly Placement[];
  /** What the sandbox holds in place of the secret; any of them counts as the sentinel. */
  readonly sentinels: readonly string[];
  /** Further fields and query parameters that authenticate to this service; removed when injecting. */
  readonly authFields: readonly string[];
  readonly authQuery: readonly string[];
  /** Of a grant; absent for what was stored as it is. */
  readonly tokenEndpoint?: TokenEndpoint;
};

/** Where the tokens of a grant come from. */
export type TokenEndpoint = {
  /** As parsed from its URL, in normal form. */
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** A sandbox signs in there, and its tokens are kept; else it may only ask for what is kept. */
  readonly signInInside: boolean;
  /** Nobody has signed in, or has to anew: requests go as they are, since some are for signing in. */
  readonly signedOut: boolean;
  /** What a sandbox gets in place of tokens, with `{rand}` as in the placeholder of a custom secret. */
  readonly templates: { readonly access: string; readonly refresh: string };
  /** As of a custom secret. */
  readonly placeholderKey: string;
};

/** A secret that replaces its placeholder wherever that stands. */
export type CustomBinding = Common & {
  readonly kind: 'custom';
  /** Environment variable that the sandbox knows it by. */
  readonly env: string;
  /** Text with `{rand}` for the part that differs by sandbox, such as `sbx-cs-{rand}`. */
  readonly placeholder: string;
  /** Hex; what the `{rand}` of a sandbox is derived from, so that nobody can guess another's. */
  readonly placeholderKey: string;
  readonly in: readonly ('fields' | 'query' | 'content')[];
};

/** The login of a container registry; the proxy turns it into what the registry asks for. */
export type RegistryBinding = Common & {
  readonly kind: 'registry';
  /** `docker.io`, `ghcr.io`, `localhost:5000`. */
  readonly registry: string;
  readonly username: string;
  /**
   * The exact URLs that may have it for a bearer token, and nothing else may; null: any URL of the
   * registry's own origin may, and the registry itself if it asks for Basic.
   */
  readonly realms: readonly string[] | null;
};

export type Binding = ServiceBinding | CustomBinding | RegistryBinding;
