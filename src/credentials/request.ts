// One request of the daemon's own, to a server that its user named: over verified TLS where it is
// TLS, bounded in time and size, never sent again and never sent elsewhere. What fails is told
// without a byte of what was sent or answered.
import {
  type Agent,
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as requestPlain,
} from 'node:http';
import { request as requestTls } from 'node:https';

export type OwnRequest = {
  /** Of http or https. */
  readonly url: string;
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  /** Absent: none. */
  readonly content?: string;
};

export type RequestOptions = {
  /** Holds what is trusted; for https it must verify. */
  readonly agent: Agent;
  /** Gives up; the request fails. */
  readonly signal: AbortSignal;
  /** From the name's look-up to the last byte. */
  readonly timeoutMs: number;
  /** Of the answer's content. */
  readonly bytesMax: number;
};

/** A redirection is an answer like any other: nothing goes to where it points. */
export type OwnAnswer = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly content: string;
};

/** Why there is no answer; the message goes on after the server's name: "took more than 5 ms". */
export class RequestError extends Error {
  override readonly name = 'RequestError';
}

/** @throws RequestError */
export async function requestOnce(
  { url, method, headers, content }: OwnRequest,
  { agent, signal, timeoutMs, bytesMax }: RequestOptions,
): Promise<OwnAnswer> {
  const late = AbortSignal.timeout(timeoutMs);
  const send = new URL(url).protocol === 'https:' ? requestTls : requestPlain;
  const length = content === undefined ? {} : { 'content-length': Buffer.byteLength(content) };
  const asked = send(url, {
    method,
    agent,
    signal: AbortSignal.any([signal, late]),
    headers: { ...headers, ...length },
  });
  let isWhole = false;
  try {
    asked.end(content);
    const answer = await answerTo(asked);
    const text = await contentOf(answer, bytesMax);
    isWhole = true;
    return { status: answer.statusCode ?? 0, headers: answer.headers, content: text };
  } catch (error) {
    if (late.aborted) throw new RequestError(`took more than ${timeoutMs} ms`);
    throw error instanceof RequestError
      ? error
      : new RequestError(`cannot be asked: ${wordOf(error)}`);
  } finally {
    if (!isWhole) asked.destroy(); // The connection may serve the next one otherwise.
  }
}

function answerTo(asked: ClientRequest): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  asked.on('error', reject); // Stays: a later failure shows in the answer's content.
  asked.once('response', resolve);
  return promise;
}

async function contentOf(answer: IncomingMessage, bytesMax: number): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of answer as AsyncIterable<Buffer>) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes > bytesMax) throw new RequestError(`answered with more than ${bytesMax} bytes`);
  }
  return Buffer.concat(pieces).toString();
}

/** The system's or OpenSSL's word, such as ECONNREFUSED or CERT_HAS_EXPIRED. */
function wordOf(error: unknown): string {
  const first = error instanceof AggregateError ? error.errors[0] : error;
  return first instanceof Error && 'code' in first ? String(first.code) : 'failed';
}
