// Logs in to container registries in the place of sandboxes (distribution, "Token Authentication
// Specification"): the login goes to the token endpoint and the token to the registry, both from
// here. A sandbox gets neither: some tokens are the login in another spelling, others live for long.
import { SallyportError } from '../base/errors.ts';
import {
  REGISTRY_ANSWER_BYTES_MAX,
  REGISTRY_CHALLENGE_MS,
  REGISTRY_KEPT_MAX,
  REGISTRY_LOGIN_TIMEOUT_MS,
  REGISTRY_RETRY_MS,
  REGISTRY_TOKEN_BYTES_MAX,
  REGISTRY_TOKEN_LEEWAY_MS,
  REGISTRY_TOKEN_MS,
  REGISTRY_TOKEN_MS_MAX,
} from '../base/limits.ts';
import type { RegistryBinding } from '../credentials/binding.ts';
import { type Way, wayOf } from '../credentials/challenge.ts';
import { parseHost } from '../policy/host.ts';
import { formatHostPort } from '../policy/resource.ts';
import type { Sandbox, Target } from './exchange.ts';
import { Memo, type Timed } from './memo.ts';
import { type OwnAnswer, type OwnServices, requestOwn } from './own-request.ts';

/** Whom to log in where, and for what. */
export type LoginRequest = {
  readonly binding: RegistryBinding;
  readonly sandbox: Sandbox;
  /** The registry, as the request names it. */
  readonly host: Target['host'];
  readonly port: number;
  /** What scopesOf gave. */
  readonly scopes: readonly string[];
};

export type Login = {
  /** Value of Authorization. */
  readonly authorization: string;
  /** The registry did not take it: the next one is made anew. */
  readonly forget: () => void;
};

type Kept = { readonly ways: Memo<Way>; readonly tokens: Memo<string> };
type Asking = LoginRequest & { readonly signal: AbortSignal };
type Bearer = Extract<Way, { kind: 'bearer' }>;

/** A worker's logins. What is kept goes with its binding, so at each change of the secrets. */
export class RegistryLogins {
  readonly #services: OwnServices;
  readonly #kept = new WeakMap<RegistryBinding, Kept>();

  constructor(services: OwnServices) {
    this.#services = services;
  }

  /**
   * Logs in, or says what an earlier login gave.
   *
   * @returns null when the registry asks for no login.
   * @throws SALLYPORT_REGISTRY_REALM_REFUSED, SALLYPORT_REGISTRY_LOGIN_FAILED,
   *   SALLYPORT_CREDENTIAL_UNAVAILABLE; what own-request.ts throws of the registry itself.
   */
  async login(request: LoginRequest): Promise<Login | null> {
    const { binding } = request;
    if (binding.value === '') {
      throw new SallyportError(
        'SALLYPORT_CREDENTIAL_UNAVAILABLE',
        `the registry secret ${binding.registry} cannot be had at present`,
      );
    }
    const { promise: late, reject } = Promise.withResolvers<never>();
    const stop = new AbortController();
    const timer = setTimeout(() => {
      stop.abort();
      reject(failed(binding, 'it took too long'));
    }, REGISTRY_LOGIN_TIMEOUT_MS);
    try {
      // Nobody waits longer, even where what they wait for is somebody else's login.
      return await Promise.race([this.#login({ ...request, signal: stop.signal }), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #login(asking: Asking): Promise<Login | null> {
    const { binding, sandbox, host, port } = asking;
    const { ways, tokens } = this.#keptOf(binding);
    const nowMs = (): number => this.#services.recorder.clock.monotonicMs();
    // Of each sandbox its own: whether it may reach the token endpoint is asked for each.
    const place = `${sandbox.scope} ${formatHostPort(host, port)}`;
    const way = await ways.get(place, nowMs, () => this.#challenge(asking));
    if (way.kind === 'none') return null;
    if (way.kind === 'basic') {
      return { authorization: basic(binding), forget: () => ways.forget(place) };
    }
    const scopes = asking.scopes.length > 0 ? asking.scopes : [way.scope ?? ''];
    const key = `${place} ${scopes.join(' ')}`;
    const token = await tokens.get(key, nowMs, () => this.#token(way, scopes, asking));
    const forget = (): void => {
      ways.forget(place);
      tokens.forget(key);
    };
    return { authorization: `Bearer ${token}`, forget };
  }

  #keptOf(binding: RegistryBinding): Kept {
    const known = this.#kept.get(binding);
    if (known !== undefined) return known;
    const kept: Kept = {
      ways: new Memo(REGISTRY_KEPT_MAX, failureMs),
      tokens: new Memo(REGISTRY_KEPT_MAX, failureMs),
    };
    this.#kept.set(binding, kept);
    return kept;
  }

  /** Asks the registry, without any login, how it wants one. */
  async #challenge({ binding, sandbox, host, port, signal }: Asking): Promise<Timed<Way>> {
    const { status, fields } = await requestOwn(
      {
        sandbox,
        target: { host, port, method: 'GET', path: '/v2/' },
        fields: FIELDS,
        injected: null,
        answerBytesMax: REGISTRY_ANSWER_BYTES_MAX,
        signal,
      },
      this.#services,
    );
    if (status === 200) return { value: { kind: 'none' }, forMs: REGISTRY_CHALLENGE_MS };
    if (status !== 401) throw failed(binding, `it answered ${status} to /v2/`);
    const values = [fields['www-authenticate'] ?? []].flat();
    return { value: wayOf(values, binding, { host, port }), forMs: REGISTRY_CHALLENGE_MS };
  }

  /** Never asks for `offline_token`: that one lives until it is revoked. */
  async #token(
    { realm, service }: Bearer,
    scopes: readonly string[],
    { binding, sandbox, signal }: Asking,
  ): Promise<Timed<string>> {
    const query = new URLSearchParams();
    if (service !== null) query.append('service', service);
    for (const scope of scopes) if (scope !== '') query.append('scope', scope);
    const path = query.size === 0 ? realm.pathname : `${realm.pathname}?${query}`;
    const port = realm.port === '' ? 443 : Number(realm.port);
    let answer: OwnAnswer;
    try {
      answer = await requestOwn(
        {
          sandbox,
          target: { host: parseHost(realm.hostname), port, method: 'GET', path },
          fields: [...FIELDS, 'authorization', basic(binding)],
          injected: binding.id,
          answerBytesMax: REGISTRY_ANSWER_BYTES_MAX,
          signal,
        },
        this.#services,
      );
    } catch (error) {
      const why = error instanceof SallyportError ? error.message : 'a defect';
      throw failed(binding, `no token from ${realm.href}: ${why}`, error);
    }
    if (answer.status !== 200) throw failed(binding, `${realm.href} answered ${answer.status}`);
    const token = tokenIn(answer.text);
    if (token === null) throw failed(binding, `${realm.href} gave no token that can be read`);
    return token;
  }
}

const FIELDS = [
  'accept',
  'application/json',
  'accept-encoding',
  'identity',
  'user-agent',
  'sallyport',
];

/** RFC 7617. */
function basic({ username, value }: RegistryBinding): string {
  return `Basic ${Buffer.from(`${username}:${value}`).toString('base64')}`;
}

/** The answer's `token`, or its OAuth name; both are in use. */
function tokenIn(text: string): Timed<string> | null {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof answer !== 'object' || answer === null) return null;
  const { token, access_token, expires_in } = answer as Record<string, unknown>;
  const value = token ?? access_token;
  // RFC 6750 section 2.1: what may stand behind `Bearer`.
  if (typeof value !== 'string' || !/^[\w.~+/-]+=*$/.test(value)) return null;
  if (value.length > REGISTRY_TOKEN_BYTES_MAX) return null;
  const given = typeof expires_in === 'number' && expires_in > 0 ? expires_in * 1000 : 0;
  const lifeMs = Math.min(given === 0 ? REGISTRY_TOKEN_MS : given, REGISTRY_TOKEN_MS_MAX);
  return { value, forMs: Math.max(0, lifeMs - REGISTRY_TOKEN_LEEWAY_MS) };
}

/** Only what the other side said no to: a rule or a name server may change its mind any time. */
function failureMs(error: unknown): number {
  if (!(error instanceof SallyportError) || error.cause !== undefined) return 0;
  return error.code.startsWith('SALLYPORT_REGISTRY_') ? REGISTRY_RETRY_MS : 0;
}

function failed({ registry }: RegistryBinding, why: string, cause?: unknown): SallyportError {
  return new SallyportError(
    'SALLYPORT_REGISTRY_LOGIN_FAILED',
    `no login at registry ${registry}: ${why}`,
    { cause },
  );
}
