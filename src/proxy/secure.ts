// TLS towards the destination: verified against the trusted authorities for the name that was
// judged, and never given up for less.
import { X509Certificate } from 'node:crypto';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { SallyportError } from '../base/errors.ts';
import { CONNECT_TIMEOUT_MS, TLS_SESSION_MS_MAX, TLS_SESSIONS_MAX } from '../base/limits.ts';
import type { ClientCertificates, KeyPair } from '../credentials/client-certificate.ts';
import { isAddress } from '../policy/address.ts';
import { formatHostPort } from '../policy/resource.ts';
import { pemBlocks } from '../tls/authority.ts';
import { statusFault } from '../tls/ocsp.ts';
import { systemAuthorities } from '../tls/roots.ts';
import type { Permit } from './decide.ts';
import { dial } from './route.ts';

/** Application protocols (RFC 7301) in the order we like them. */
export type Protocols = readonly ('h2' | 'http/1.1')[];

/** A session, and until when the certificate that was seen with it counts. */
type Session = { readonly ticket: Buffer; readonly untilMs: number };

/** What a worker trusts, as whom it comes, and the sessions it may resume (RFC 8446 section 2.2). */
export class Trust {
  readonly #authorities: readonly string[];
  readonly #certificates: ClientCertificates | null;
  readonly #nobody: SecureContext;
  /** By the resource of their certificate; promises, so that none is fetched twice. */
  readonly #contexts = new Map<string, Promise<SecureContext>>();
  readonly #sessions = new Map<string, Session>();
  readonly #clock: Clock;

  /** @param extra  PEM of authorities beside the system's. */
  constructor(
    clock: Clock,
    extra: readonly string[],
    certificates: ClientCertificates | null = null,
  ) {
    this.#clock = clock;
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

  /** Sessions resume without a certificate: those whose certificate would no longer do are gone. */
  session(key: string): Session | undefined {
    const known = this.#sessions.get(key);
    if (known === undefined || known.untilMs > this.#clock.wallMs()) return known;
    this.#sessions.delete(key);
    return undefined;
  }

  remember(key: string, session: Session): void {
    if (this.#sessions.size >= TLS_SESSIONS_MAX) this.#sessions.clear();
    this.#sessions.set(key, session);
  }

  /**
   * Looks at what OpenSSL, which verified the certificate, does not.
   *
   * @param staple  the OCSP answer that came with it.
   * @returns until when sessions made with it may be resumed.
   * @throws an error whose code says what speaks against it
   */
  accept(secure: TLSSocket, staple: Buffer | null): number {
    const leaf = secure.getPeerX509Certificate();
    if (leaf === undefined) throw coded('CERT_MISSING');
    const nowMs = this.#clock.wallMs();
    const fault = statusFault(leaf, staple, () => this.#issuersFor(secure), nowMs);
    if (fault !== null) throw coded(fault);
    return Math.min(leaf.validToDate.getTime(), nowMs + TLS_SESSION_MS_MAX);
  }

  /** Those that came along, and all that are trusted. */
  #issuersFor(secure: TLSSocket): X509Certificate[] {
    const sent = secure.getPeerCertificate(true).issuerCertificate?.raw;
    const found = sent === undefined ? [] : [sent];
    const trusted = this.#authorities.flatMap(pemBlocks);
    return [...found, ...trusted].map((one) => new X509Certificate(one));
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
  const known = trust.session(key);
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const secure = connect({
    socket,
    host,
    servername: isAddress(host) ? '' : host,
    secureContext,
    ALPNProtocols: [...protocols],
    session: known?.ticket,
    requestOCSP: true,
    rejectUnauthorized: true, // Whatever the environment says.
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
  let staple: Buffer | null = null;
  let untilMs = known?.untilMs ?? 0;
  secure.once('error', fail);
  secure.once('OCSPResponse', (response: Buffer | null) => {
    staple = response;
  });
  secure.on('session', (ticket) => trust.remember(key, { ticket, untilMs }));
  secure.once('secureConnect', () => {
    try {
      if (!secure.isSessionReused()) untilMs = trust.accept(secure, staple);
    } catch (error) {
      return fail(error as Error);
    }
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

function coded(code: string): Error {
  return Object.assign(new Error(code), { code });
}

function explained(permit: Permit, error: Error): SallyportError {
  const word = 'code' in error ? String(error.code) : 'failed';
  const code = word === 'UNSPECIFIED' ? error.message : word; // A key that is too small, say.
  // An alert is the destination's word about us: it wants a client certificate, or another one.
  return CERTIFICATE.test(word) && !isAlert(word)
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
