// Requests to a declared token endpoint: the tokens in its answers are kept by the daemon, and the
// sandbox gets sentinels; what it asks for with a sentinel is answered here, since the daemon is who
// renews. Question and answer are held whole, and bounded; what cannot be read is not passed on.
import { Gathering } from '../base/gathering.ts';
import { OAUTH_ANSWER_BYTES_MAX, OAUTH_SIGNED_IN_MS } from '../base/limits.ts';
import { misused } from '../credentials/placeholder.ts';
import { removeFields } from '../credentials/request-parts.ts';
import {
  type Declared,
  type TokenEndpoints,
  tokenSentinels,
} from '../credentials/token-endpoints.ts';
import {
  readTokenRequest,
  refused,
  type SignedIn,
  type TokenRequest,
  withoutTokens,
} from '../credentials/token-exchange.ts';
import type { Answer, Received } from './exchange.ts';
import { fieldLines } from './fields.ts';

export type TokenExchange = {
  /** Whose token endpoint it is; in order of precedence. */
  readonly declared: readonly Declared[];
  readonly endpoints: TokenEndpoints;
  /** Number of the sandbox. */
  readonly scope: number;
  /** Normal form. */
  readonly host: string;
  readonly received: Received;
  /** Whether it came over TLS. */
  readonly secure: boolean;
  /** Relays a request, the answer going to its `reply`. */
  readonly relay: (received: Received) => Promise<void>;
  /** Has the use of a grant recorded. */
  readonly use: (id: string) => void;
  /** Has another access token got. @throws SALLYPORT_CREDENTIAL_UNAVAILABLE */
  readonly renew: (id: string) => Promise<void>;
  /** Has tokens kept. @throws SALLYPORT_CREDENTIAL_UNAVAILABLE */
  readonly keep: (signedIn: SignedIn) => Promise<void>;
};

const JSON_FIELDS = ['Content-Type', 'application/json', 'Cache-Control', 'no-store'];
/** Fields that would make an answer unreadable here, or part of one. */
const ENCODINGS = new Set(['accept-encoding', 'range', 'expect']);

/**
 * @throws SALLYPORT_TOKEN_EXCHANGE_REFUSED, SALLYPORT_CREDENTIAL_UNAVAILABLE, SALLYPORT_CREDENTIAL_MISUSED
 *   for a sentinel of another sandbox or endpoint, and what `relay` throws
 */
export async function exchangeTokens(exchange: TokenExchange): Promise<void> {
  const { declared, endpoints, scope, host, received, secure, use } = exchange;
  const { head } = received;
  if (!secure) throw refused('a token endpoint is asked over TLS alone');
  if (head.upgrade !== null) throw refused('a token endpoint has nothing to upgrade to');
  const content = await contentOf(received);
  const text = content?.toString() ?? '';
  const asked = readTokenRequest(
    fieldOf(head.fields, 'content-type'),
    fieldOf(head.fields, 'authorization'),
    text,
  );
  // As it is spelled and as it is meant.
  const spelled = `${text} ${asked.refreshToken}`;
  if (endpoints.isMisused(declared, scope, spelled)) throw misused(host);
  const renewed = renewedBy(exchange, asked.refreshToken);
  const binding = renewed ?? declared.find(({ tokenEndpoint }) => tokenEndpoint.signInInside);
  if (binding !== undefined) use(binding.id);
  const fields = removeFields(head.fields, ENCODINGS);
  const plain = { ...received, content, head: { ...head, fields, expectContinue: false } };
  if (renewed !== undefined) await answerHere(renewed, exchange);
  else if (binding !== undefined) await signIn(binding, exchange, plain, asked);
  else await exchange.relay(plain); // A login that is the sandbox's own business.
}

/** The grant that a sentinel stands for; one that all sandboxes know stands for the first. */
function renewedBy(
  { declared, scope }: TokenExchange,
  sentinel: string | null,
): Declared | undefined {
  if (sentinel === null) return undefined;
  const isRefresh = ({ tokenEndpoint }: Declared): boolean =>
    tokenSentinels(tokenEndpoint, scope).refresh === sentinel;
  return declared.find(isRefresh) ?? declared.find(({ sentinels }) => sentinels.includes(sentinel));
}

/** The sandbox renews what it does not have: the daemon does, if it is time to. */
async function answerHere(
  { id, tokenEndpoint }: Declared,
  { scope, received, renew }: TokenExchange,
): Promise<void> {
  if (tokenEndpoint.signedOut) {
    say(received.reply, 400, { error: 'invalid_grant' }); // Nobody signed in; it will ask to.
    return;
  }
  await renew(id);
  const { access, refresh } = tokenSentinels(tokenEndpoint, scope);
  say(received.reply, 200, {
    access_token: access,
    refresh_token: refresh,
    token_type: 'Bearer',
    expires_in: OAUTH_SIGNED_IN_MS / 1_000,
  });
}

async function signIn(
  { id, tokenEndpoint }: Declared,
  { scope, relay, keep }: TokenExchange,
  received: Received,
  request: TokenRequest,
): Promise<void> {
  const held = new HeldAnswer(received);
  try {
    await relay({ ...received, reply: held });
  } catch (error) {
    if (held.isTooLarge) throw refused(`the answer has more than ${OAUTH_ANSWER_BYTES_MAX} bytes`);
    throw error;
  }
  const { status, content } = held;
  if (content.length === 0) {
    received.reply.start(status, '', '', 0);
    received.reply.end('');
    return;
  }
  const sentinels = tokenSentinels(tokenEndpoint, scope);
  const { text, tokens } = withoutTokens(content.toString(), sentinels);
  // Not before they are kept: the sandbox has nothing else to sign in with again.
  if (tokens !== null && status < 300) await keep({ id, scope, request, tokens });
  write(received.reply, status, text);
}

function say(reply: Answer, status: number, body: object): void {
  write(reply, status, JSON.stringify(body));
}

/** Neither the endpoint's own fields nor its reason phrase go along: any of them may hold a token. */
function write(reply: Answer, status: number, text: string): void {
  const content = Buffer.from(text);
  reply.start(status, '', fieldLines(JSON_FIELDS), content.length);
  reply.data(content);
  reply.end('');
}

/** @throws SALLYPORT_TOKEN_EXCHANGE_REFUSED for more than may be held */
async function contentOf({ content, client, head, reply }: Received): Promise<Buffer | null> {
  if (content === null) return null;
  if (head.expectContinue && !client.contentDone) reply.interim(100, '');
  const gathering = new Gathering();
  const source: AsyncIterable<Buffer> | Buffer[] = Buffer.isBuffer(content) ? [content] : content;
  for await (const piece of source) {
    gathering.add(piece);
    if (gathering.length > OAUTH_ANSWER_BYTES_MAX) {
      throw refused(`the request has more than ${OAUTH_ANSWER_BYTES_MAX} bytes`);
    }
  }
  return gathering.bytes();
}

function fieldOf(fields: readonly string[], name: string): string {
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (fields[i]?.toLowerCase() === name) return fields[i + 1] ?? '';
  }
  return '';
}

/** An answer that is held back until it is whole. */
class HeldAnswer implements Answer {
  status = 0;
  bytes = 0;
  closes = false;
  isTooLarge = false;
  readonly #received: Received;
  readonly #gathering = new Gathering();

  constructor(received: Received) {
    this.#received = received;
  }

  get started(): boolean {
    return this.status !== 0;
  }

  get content(): Buffer {
    return this.#gathering.bytes();
  }

  interim(): void {
    // Its fields could hold a token, too, and nobody waits for it.
  }

  start(status: number): void {
    this.status = status;
  }

  data(chunk: Buffer): boolean {
    this.bytes += chunk.length;
    this.isTooLarge = this.bytes > OAUTH_ANSWER_BYTES_MAX;
    if (!this.isTooLarge) this.#gathering.add(chunk);
    else this.#received.client.onGone?.(); // Ends it upstream.
    return true;
  }

  end(): boolean {
    return true; // JSON that is not whole cannot be read.
  }

  cut(): void {
    this.#gathering.clear();
  }

  switchProtocols(): void {
    throw refused('a token endpoint has nothing to upgrade to');
  }
}
