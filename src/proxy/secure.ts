// TLS towards the destination: verified against the trusted authorities for the name that was
// judged, and never given up for less.
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { SallyportError } from '../base/errors.ts';
import { CONNECT_TIMEOUT_MS, TLS_SESSIONS_MAX } from '../base/limits.ts';
import type { ClientCertificates, KeyPair } from '../credentials/client-certificate.ts';
import { isAddress } from '../policy/address.ts';
import { formatHostPort } from '../policy/resource.ts';
import { systemAuthorities } from '../tls/roots.ts';
import type { Permit } from './decide.ts';
import { dial } from './route.ts';

/** Application protocols (RFC 7301) in the order we like them. */
export type Protocols = readonly ('h2' | 'http/1.1')[];

/** What a worker trusts, as whom it comes, and the sessions it may resume (RFC 8446 section 2.2). */
export class Trust {
  readonly #authorities: readonly string[];
  readonly #certificates: ClientCertificates | null;
  readonly #nobody: SecureContext;
  /** By the resource of their certificate; promises, so that none is fetched twice. */
  readonly #contexts = new Map<string, Promise<SecureContext>>();
  readonly #sessions = new Map<string, Buffer>();

  /** @param extra  PEM of authorities beside the system's. */
  constructor(extra: readonly string[], certificates: ClientCertificates | null = null) {
    this.#authorities = [...systemAuthorities(), ...extra];
    this.#certificates = certificates;
    this.#nobody = this.#contextOf(null);
  }

  /** As whom the proxy comes to a destination, and so what shares no connection; '' as nobody. */
  identityTowards(host: string, port: number): string {
    return this.#certificates?.towards(host, port) ?? '';
  }

  /**
   * A certificate is in no context but that of its own destinations.
   *
   * @throws SALLYPORT_CREDENTIAL_UNAVAILABLE when it cannot be had: then nobody is dialled.
   */
  async contextTowards(host: string, port: number): Promise<SecureContext> {
    const resource = this.#certificates?.towards(host, port) ?? null;
    if (resource === null || this.#certificates === null) return this.#nobody;
    const known = this.#contexts.get(resource);
    if (known !== undefined) return known;
    const made = this.#certificates.keyPairOf(resource).then((pair) => {
      if (pair !== null) return this.#contextOf(pair);
      const why = `the client certificate for ${resource} cannot be had`;
      throw new SallyportError('SALLYPORT_CREDENTIAL_UNAVAILABLE', why);
    });
    this.#contexts.set(resource, made);
    made.catch(() => this.#contexts.delete(resource));
    return made;
  }

  #contextOf(own: KeyPair | null): SecureContext {
    return createSecureContext({
      ca: [...this.#authorities],
      minVersion: 'TLSv1.2',
      ...(own !== null && { cert: own.chain, key: own.key }),
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
 * @throws SALLYPORT_UPSTREAM_UNREACHABLE, SALLYPORT_UPSTREAM_TIMEOUT, SALLYPORT_UPSTREAM_CERTIFICATE,
 *   SALLYPORT_CREDENTIAL_UNAVAILABLE
 */
export async function dialSecure(
  permit: Permit,
  protocols: Protocols,
  trust: Trust,
): Promise<TLSSocket> {
  const { host, port } = permit.target;
  const secureContext = await trust.contextTowards(host, port);
  const socket = await dial(permit).connected;
  // Sessions are per sandbox too, as pools are: resuming one tells the origin who was here before.
  const key = `${trust.identityTowards(host, port)} ${permit.poolKey} ${protocols.join(' ')}`;
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const secure = connect({
    socket,
    host,
    servername: isAddress(host) ? '' : host,
    secureContext,
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

/** Whether the far end said why it breaks off (RFC 8446 section 6.2), by OpenSSL's code for that. */
export function isAlert(code: string): boolean {
  return /^ERR_SSL_\w+_ALERT_/.test(code);
}

function explained(permit: Permit, error: Error): SallyportError {
  const word = 'code' in error ? String(error.code) : 'failed';
  const code = word === 'UNSPECIFIED' ? `${word} (${error.message})` : word; // A key that is too small.
  // An alert is the destination's word about us: it wants a client certificate, or another one.
  return CERTIFICATE.test(code) && !isAlert(code)
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
