// One question to an OAuth token endpoint (RFC 6749 section 3.2): over verified TLS, bounded in time
// and size, never sent again and never sent elsewhere. What fails is told without a byte of what was
// sent or answered.
import { Agent } from 'node:https';
import type { SecureContext } from 'node:tls';
import { SallyportError } from '../base/errors.ts';
import { OAUTH_ANSWER_BYTES_MAX, OAUTH_TIMEOUT_MS } from '../base/limits.ts';
import { type OwnAnswer, RequestError, requestOnce } from './request.ts';

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
  const isJson = format === 'json';
  const content = isJson ? JSON.stringify(Object.fromEntries(form)) : form.toString();
  // A connection of its own; verified, whatever the environment says.
  const agent = new Agent({ secureContext: context, rejectUnauthorized: true });
  const headers = {
    accept: 'application/json',
    'content-type': isJson ? 'application/json' : 'application/x-www-form-urlencoded',
    ...(authorization === null ? {} : { authorization }),
  };
  try {
    const answer = await requestOnce(
      { url, method: 'POST', headers, content },
      { agent, signal, timeoutMs, bytesMax: OAUTH_ANSWER_BYTES_MAX },
    );
    return { status: answer.status, body: objectIn(answer) };
  } catch (error) {
    throw error instanceof RequestError ? unavailable(error.message) : error;
  } finally {
    agent.destroy();
  }
}

/** What went wrong with a token endpoint, without a byte of its own. */
export function unavailable(why: string): SallyportError {
  return new SallyportError('SALLYPORT_CREDENTIAL_UNAVAILABLE', `the token endpoint ${why}`);
}

function objectIn({ content, status }: OwnAnswer): TokenAnswer['body'] {
  let parsed: unknown = null;
  try {
    parsed = JSON.parse(content);
  } catch {
    // The parser's message would quote the text.
  }
  if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) {
    return parsed as TokenAnswer['body'];
  }
  throw unavailable(`answered ${status} without a JSON object`);
}
