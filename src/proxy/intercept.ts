// Where a CONNECT is not relayed blind: the proxy answers it, reads the ClientHello, speaks TLS in the
// destination's name, and hands each request inside to the pipeline, where it is judged on its own.
import type { Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';
import { SallyportError } from '../base/errors.ts';
import { CLIENT_HELLO_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS } from '../base/limits.ts';
import { type ClientHello, readClientHello } from '../tls/client-hello.ts';
import { Connection, type Held } from './accept.ts';
import type { Inside, Serve } from './exchange.ts';
import { Http2Connection } from './http2-accept.ts';
import type { Origin } from './identify.ts';
import { clientClosed } from './relay.ts';
import { alertFor, checkName } from './server-name.ts';
import type { Tick } from './tunnel.ts';

export type Interceptor = {
  /** TLS in the name of a host, under the proxy's authority. */
  readonly contextFor: (host: string) => SecureContext;
  /** The worker watches over the connection inside as over those outside. */
  readonly hold: (connection: Held) => void;
  readonly serve: Serve;
  readonly tick: Tick;
};

/**
 * Serves what comes through a tunnel that was answered with 200.
 *
 * @param early  bytes that came behind the CONNECT.
 * @returns when the tunnel is closed.
 * @throws SALLYPORT_TLS_HELLO_INVALID, SALLYPORT_TLS_NAME_MISMATCH, SALLYPORT_TLS_HANDSHAKE_FAILED;
 *   the tunnel is closed then.
 */
export async function intercept(
  socket: Socket,
  early: Buffer,
  origin: Origin,
  inside: Inside,
  interceptor: Interceptor,
): Promise<void> {
  const { tick, serve, hold } = interceptor;
  try {
    const hello = await peek(socket, early);
    checkName(hello, inside.host);
    const secure = await handshake(socket, hello, interceptor.contextFor(inside.host));
    const closed = new Promise<void>((resolve) => secure.once('close', () => resolve()));
    hold(
      secure.alpnProtocol === 'h2'
        ? new Http2Connection(secure, origin, serve, tick, inside)
        : new Connection(secure, origin, serve, tick, inside),
    );
    await closed;
  } catch (error) {
    const alert = alertFor(error);
    if (alert !== null) socket.end(alert);
    socket.destroySoon();
    throw error;
  }
}

/** Reads the ClientHello and puts its bytes back. */
function peek(socket: Socket, early: Buffer): Promise<ClientHello> {
  const { promise, resolve, reject } = Promise.withResolvers<ClientHello>();
  let bytes = early;
  const timer = setTimeout(() => end(invalid('none came in time')), CLIENT_HELLO_TIMEOUT_MS);
  const onClose = (): void => end(bytes.length === 0 ? clientClosed() : invalid('the client left'));
  const onData = (chunk: Buffer): void => {
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    look();
  };
  function end(outcome: ClientHello | Error): void {
    clearTimeout(timer);
    socket.pause();
    socket.off('data', onData).off('end', onClose).off('close', onClose);
    if (outcome instanceof Error) {
      reject(outcome);
      return;
    }
    socket.unshift(bytes);
    resolve(outcome);
  }
  function look(): void {
    try {
      const hello = bytes.length === 0 ? null : readClientHello(bytes);
      if (hello !== null) end(hello);
    } catch (error) {
      end(error instanceof Error ? error : invalid(String(error)));
    }
  }
  socket.on('data', onData).on('end', onClose).on('close', onClose);
  socket.resume(); // Not before the next tick, so what came early is looked at first.
  look();
  return promise;
}

function handshake(
  socket: Socket,
  { alpn }: ClientHello,
  secureContext: SecureContext,
): Promise<TLSSocket> {
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const secure = new TLSSocket(socket, {
    isServer: true,
    secureContext,
    // One that the client did not offer would be refused by it; without ALPN it speaks HTTP/1.1.
    ...(alpn.length > 0 && { ALPNProtocols: ['h2', 'http/1.1'] }),
  });
  const timer = setTimeout(() => fail(new Error('it took too long')), HANDSHAKE_TIMEOUT_MS);
  const fail = (error?: Error): void => {
    clearTimeout(timer);
    secure.destroy();
    reject(
      new SallyportError(
        'SALLYPORT_TLS_HANDSHAKE_FAILED',
        `the client broke off the TLS handshake${reasonOf(error)}`,
        { cause: error },
      ),
    );
  };
  const onClose = (): void => fail();
  secure.on('error', fail);
  secure.on('_tlsError', fail); // Where Node says it for the server's side before 'secure'.
  secure.once('end', onClose).once('close', onClose);
  secure.once('secure', () => {
    clearTimeout(timer);
    secure.off('error', fail).off('_tlsError', fail).off('end', onClose).off('close', onClose);
    secure.on('error', () => {}); // 'close' follows and says it all.
    // What tls.Server does at this point; node:http2 waits for it.
    Object.assign(secure, { secureConnecting: false });
    resolve(secure);
  });
  return promise;
}

/** OpenSSL's code, such as ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: the client does not trust our authority. */
function reasonOf(error: Error | undefined): string {
  return error !== undefined && 'code' in error ? `: ${String(error.code)}` : '';
}

function invalid(why: string): SallyportError {
  return new SallyportError('SALLYPORT_TLS_HELLO_INVALID', `no ClientHello: ${why}`);
}
