// One question to an OAuth token endpoint (RFC 6749 section 3.2): over verified TLS, bounded in time
// and size, never sent again and never sent elsewhere. What fails is told without a byte of what was
// sent or answered.
import type { ClientRequest, IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import type { SecureContext } from 'node:tls';
import { SallyportError } from '../base/errors.ts';
import { OAUTH_ANSWER_BYTES_MAX, OAUTH_TIMEOUT_MS } from '../base/limits.ts';

export type TokenQuestion = {
  /** Of https. */
  readonly url: string;
  /** Of the client, or null (RFC 6749 section 2.3.1). */
  readonly authorization: string | null;
  readonly form: URLSearchParams;
  readonly format: 'form' | 'json';
};

export type AskOptions = {
  /** Authorities that are trusted. */
  readonly context: SecureContext;
  /** Gives up; the question fails. */
  readonly signal: AbortSignal;
  readonly timeoutMs?: number;
};

/** The endpoint's word: an object, whatever its status. */
export type TokenAnswer = {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
};

/**
 * Asks once. A redirection is an answer like any other: nothing goes to where it points.
 *
 * @throws SALLYPORT_CREDENTIAL_UNAVAILABLE when there is no answer, or none that can be read.
 */
export async function askForToken(
  { url, authorization, form, format }: TokenQuestion,
  { context, signal, timeoutMs = OAUTH_TIMEOUT_MS }: AskOptions,
): Promise<TokenAnswer> {
  const late = AbortSignal.timeout(timeoutMs);
  const isJson = format === 'json';
  const content = isJson ? JSON.stringify(Object.fromEntries(form)) : form.toString();
  const asked = request(url, {
    method: 'POST',
    // A connection of its own; verified, whatever the environment says.
    agent: new Agent({ secureContext: context, rejectUnauthorized: true }),
    signal: AbortSignal.any([signal, late]),
    headers: {
      accept: 'application/json',
      'content-type': isJson ? 'application/json' : 'application/x-www-form-urlencoded',
      'content-length': Buffer.byteLength(content),
      ...(authorization === null ? {} : { authorization }),
    },
  });
  try {
    asked.end(content);
    const answer = await answerTo(asked);
    const { statusCode: status = 0 } = answer;
    return { status, body: objectIn(await contentOf(answer), status) };
  } catch (error) {
    if (late.aborted) throw unavailable(`took more than ${timeoutMs} ms`);
    throw error instanceof SallyportError
      ? error
      : unavailable(`cannot be asked: ${wordOf(error)}`);
  } finally {
    asked.destroy();
  }
}

/** What went wrong with a token endpoint, without a byte of its own. */
export function unavailable(why: string): SallyportError {
  return new SallyportError('SALLYPORT_CREDENTIAL_UNAVAILABLE', `the token endpoint ${why}`);
}

function answerTo(asked: ClientRequest): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  asked.on('error', reject); // Stays: a later failure shows in the answer's content.
  asked.once('response', resolve);
  return promise;
}

async function contentOf(answer: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of answer as AsyncIterable<Buffer>) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes > OAUTH_ANSWER_BYTES_MAX) {
      throw unavailable(`answered with more than ${OAUTH_ANSWER_BYTES_MAX} bytes`);
    }
  }
  return Buffer.concat(pieces).toString();
}

function objectIn(text: string, status: number): TokenAnswer['body'] {
  let parsed: unknown = null;
  try {
    parsed = JSON.parse(text);
  } catch {
    // The parser's message would quote the text.
  }
  if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) {
    return parsed as TokenAnswer['body'];
  }
  throw unavailable(`answered ${status} without a JSON object`);
}

/** The system's or OpenSSL's word, such as ECONNREFUSED or CERT_HAS_EXPIRED. */
function wordOf(error: unknown): string {
  const first = error instanceof AggregateError ? error.errors[0] : error;
  return first instanceof Error && 'code' in first ? String(first.code) : 'failed';
}
