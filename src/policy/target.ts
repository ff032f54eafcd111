// Where a connection leads, as people write it when they ask what the policy would say.
import { SallyportError } from '../base/errors.ts';
import { type Address, parseAddress } from './address.ts';
import { type Host, parseHost, shown } from './host.ts';
import { splitPort } from './resource.ts';

export type CheckTarget = {
  readonly host: Host | Address;
  readonly port: number;
  /** Path and query of a URL that has any, else null. */
  readonly path: string | null;
};

/**
 * Reads what `policy check` is asked about: host, host:port, an address, or a URL. Without a port
 * it is 443, for a URL that of its scheme.
 *
 * @throws SALLYPORT_TARGET_INVALID
 */
export function parseTarget(text: string): CheckTarget {
  const url = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^#]*)/i.exec(text.trim());
  const authority = url?.[2]?.replace(/^.*@/, '') ?? text.trim();
  // URL parsers take a backslash for a slash, or not; then `http://a\\@b` has two hosts.
  if (text.includes('\\')) throw badTarget(text, 'a backslash has no place in it');
  const bare = parseAddress(authority);
  const { host, port } = bare === null ? splitPort(authority) : { host: bare, port: 0 };
  if (typeof port === 'string') throw badTarget(text, port);
  return {
    host: bare ?? parseHost(host),
    port: port === 0 ? defaultPort(text, url?.[1]) : port,
    path: pathOf(text, url?.[3] ?? ''),
  };
}

/** As a client would send it: no byte that a URI has none of (RFC 3986). */
function pathOf(text: string, rest: string): string | null {
  if (rest === '') return null;
  if (!/^[\x21-\x7e]+$/.test(rest)) throw badTarget(text, 'its path needs percent-encoding');
  return rest.startsWith('/') ? rest : `/${rest}`;
}

const SCHEME_PORTS: Readonly<Record<string, number>> = { http: 80, https: 443, ws: 80, wss: 443 };

function defaultPort(text: string, scheme: string | undefined): number {
  if (scheme === undefined) return 443;
  const port = SCHEME_PORTS[scheme.toLowerCase()];
  if (port === undefined) throw badTarget(text, `${scheme} has no port of its own here; write one`);
  return port;
}

function badTarget(text: string, why: string): SallyportError {
  return new SallyportError('SALLYPORT_TARGET_INVALID', `${shown(text)} is not a target: ${why}`);
}
