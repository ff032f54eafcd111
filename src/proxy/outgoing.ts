// A request as it goes upstream: with the credentials that are bound to its destination, in fields,
// query, and text content. Such content is gathered first, within a bound, since its length changes;
// what is longer, coded, or no text streams on as it came.
import { Readable } from 'node:stream';
import { SallyportError } from '../base/errors.ts';
import { Gathering } from '../base/gathering.ts';
import { SUBSTITUTED_CONTENT_BYTES_MAX } from '../base/limits.ts';
import type { Credentialed, CredentialRequest, Credentials } from '../credentials/inject.ts';
import type { Received } from './exchange.ts';

/** Where a request goes, and for whom. */
export type Destination = Pick<CredentialRequest, 'scope' | 'host' | 'port' | 'secure' | 'except'>;

export type Outgoing = Credentialed & { readonly content: Received['content'] };

/** Methods whose answer is the request as it came; IIS has a name of its own for TRACE. */
const ECHOING = /^trac[ek]$/i;

/**
 * Puts in what is bound to the destination.
 *
 * @param fields  that would go without it, flat name, value.
 * @throws SALLYPORT_CREDENTIAL_ECHOED where the answer would tell it, what Credentials.apply throws,
 *   and what was wrong with the client's content.
 */
export function outgoing(
  received: Received,
  fields: string[],
  path: string,
  destination: Destination,
  credentials: Credentials,
): Outgoing | Promise<Outgoing> {
  const { scope, host, port } = destination;
  if (ECHOING.test(received.head.method) && credentials.boundTo(scope, host, port).length > 0) {
    // RFC 9110 section 9.3.8: no such request carries credentials.
    throw new SallyportError(
      'SALLYPORT_CREDENTIAL_ECHOED',
      `${host} would send back the credential that is bound to it`,
    );
  }
  const applied = credentials.apply({ ...destination, fields, path });
  return credentials.searchesContent(scope, host, port)
    ? fill(received, applied, destination, credentials)
    : { ...applied, content: received.content };
}

async function fill(
  received: Received,
  applied: Credentialed,
  destination: Destination,
  credentials: Credentials,
): Promise<Outgoing> {
  const { content, mediaType } = await gatherText(received);
  const filled =
    mediaType === null ? null : credentials.applyToContent(destination, content, mediaType);
  if (filled === null) return { ...applied, content };
  return {
    path: applied.path,
    fields: withLength(applied.fields, filled.content.length),
    injected: [...new Set([...applied.injected, ...filled.injected])],
    content: filled.content,
  };
}

type Gathered =
  | { readonly content: Buffer; readonly mediaType: string }
  | { readonly content: Received['content']; readonly mediaType: null };

/**
 * Gathers what a client sends, when it is text of a kind that a placeholder can stand in.
 *
 * @returns all of it, with its media type; or a stream of the same bytes that nobody has looked at.
 */
async function gatherText({ client, head, content, reply }: Received): Promise<Gathered> {
  const mediaType = mediaTypeOf(head.fields);
  const isLong = (head.contentLength ?? 0) > SUBSTITUTED_CONTENT_BYTES_MAX;
  if (content === null || mediaType === null || isLong) return { content, mediaType: null };
  if (Buffer.isBuffer(content)) return { content, mediaType };
  if (head.expectContinue && !client.contentDone) reply.interim(100, '');
  const gathering = new Gathering();
  const source = content.iterator({ destroyOnReturn: false });
  for await (const chunk of source) {
    gathering.add(chunk);
    if (gathering.length > SUBSTITUTED_CONTENT_BYTES_MAX) {
      return { content: Readable.from(both(gathering.bytes(), content)), mediaType: null };
    }
  }
  return { content: gathering.bytes(), mediaType };
}

async function* both(first: Buffer, rest: Readable): AsyncGenerator<Buffer> {
  yield first;
  yield* rest;
}

const TEXTS =
  /^(?:text\/|application\/(?:[\w.+-]+\+)?json$|application\/x-www-form-urlencoded$|multipart\/form-data$)/;

/** @returns the media type (RFC 9110 section 8.3.1) of text without a content coding, else null */
function mediaTypeOf(fields: readonly string[]): string | null {
  let mediaType: string | null = null;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i]?.toLowerCase();
    if (name === 'content-encoding') return null;
    if (name === 'content-type')
      mediaType = fields[i + 1]?.split(';', 1)[0]?.trim().toLowerCase() ?? null;
  }
  return mediaType !== null && TEXTS.test(mediaType) ? mediaType : null;
}

/** Fields for content of another length. @param fields  flat name, value */
function withLength(fields: readonly string[], bytes: number): string[] {
  const framed: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (fields[i]?.toLowerCase() === 'content-length') continue;
    framed.push(fields[i] ?? '', fields[i + 1] ?? '');
  }
  return [...framed, 'content-length', String(bytes)];
}
