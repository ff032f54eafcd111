// Access tokens that the host gets with a refresh token (RFC 6749 section 6) or in the client's own
// name (section 4.4). The refresh token stays here; where it is stored is the business of others.
import type { SecureContext } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import type { SallyportError } from '../base/errors.ts';
import {
  OAUTH_EARLY_MS,
  OAUTH_LIFE_MS,
  OAUTH_LIFE_MS_MAX,
  OAUTH_RETRY_MS,
  SECRET_DEMAND_MS,
  SECRET_ON_DEMAND_MS,
} from '../base/limits.ts';
import type { Source } from './sources.ts';
import { askForToken, type TokenAnswer, unavailable } from './token-request.ts';
import { faultOfValue } from './value.ts';

/** A client of a token endpoint, as far as it is no secret. */
export type OAuthClient = {
  /** Of https. */
  readonly tokenUrl: string;
  readonly clientId: string;
  /** How the client authenticates, if it has a secret (RFC 6749 section 2.3.1). */
  readonly clientAuth: 'basic' | 'post';
  /** Space-separated, or null for what was granted. */
  readonly scope: string | null;
  /** With a refresh token, or in the client's own name. */
  readonly grant: 'refresh_token' | 'client_credentials';
  /** How the endpoint is asked: some want JSON, against the RFC. */
  readonly format: 'form' | 'json';
  /** Sandboxes sign in at the endpoint, each for itself. */
  readonly signInInside: boolean;
};

export type OAuthSecrets = {
  /** null: the client asks in its own name, or nobody has signed in, or there was none. */
  readonly refreshToken: string | null;
  /** null: a public client. */
  readonly clientSecret: string | null;
  /** The access token that came with the sign-in, by wall clock; endsAtMs null: nobody knows. */
  readonly access?: { readonly token: string; readonly endsAtMs: number | null } | undefined;
};

export type OAuthOptions = {
  readonly client: OAuthClient;
  readonly secrets: OAuthSecrets;
  readonly clock: Clock;
  /** Authorities that the endpoint may have, and the certificate that it is presented. */
  readonly contextTowards: (host: string, port: number) => Promise<SecureContext>;
  /** Ends the question that is under way; it fails. */
  readonly signal: AbortSignal;
};

/** `refused`: the grant is gone, and a person must give a new one; `signed-out`: there is none yet. */
export type OAuthState = 'ok' | 'unavailable' | 'refused' | 'signed-out';

type Instant = { readonly monotonicMs: number; readonly wallMs: number };
type Access = { readonly token: string; readonly since: Instant; readonly lifeMs: number };
type Failure = { readonly error: unknown; readonly since: Instant };

/** A grant and the access token it gave last. */
export class OAuthSource implements Source {
  /** Stores a new refresh token before its access token is used; null while the grant itself is not stored. */
  keep: ((secrets: OAuthSecrets) => Promise<void>) | null = null;
  readonly #options: OAuthOptions;
  #secrets: OAuthSecrets;
  #changed = false;
  #access: Access | null = null;
  #failure: Failure | null = null;
  #refused: SallyportError | null = null;
  #running: Promise<string> | null = null;

  constructor(options: OAuthOptions) {
    this.#options = options;
    this.#secrets = options.secrets;
    const { access, refreshToken } = options.secrets;
    if (access === undefined) return;
    const since = this.#now();
    const unknown = refreshToken === null ? Number.POSITIVE_INFINITY : OAUTH_LIFE_MS;
    const lifeMs = access.endsAtMs === null ? unknown : access.endsAtMs - since.wallMs;
    this.#access = { token: access.token, since, lifeMs };
  }

  /** As they are now: refresh tokens may change with each use. */
  get secrets(): OAuthSecrets {
    return this.#secrets;
  }

  get last(): string | null {
    return this.#access?.token ?? null;
  }

  get final(): boolean {
    return this.#refused !== null || this.#cannotRenew;
  }

  get #cannotRenew(): boolean {
    const { grant } = this.#options.client;
    return grant === 'refresh_token' && this.#secrets.refreshToken === null;
  }

  get state(): OAuthState {
    if (this.#refused !== null) return 'refused';
    if (this.#cannotRenew) return this.#signedInState();
    return this.#failure === null || this.#usable() !== null ? 'ok' : 'unavailable';
  }

  /**
   * @returns an access token that serves a while yet. One that is about to end is renewed first, but
   *   still serves when that fails.
   */
  async value(): Promise<string> {
    const access = this.#access;
    if (access !== null && this.#leftMs(access) > earlyMs(access)) return access.token;
    const failure = this.#justFailed();
    if (failure !== null) return this.#usableOr(failure.error);
    try {
      return await this.fetch();
    } catch (error) {
      return this.#usableOr(error);
    }
  }

  /** @returns another access token than before, unless that is quite new. @throws as `fetch` */
  async another(): Promise<string> {
    const access = this.#access;
    const isNew = access !== null && this.#sinceMs(access.since) < SECRET_ON_DEMAND_MS;
    if (isNew || this.#cannotRenew) return this.value();
    const failure = this.#justFailed();
    if (failure !== null) throw failure.error; // A sandbox may ask again and again.
    return this.fetch();
  }

  /**
   * Asks the endpoint, or waits for the question under way.
   *
   * @throws SALLYPORT_CREDENTIAL_UNAVAILABLE; at once after the grant was refused.
   */
  fetch(): Promise<string> {
    if (this.#refused !== null) return Promise.reject(this.#refused);
    if (this.#cannotRenew) return this.#lasting();
    this.#running ??= this.#renew()
      .then(
        (token) => {
          this.#failure = null;
          return token;
        },
        (error: unknown) => {
          this.#failure = { error, since: this.#now() };
          throw error;
        },
      )
      .finally(() => {
        this.#running = null;
      });
    return this.#running;
  }

  /** What a sign-in gave without a refresh token, until it ends. */
  async #lasting(): Promise<string> {
    const access = this.#access;
    if (access !== null && this.#leftMs(access) > 0) return access.token;
    const ended = unavailable('gave no grant that serves; sign in at it');
    if (access !== null) this.#refused = ended;
    this.#access = null;
    throw ended;
  }

  async #renew(): Promise<string> {
    await this.#store(); // What could not be stored the last time.
    const { client, contextTowards, signal } = this.#options;
    const since = this.#now(); // Before the endpoint counts from, so that it ends here first.
    const { tokenUrl: url, format } = client;
    const asked = { url, format, ...question(client, this.#secrets) };
    const { hostname, port } = new URL(url);
    const host = hostname.replace(/^\[|\]$/g, '');
    const context = await contextTowards(host, Number(port) || 443);
    const answer = await askForToken(asked, { context, signal });
    if (answer.status !== 200) throw this.#refusal(answer);
    await this.#rotate(answer.body.refresh_token);
    this.#access = { ...granted(answer.body), since };
    return this.#usableOr(unavailable('gave an access token that has ended already'));
  }

  /** First of all: the new refresh token may be the only one that still works. */
  async #rotate(given: unknown): Promise<void> {
    const { refreshToken } = this.#secrets;
    if (refreshToken === null || given === undefined || given === null) return;
    if (!isToken(given)) throw unavailable('gave a refresh token that cannot be sent again');
    if (given === refreshToken) return;
    this.#secrets = { refreshToken: given, clientSecret: this.#secrets.clientSecret };
    this.#changed = true;
    await this.#store();
  }

  async #store(): Promise<void> {
    if (this.#changed) await this.keep?.(this.#secrets);
    this.#changed = false;
  }

  #refusal({ status, body }: TokenAnswer): SallyportError {
    const known = ERRORS.find((one) => one === body.error);
    const error = unavailable(`answered ${status}${known === undefined ? '' : ` ${known}`}`);
    if (known !== 'invalid_grant') return error;
    this.#access = null; // The grant was withdrawn; what it gave is not for use either.
    this.#refused = unavailable(
      'no longer accepts the grant (invalid_grant); sign in again and store it with secret set-oauth --force',
    );
    return this.#refused;
  }

  #usableOr(error: unknown): string {
    const usable = this.#usable();
    if (usable === null) throw error;
    return usable;
  }

  /** Workers do not ask again within SECRET_DEMAND_MS. */
  #usable(): string | null {
    const access = this.#access;
    if (access === null) return null;
    return this.#leftMs(access) > Math.min(SECRET_DEMAND_MS, access.lifeMs / 2)
      ? access.token
      : null;
  }

  /** While it lasts, the endpoint is left alone. */
  #justFailed(): Failure | null {
    const failure = this.#failure;
    return failure !== null && this.#sinceMs(failure.since) < OAUTH_RETRY_MS ? failure : null;
  }

  #leftMs({ since, lifeMs }: Access): number {
    return lifeMs - this.#sinceMs(since);
  }

  #signedInState(): OAuthState {
    if (this.#access === null) return 'signed-out';
    return this.#leftMs(this.#access) > 0 ? 'ok' : 'refused';
  }

  #now(): Instant {
    const { clock } = this.#options;
    return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
  }

  /** By the clock that says more: one stands still while the machine sleeps, the other can be set back. */
  #sinceMs(then: Instant): number {
    const now = this.#now();
    return Math.max(now.monotonicMs - then.monotonicMs, now.wallMs - then.wallMs);
  }
}

/** What of an error may be shown (RFC 6749 section 5.2): anything else could be anything. */
const ERRORS = [
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
] as const;

/** Half of the life of one that lives shortly. */
function earlyMs({ lifeMs }: Access): number {
  return Math.min(OAUTH_EARLY_MS, lifeMs / 2);
}

function question(
  { clientId, clientAuth, scope }: OAuthClient,
  { refreshToken, clientSecret }: OAuthSecrets,
): { readonly authorization: string | null; readonly form: URLSearchParams } {
  const form = new URLSearchParams(
    refreshToken === null
      ? { grant_type: 'client_credentials' }
      : { grant_type: 'refresh_token', refresh_token: refreshToken },
  );
  if (scope !== null) form.set('scope', scope);
  if (clientSecret !== null && clientAuth === 'basic') {
    return { authorization: basicOfClient(clientId, clientSecret), form };
  }
  if (clientId !== '') form.set('client_id', clientId);
  if (clientSecret !== null) form.set('client_secret', clientSecret);
  return { authorization: null, form };
}

/** Each form-encoded before they are joined (RFC 6749 section 2.3.1). */
function basicOfClient(clientId: string, clientSecret: string): string {
  const encoded = (text: string): string => new URLSearchParams({ '': text }).toString().slice(1);
  const pair = `${encoded(clientId)}:${encoded(clientSecret)}`;
  return `Basic ${Buffer.from(pair).toString('base64')}`;
}

/** @throws SALLYPORT_CREDENTIAL_UNAVAILABLE for what is no bearer token (RFC 6749 section 5.1, RFC 6750) */
function granted(body: TokenAnswer['body']): Omit<Access, 'since'> {
  const { access_token: token, token_type: type, expires_in: seconds } = body;
  if (typeof type !== 'string' || type.toLowerCase() !== 'bearer') {
    throw unavailable('gave no bearer token');
  }
  if (!isToken(token)) throw unavailable('gave an access token that cannot stand in a field');
  return { token, lifeMs: lifeMsOf(seconds) };
}

function isToken(value: unknown): value is string {
  return typeof value === 'string' && faultOfValue(value) === null;
}

/** Some write the number as a text. */
function lifeMsOf(seconds: unknown): number {
  if (seconds === undefined || seconds === null) return OAUTH_LIFE_MS;
  const ms = Number(seconds) * 1_000;
  return ms > 0 ? Math.min(ms, OAUTH_LIFE_MS_MAX) : 0;
}
