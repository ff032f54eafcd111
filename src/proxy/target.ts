// The request target (RFC 9112 section 3.2) as a destination: whom the client wants, in the normal
// form that policy compares. The path is not rewritten: what is judged is what goes upstream.
import { type Code, SallyportError } from '../base/errors.ts';
import { HOST_BYTES_MAX } from '../base/limits.ts';
import type { Address } from '../policy/address.ts';
import { type Host, parseHost } from '../policy/host.ts';
import type { Ingress, Inside } from './exchange.ts';
import { hostField } from './fields.ts';
import type { RequestHead } from './head.ts';
import { isDigits, TARGET } from './syntax.ts';

export type RequestTarget = {
  readonly ingress: Ingress;
  readonly host: Host | Address;
  /** 1..65535 */
  readonly port: number;
  /** Path and query byte for byte, `*` for an OPTIONS of the whole server, '' for CONNECT. */
  readonly path: string;
  /** Value of Host for this target. */
  readonly hostField: string;
};

type Authority = {
  readonly host: Host | Address;
  /** null when none is written. */
  readonly port: number | null;
};

/** Authorities seen lately, by their spelling. A worker's requests go to few. */
export type AuthorityCache = Map<string, Authority>;

const AUTHORITIES_MAX = 1_024;
const AUTHORITY_BYTES_MAX = HOST_BYTES_MAX + 64; // Room for spellings that normalise to less.
const HTTP_PORT = 80;
const HTTPS_PORT = 443;
const SCHEME = 'http://';

/** @returns an empty cache; a caller that wants one keeps it for the worker's life. */
export function createAuthorityCache(): AuthorityCache {
  return new Map();
}

const shared = createAuthorityCache(); // Holds facts about spellings alone; nothing can go stale.

/**
 * Reads the target of a request and checks that Host agrees with it.
 *
 * @throws SALLYPORT_TARGET_INVALID, SALLYPORT_NOT_AN_ORIGIN for origin-form,
 *   SALLYPORT_REQUEST_MALFORMED when Host names somebody else (RFC 9112 section 3.2.2).
 */
export function parseRequestTarget(
  head: Pick<RequestHead, 'method' | 'target' | 'host'>,
  cache: AuthorityCache = shared,
): RequestTarget {
  return head.method === 'CONNECT' ? authorityForm(head, cache) : absoluteForm(head, cache);
}

/**
 * Reads the target of a request inside an intercepted tunnel: origin-form, for the tunnel's own host
 * and no other, whatever was right before on the same connection.
 *
 * @throws SALLYPORT_MISDIRECTED, SALLYPORT_TARGET_INVALID, SALLYPORT_REQUEST_MALFORMED
 */
export function parseInnerTarget(
  { method, target, host: field }: Asked,
  { host, port }: Pick<Inside, 'host' | 'port'>,
  cache: AuthorityCache = shared,
): RequestTarget {
  if (method === 'CONNECT') throw invalid('CONNECT has no place inside a tunnel');
  if (field !== null) {
    const claimed = readAuthority(field, cache, 'SALLYPORT_REQUEST_MALFORMED');
    if (claimed.host !== host || (claimed.port ?? HTTPS_PORT) !== port) {
      throw new SallyportError(
        'SALLYPORT_MISDIRECTED',
        'the request is for another host than the tunnel that it came through',
      );
    }
  }
  if (!target.startsWith('/') && target !== '*') {
    throw invalid('inside a tunnel the request target is a path');
  }
  const path = target === '*' ? target : pathOf(target, method);
  return { ingress: 'connect', host, port, path, hostField: hostField(host, port, HTTPS_PORT) };
}

type Asked = Pick<RequestHead, 'method' | 'target' | 'host'>;

/** RFC 9112 section 3.2.3: uri-host ":" port, both present. */
function authorityForm({ target, host: field }: Asked, cache: AuthorityCache): RequestTarget {
  const { host, port } = readAuthority(target, cache, 'SALLYPORT_TARGET_INVALID');
  if (port === null) throw invalid('CONNECT needs host:port, and the port is missing');
  if (field !== null && field !== target) {
    const claimed = readAuthority(field, cache, 'SALLYPORT_REQUEST_MALFORMED');
    // Clients leave out the port that their scheme implies, which CONNECT does not tell us.
    if (claimed.host !== host || (claimed.port !== null && claimed.port !== port))
      throw disagrees();
  }
  return { ingress: 'connect', host, port, path: '', hostField: hostField(host, port, HTTPS_PORT) };
}

/** RFC 9112 section 3.2.2. */
function absoluteForm(asked: Asked, cache: AuthorityCache): RequestTarget {
  const { target, host: field, method } = asked;
  if (!startsWithScheme(target)) throw notAbsolute(target);
  let end = SCHEME.length;
  while (end < target.length && !isAuthorityEnd(target.charCodeAt(end))) end++;
  const authority = target.slice(SCHEME.length, end);
  const { host, port: written } = readAuthority(authority, cache, 'SALLYPORT_TARGET_INVALID');
  const port = written ?? HTTP_PORT;
  if (field !== null && field !== authority) {
    const claimed = readAuthority(field, cache, 'SALLYPORT_REQUEST_MALFORMED');
    if (claimed.host !== host || (claimed.port ?? HTTP_PORT) !== port) throw disagrees();
  }
  const path = pathOf(target.slice(end), method);
  return { ingress: 'forward', host, port, path, hostField: hostField(host, port, HTTP_PORT) };
}

function startsWithScheme(target: string): boolean {
  return (
    target.startsWith(SCHEME) ||
    (target.charCodeAt(4) === 0x3a && target.slice(0, SCHEME.length).toLowerCase() === SCHEME)
  );
}

/** `/` or `?`; head.ts has refused `#` and `\`. */
function isAuthorityEnd(unit: number): boolean {
  return unit === 0x2f || unit === 0x3f;
}

function pathOf(rest: string, method: string): string {
  for (let i = 0; i < rest.length; i++) {
    if (TARGET[rest.charCodeAt(i)] !== 1) throw invalid('the path holds a byte that no URI may');
  }
  if (rest === '') return method === 'OPTIONS' ? '*' : '/'; // RFC 9112 section 3.2.4.
  return rest.startsWith('?') ? `/${rest}` : rest;
}

function notAbsolute(target: string): SallyportError {
  if (target.startsWith('/')) {
    return new SallyportError(
      'SALLYPORT_NOT_AN_ORIGIN',
      'the request was sent as if the proxy were the site (origin-form)',
    );
  }
  if (target === '*') return invalid('the asterisk-form has no host; send OPTIONS http://host');
  if (target.slice(0, 8).toLowerCase() === 'https://') {
    return invalid('https:// is not proxied in absolute-form; open it with CONNECT host:443');
  }
  return invalid('the request target is not an http:// URI in absolute-form');
}

/** @throws `code`, naming the part that is wrong. */
function readAuthority(text: string, cache: AuthorityCache, code: Code): Authority {
  const known = cache.get(text);
  if (known !== undefined) return known;
  if (text.length > AUTHORITY_BYTES_MAX) throw new SallyportError(code, 'the host is too long');
  // A copy: a slice would keep the whole head alive for as long as the cache keeps it.
  const spelling = Buffer.from(text, 'latin1').toString('latin1');
  const authority = splitAuthority(spelling, code);
  if (cache.size >= AUTHORITIES_MAX) cache.clear();
  cache.set(spelling, authority);
  return authority;
}

function splitAuthority(text: string, code: Code): Authority {
  if (text.includes('@')) throw new SallyportError(code, 'userinfo before the host is refused');
  const colon = text.lastIndexOf(':');
  const hasPort = colon > text.lastIndexOf(']') && colon >= 0;
  const uriHost = hasPort ? text.slice(0, colon) : text;
  if (uriHost === '') throw new SallyportError(code, 'the host is missing');
  if (uriHost.includes(':') && !uriHost.startsWith('[')) {
    throw new SallyportError(code, 'an IPv6 address is written in brackets');
  }
  const port = hasPort ? readPort(text.slice(colon + 1), code) : null;
  return { host: hostOf(uriHost, code), port };
}

/** Decimal, 1..65535, no sign, no leading zero: one spelling for one port. */
function readPort(text: string, code: Code): number {
  const port = Number(text);
  if (!isDigits(text) || text.length > 5 || text.startsWith('0') || port > 65_535) {
    throw new SallyportError(code, 'the port is not a number from 1 to 65535');
  }
  return port;
}

function hostOf(uriHost: string, code: Code): Host | Address {
  try {
    return parseHost(uriHost);
  } catch (error) {
    if (!(error instanceof SallyportError) || error.code === code) throw error;
    throw new SallyportError(code, 'Host does not name a valid host', { cause: error });
  }
}

function invalid(message: string): SallyportError {
  return new SallyportError('SALLYPORT_TARGET_INVALID', message);
}

function disagrees(): SallyportError {
  return new SallyportError(
    'SALLYPORT_REQUEST_MALFORMED',
    'Host names another destination than the request target',
  );
}
