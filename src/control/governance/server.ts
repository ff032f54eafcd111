// An organisation that is asked over the public Governance API. All requests go to the one origin
// that was named, with a bearer token, over TLS that verifies; none follows a redirection. What is
// read is of one moment: the list is read again at the end, and all anew if it has changed.
import { type Agent, Agent as PlainAgent } from 'node:http';
import { Agent as TlsAgent } from 'node:https';
import type { SecureContext } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import { SallyportError } from '../../base/errors.ts';
import {
  GOVERNANCE_ANSWER_BYTES_MAX,
  GOVERNANCE_LOOKS_MAX,
  GOVERNANCE_PAGE_MAX,
  GOVERNANCE_PAGES_MAX,
  GOVERNANCE_POLICIES_MAX,
  GOVERNANCE_REQUEST_TIMEOUT_MS,
  GOVERNANCE_REQUESTS_MAX,
  GOVERNANCE_SYNC_TIMEOUT_MS,
} from '../../base/limits.ts';
import { type OwnAnswer, RequestError, requestOnce } from '../../credentials/request.ts';
import { faultsOf, ORGANIZATION_NAME, PolicyPage, Settings } from './api.ts';
import {
  failed,
  type GovernanceSource,
  type ReadBefore,
  rulesOf,
  summariesFor,
  type Word,
} from './source.ts';

/** Where a bearer token comes from. */
export type TokenSource = {
  /** @param fresh  the one given before was refused. @throws SALLYPORT_GOVERNANCE_FAILED */
  token(fresh: boolean): Promise<string>;
};

export type ServerOptions = {
  /** `https://HOST/.../orgs/NAME`; plain http on this machine alone. */
  readonly url: string;
  readonly token: TokenSource;
  /** That this daemon is of. */
  readonly teams: readonly string[];
  /** What the server may be certified by, and what it is presented. */
  readonly trusted: (host: string, port: number) => Promise<SecureContext>;
};

const LOOPBACK: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]']);
const GONE: ReadonlySet<number> = new Set([404]);
const UNKNOWN: ReadonlySet<number> = new Set([404, 405, 501]);

/** @throws SALLYPORT_USAGE for a URL that is none of an organisation, or would send the token in the clear. */
export function governanceServer(options: ServerOptions): GovernanceSource {
  const { base, organization } = addressOf(options.url);
  let known: Known = new Map();
  const before: ReadBefore = new WeakMap();
  return {
    name: base,
    organization,
    async fetch(_, signal) {
      const agent = await agentFor(base, options.trusted);
      const late = AbortSignal.timeout(GOVERNANCE_SYNC_TIMEOUT_MS);
      const look = new Look({
        base,
        agent,
        known,
        token: options.token,
        signal: AbortSignal.any([signal, late]),
      });
      try {
        const word = await wordOf(look, options.teams, before);
        known = look.seen; // Of what is gone nothing is kept.
        return { organization, ...word };
      } catch (error) {
        throw late.aborted ? failed(`took more than ${GOVERNANCE_SYNC_TIMEOUT_MS} ms`) : error;
      } finally {
        agent.destroy();
      }
    },
  };
}

/** @throws SALLYPORT_USAGE */
function addressOf(text: string): { base: string; organization: string } {
  const url = URL.parse(text);
  const organization = /\/orgs\/([^/]+)\/?$/.exec(url?.pathname ?? '')?.[1] ?? '';
  const isOne = ORGANIZATION_NAME.test(organization);
  if (url === null || !isOne || `${url.search}${url.hash}` !== '') {
    throw new SallyportError('SALLYPORT_USAGE', `${text} is no https://HOST/.../orgs/NAME`);
  }
  if (`${url.username}${url.password}` !== '') {
    throw new SallyportError(
      'SALLYPORT_USAGE',
      'a URL with a password would be stored; use a token',
    );
  }
  const isPrivate = url.protocol === 'https:' || LOOPBACK.has(url.hostname);
  if (!isPrivate || !/^https?:$/.test(url.protocol)) {
    throw new SallyportError(
      'SALLYPORT_USAGE',
      `${text} would send the token in the clear; use https`,
    );
  }
  return { base: `${url.origin}${url.pathname.replace(/\/$/, '')}/governance`, organization };
}

async function agentFor(base: string, trusted: ServerOptions['trusted']): Promise<Agent> {
  const common = { keepAlive: true, maxSockets: GOVERNANCE_REQUESTS_MAX };
  const { protocol, hostname, port } = new URL(base);
  if (protocol === 'http:') return new PlainAgent(common);
  const secureContext = await trusted(hostname.replace(/^\[|\]$/g, ''), Number(port || 443));
  return new TlsAgent({ ...common, secureContext, rejectUnauthorized: true });
}

/** Reads until nothing changes meanwhile: a mixture of two moments could allow what neither did. */
async function wordOf(
  look: Look,
  teams: readonly string[],
  before: ReadBefore,
): Promise<Omit<Word, 'organization'>> {
  for (let i = 0; i < GOVERNANCE_LOOKS_MAX; i++) {
    const list = await listOf(look);
    const ids = summariesFor(list, teams).map(({ id }) => id);
    const policies = await policiesOf(look, ids);
    const { support_message: supportMessage, delegates } = await settingsOf(look);
    if (policies.includes(null) || !isDeepStrictEqual(await listOf(look), list)) continue;
    const rules = await rulesOf(policies, before);
    return { supportMessage, delegates, ...rules, expiresMs: null, serial: null, digest: null };
  }
  throw failed('its policies change faster than they can be read');
}

async function listOf(look: Look): Promise<unknown[]> {
  const all: unknown[] = [];
  let query = '';
  for (let page = 0; page < GOVERNANCE_PAGES_MAX; page++) {
    const answer = await look.get(`/policies?page_size=${GOVERNANCE_PAGE_MAX}${query}`);
    const read = PolicyPage.safeParse(answer);
    if (!read.success) throw failed(`the list of policies cannot be read: ${faultsOf(read.error)}`);
    all.push(...read.data.data);
    const next = read.data.next_page_token;
    if (!next || all.length > GOVERNANCE_POLICIES_MAX) return all;
    query = `&page_token=${encodeURIComponent(next)}`;
  }
  throw failed(`there are more than ${GOVERNANCE_PAGES_MAX} pages of policies`);
}

/** @returns null for one that has gone since it was listed. */
async function policiesOf(look: Look, ids: readonly string[]): Promise<(object | null)[]> {
  const policies: (object | null)[] = [];
  for (let i = 0; i < ids.length; i += GOVERNANCE_REQUESTS_MAX) {
    const some = ids.slice(i, i + GOVERNANCE_REQUESTS_MAX);
    policies.push(...(await Promise.all(some.map((id) => look.find(`/policies/${id}`)))));
  }
  return policies;
}

/** Our own servers have them; without them, no message is known and nothing is left to local policy. */
async function settingsOf(look: Look): Promise<Settings> {
  const read = Settings.safeParse((await look.find('/settings', UNKNOWN)) ?? {});
  if (read.success) return read.data;
  throw failed(`the settings cannot be read: ${faultsOf(read.error)}`);
}

/** What was answered before, by path: not sent again while its entity tag holds (RFC 9110 section 13.1.2). */
type Known = ReadonlyMap<string, { readonly tag: string; readonly body: object }>;

type LookOptions = {
  readonly base: string;
  readonly agent: Agent;
  readonly known: Known;
  readonly token: TokenSource;
  readonly signal: AbortSignal;
};

/** The requests of one look. */
class Look {
  readonly seen = new Map<string, { tag: string; body: object }>();
  readonly #options: LookOptions;
  #token: Promise<string> | null = null;

  constructor(options: LookOptions) {
    this.#options = options;
  }

  /** @throws SALLYPORT_GOVERNANCE_FAILED, also for what is not there */
  async get(path: string): Promise<object> {
    const found = await this.find(path);
    if (found !== null) return found;
    throw failed('the server knows no such organization, or no such API (404)');
  }

  /** @returns null for what is not there, by its status. @throws SALLYPORT_GOVERNANCE_FAILED */
  async find(path: string, none: ReadonlySet<number> = GONE): Promise<object | null> {
    const before = this.seen.get(path) ?? this.#options.known.get(path);
    const answer = await this.#send(path, before?.tag);
    const { status, headers } = answer;
    if (status === 304 && before !== undefined) {
      this.seen.set(path, before);
      return before.body;
    }
    if (none.has(status)) return null;
    if (status !== 200) throw failed(`the server answered ${status}${codeIn(answer)}`);
    const body = objectIn(answer);
    if (headers.etag === undefined) this.seen.delete(path);
    else this.seen.set(path, { tag: headers.etag, body });
    return body;
  }

  /** A token that is refused is asked for once more: those of clouds end while they are kept. */
  async #send(path: string, tag: string | undefined): Promise<OwnAnswer> {
    this.#token ??= this.#options.token.token(false);
    const used = this.#token;
    const answer = await this.#ask(path, tag, await used);
    if (answer.status !== 401) return answer;
    if (this.#token === used) this.#token = this.#options.token.token(true);
    return this.#ask(path, tag, await this.#token);
  }

  async #ask(path: string, tag: string | undefined, token: string): Promise<OwnAnswer> {
    const { base, agent, signal } = this.#options;
    const headers = {
      accept: 'application/json',
      'accept-encoding': 'identity',
      authorization: `Bearer ${token}`,
      ...(tag === undefined ? {} : { 'if-none-match': tag }),
    };
    try {
      return await requestOnce(
        { url: `${base}${path}`, method: 'GET', headers },
        {
          agent,
          signal,
          timeoutMs: GOVERNANCE_REQUEST_TIMEOUT_MS,
          bytesMax: GOVERNANCE_ANSWER_BYTES_MAX,
        },
      );
    } catch (error) {
      throw error instanceof RequestError ? failed(`the server ${error.message}`) : error;
    }
  }
}

/** The code of the API's errors, ` (permission_denied)`; nothing else of them is repeated. */
function codeIn({ content }: OwnAnswer): string {
  const code = /"code"\s*:\s*"([a-z_]{1,40})"/.exec(content)?.[1];
  return code === undefined ? '' : ` (${code})`;
}

function objectIn({ content, headers }: OwnAnswer): object {
  const coding = headers['content-encoding'] ?? 'identity';
  if (coding !== 'identity') throw failed('the server answered in a coding that was not asked for');
  try {
    const parsed: unknown = JSON.parse(content);
    if (typeof parsed === 'object' && parsed !== null) return parsed;
  } catch {
    // The parser's message would quote the answer.
  }
  throw failed('the server answered without a JSON object');
}
