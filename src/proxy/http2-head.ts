// The head of an HTTP/2 request (RFC 9113 section 8.3) in the words of HTTP/1.1, so that one pipeline
// serves both. nghttp2 has refused much already; what could become a second request or another
// destination when written as HTTP/1.1 is refused here again, by us.
import { randomBytes } from 'node:crypto';
import { SallyportError } from '../base/errors.ts';
import { FIELDS_MAX, HEAD_BYTES_MAX, TARGET_BYTES_MAX } from '../base/limits.ts';
import type { RequestHead } from './head.ts';
import { isDigits, isToken, isValue, TARGET } from './syntax.ts';

/** Fields that speak of a connection (RFC 9113 section 8.2.2); a request with one is malformed. */
const CONNECTION_FIELDS: ReadonlySet<string> = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
]);

const PSEUDO: ReadonlySet<string> = new Set([
  ':method',
  ':scheme',
  ':authority',
  ':path',
  ':protocol',
]);

export type Http2Head = RequestHead & {
  /** Of an extended CONNECT (RFC 8441): the key we made, since HTTP/2 sends none. */
  readonly webSocketKey: string | null;
};

/**
 * Reads a head.
 *
 * @param raw  flat name, value, in the order they came.
 * @throws SALLYPORT_REQUEST_MALFORMED, SALLYPORT_TARGET_INVALID, SALLYPORT_HEAD_TOO_LARGE,
 *   SALLYPORT_URI_TOO_LONG
 */
export function readHttp2Head(raw: readonly string[]): Http2Head {
  if (raw.length / 2 > FIELDS_MAX) throw tooLarge();
  const pseudo = new Map<string, string>();
  const fields: string[] = [];
  const cookies: string[] = [];
  let bytes = 0;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const value = raw[i + 1] ?? '';
    bytes += name.length + value.length + 32; // RFC 9113 section 6.5.2.
    if (bytes > HEAD_BYTES_MAX) throw tooLarge();
    if (name.startsWith(':')) addPseudo(pseudo, name, value, fields);
    else if (name === 'cookie') cookies.push(value);
    else addField(fields, name, value);
  }
  // RFC 9113 section 8.2.3: crumbs are one field again for those who do not speak HTTP/2.
  if (cookies.length > 0) addField(fields, 'cookie', cookies.join('; '));
  return headOf(pseudo, fields, bytes);
}

function addPseudo(
  pseudo: Map<string, string>,
  name: string,
  value: string,
  fields: readonly string[],
): void {
  if (!PSEUDO.has(name)) throw malformed('a pseudo-field that no request has');
  if (pseudo.has(name)) throw malformed(`${name} stands there twice`);
  if (fields.length > 0) throw malformed('a pseudo-field behind a field');
  pseudo.set(name, value);
}

function addField(fields: string[], name: string, value: string): void {
  if (!isToken(name) || name !== name.toLowerCase()) throw malformed('a field name is not valid');
  if (CONNECTION_FIELDS.has(name)) throw malformed(`${name} has no place in HTTP/2`);
  if (!isValue(value) || value.trim() !== value)
    throw malformed(`the value of ${name} is not valid`);
  if (name === 'te' && value !== 'trailers') throw malformed('te may only say trailers');
  fields.push(name, value);
}

function headOf(
  pseudo: ReadonlyMap<string, string>,
  fields: string[],
  headBytes: number,
): Http2Head {
  const { method, webSocket } = methodOf(pseudo);
  const authority = authorityOf(pseudo, fields);
  const webSocketKey = webSocket ? randomBytes(16).toString('base64') : null;
  if (webSocketKey !== null) fields.push('sec-websocket-key', webSocketKey);
  return {
    method: webSocket ? 'GET' : method,
    target: pathOf(pseudo.get(':path')),
    version: 11,
    fields,
    headBytes,
    host: authority,
    contentLength: webSocket ? null : contentLengthOf(fields),
    chunked: false,
    connectionTokens: [],
    keepAlive: true,
    upgrade: webSocket ? 'websocket' : null,
    expectContinue: oneOf(fields, 'expect')?.toLowerCase() === '100-continue',
    proxyAuthorization: null,
    teTrailers: oneOf(fields, 'te') !== null,
    webSocketKey,
  };
}

/** An extended CONNECT for a WebSocket (RFC 8441) is the only CONNECT. */
function methodOf(pseudo: ReadonlyMap<string, string>): { method: string; webSocket: boolean } {
  const method = pseudo.get(':method') ?? '';
  const protocol = pseudo.get(':protocol');
  const webSocket = method === 'CONNECT' && protocol === 'websocket';
  if (!isToken(method)) throw malformed('the method is not valid');
  if (protocol !== undefined && !webSocket)
    throw invalid('only websocket is opened this way (RFC 8441)');
  if (method === 'CONNECT' && !webSocket) throw invalid('CONNECT has no place inside a tunnel');
  return { method, webSocket };
}

function authorityOf(pseudo: ReadonlyMap<string, string>, fields: readonly string[]): string {
  if (pseudo.get(':scheme') !== 'https') throw invalid('the scheme must be https');
  const host = oneOf(fields, 'host');
  const authority = pseudo.get(':authority') ?? host;
  if (authority === null || (host !== null && host !== authority)) {
    throw malformed(':authority is missing, or Host names somebody else');
  }
  return authority;
}

function pathOf(path: string | undefined): string {
  if (path === undefined || path === '') throw malformed(':path is missing');
  if (path.length > TARGET_BYTES_MAX) {
    throw new SallyportError('SALLYPORT_URI_TOO_LONG', ':path is too long');
  }
  if (path !== '*' && !path.startsWith('/')) throw invalid(':path must begin with a slash');
  for (let i = 0; i < path.length; i++) {
    if (TARGET[path.charCodeAt(i)] !== 1) throw invalid(':path holds a byte that no URI may');
  }
  return path;
}

function contentLengthOf(fields: readonly string[]): number | null {
  const text = oneOf(fields, 'content-length');
  if (text === null) return null;
  const length = Number(text);
  if (!isDigits(text) || !Number.isSafeInteger(length))
    throw malformed('content-length is no length');
  return length;
}

/** @throws SALLYPORT_REQUEST_MALFORMED when it stands there twice. */
function oneOf(fields: readonly string[], name: string): string | null {
  let found: string | null = null;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== name) continue;
    if (found !== null) throw malformed(`${name} stands there twice`);
    found = fields[i + 1] ?? '';
  }
  return found;
}

function malformed(message: string): SallyportError {
  return new SallyportError('SALLYPORT_REQUEST_MALFORMED', message);
}

function invalid(message: string): SallyportError {
  return new SallyportError('SALLYPORT_TARGET_INVALID', message);
}

function tooLarge(): SallyportError {
  return new SallyportError(
    'SALLYPORT_HEAD_TOO_LARGE',
    'the head has too many fields, or too long ones',
  );
}
