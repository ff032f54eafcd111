// TLS towards the destination: verified against the trusted authorities for the name that was
// judged, and never given up for less.
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { SallyportError } from '../base/errors.ts';
import { CONNECT_TIMEOUT_MS, TLS_SESSIONS_MAX } from '../base/limits.ts';
import { isAddress } from '../policy/address.ts';
import { formatHostPort } from '../policy/resource.ts';
import { systemAuthorities } from '../tls/roots.ts';
import type { Permit } from './decide.ts';
import { dial } from './route.ts';

/** Application protocols (RFC 7301) in the order we like them. */
export type Protocols = readonly ('h2' | 'http/1.1')[];

/** What a worker trusts, and the sessions it may resume (RFC 8446 section 2.2). */
export class Trust {
  readonly context: SecureContext;
  readonly #sessions = new Map<string, Buffer>();

  /** @param extra  PEM of authorities beside the system's. */
  constructor(extra: readonly string[]) {
    this.context = createSecureContext({
      ca: [...systemAuthorities(), ...extra],
      minVersion: 'TLSv1.2',
    });
  }

  session(key: string): Buffer | undefined {
    return this.#sessions.get(key);
  }

  remember(key: string, session: Buffer): void {
    if (this.#sessions.size >= TLS_SESSIONS_MAX) this.#sessions.clear();
    this.#sessions.set(key, session);
  }
}

/**
 * Opens a TLS connection to one of the permit's addresses, for the permit's host.
 *
 * @throws SALLYPORT_UPSTREAM_UNREACHABLE, SALLYPORT_UPSTREAM_TIMEOUT, SALLYPORT_UPSTREAM_CERTIFICATE
 */
export async function dialSecure(
  permit: Permit,
  protocols: Protocols,
  trust: Trust,
): Promise<TLSSocket> {
  const socket = await dial(permit).connected;
  const { host } = permit.target;
  // Sessions are per sandbox too, as pools are: resuming one tells the origin who was here before.
  const key = `${permit.poolKey} ${protocols.join(' ')}`;
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const secure = connect({
    socket,
    host,
    servername: isAddress(host) ? '' : host,
    secureContext: trust.context,
    ALPNProtocols: [...protocols],
    session: trust.session(key),
  });
  const timer = setTimeout(() => {
    secure.destroy();
    reject(failed(permit, 'SALLYPORT_UPSTREAM_TIMEOUT', 'no TLS with % in time'));
  }, CONNECT_TIMEOUT_MS);
  const fail = (error: Error): void => {
    clearTimeout(timer);
    secure.destroy();
    reject(explained(permit, error));
  };
  secure.once('error', fail);
  secure.on('session', (session) => trust.remember(key, session));
  secure.once('secureConnect', () => {
    clearTimeout(timer);
    secure.off('error', fail);
    secure.on('error', () => {}); // 'close' follows and says it all to whoever uses it by then.
    resolve(secure);
  });
  return promise;
}

/** OpenSSL's and Node's words for a certificate that does not do; the rest is a TLS that failed. */
const CERTIFICATE =
  /CERT|ISSUER|KEY_TOO_SMALL|MD_TOO_WEAK|SIGNATURE|INVALID_CA|PATH_LENGTH|PURPOSE|UNSPECIFIED/;

function explained(permit: Permit, error: Error): SallyportError {
  const word = 'code' in error ? String(error.code) : 'failed';
  const code = word === 'UNSPECIFIED' ? `${word} (${error.message})` : word; // A key that is too small.
  return CERTIFICATE.test(code)
    ? failed(
        permit,
        'SALLYPORT_UPSTREAM_CERTIFICATE',
        `the certificate of % is refused: ${code}`,
        error,
      )
    : failed(permit, 'SALLYPORT_UPSTREAM_UNREACHABLE', `no TLS with %: ${code}`, error);
}

function failed(
  { target }: Permit,
  code:
    | 'SALLYPORT_UPSTREAM_CERTIFICATE'
    | 'SALLYPORT_UPSTREAM_UNREACHABLE'
    | 'SALLYPORT_UPSTREAM_TIMEOUT',
  message: string,
  cause?: Error,
): SallyportError {
  return new SallyportError(code, message.replace('%', formatHostPort(target.host, target.port)), {
    cause,
  });
}
