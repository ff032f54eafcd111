// Phase 4 of 5: a way to the destination. Only a permit opens one, and only to the addresses that
// the permit carries; no name is resolved here.
import { connect, type NetConnectOpts, type OnReadOpts, type Socket } from 'node:net';
import { SallyportError } from '../base/errors.ts';
import { ATTEMPT_DELAY_MS, CONNECT_TIMEOUT_MS } from '../base/limits.ts';
import { formatHostPort } from '../policy/resource.ts';
import type { Permit } from './decide.ts';

/** A connection on its way. */
export type Dialling = {
  /**
   * A connected socket with both directions open; its far end is one of the permit's addresses.
   * Rejects with SALLYPORT_UPSTREAM_UNREACHABLE or SALLYPORT_UPSTREAM_TIMEOUT.
   */
  readonly connected: Promise<Socket>;
  /** Gives up; `connected` rejects. */
  readonly cancel: () => void;
};

/**
 * Opens a TCP connection to one of the permit's addresses, the families in turn (RFC 8305): an
 * attempt that has not stood after a moment gives way to the next.
 *
 * @param onread  a read buffer of the caller's (net.Socket `onread`), for tunnels.
 */
export function dial(permit: Permit, onread?: OnReadOpts): Dialling {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect(connectOptions(permit, onread));
  const timer = setTimeout(() => end(timeoutOf(permit)), CONNECT_TIMEOUT_MS);
  const fail = (error: Error): void => end(unreachable(permit, reasonOf(error), error));
  function end(error: SallyportError): void {
    clearTimeout(timer);
    socket.off('error', fail);
    socket.on('error', () => {}); // A late failure of a socket that nobody waits for.
    socket.destroy();
    reject(error);
  }
  socket.once('error', fail);
  socket.once('connect', () => {
    clearTimeout(timer);
    socket.off('error', fail);
    resolve(socket);
  });
  return {
    connected: promise,
    cancel: () => end(unreachable(permit, 'the client went away')),
  };
}

function connectOptions(permit: Permit, onread: OnReadOpts | undefined): NetConnectOpts {
  const { addresses, target } = permit;
  const common = {
    port: target.port,
    allowHalfOpen: true,
    noDelay: true,
    ...(onread && { onread }),
  };
  const [only, ...more] = addresses;
  if (only !== undefined && more.length === 0) return { ...common, host: only };
  const pinned = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
  return {
    ...common,
    host: target.host,
    lookup: (_name, _options, answer) => answer(null, pinned),
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: ATTEMPT_DELAY_MS,
  };
}

function timeoutOf(permit: Permit): SallyportError {
  const { host, port } = permit.target;
  return new SallyportError(
    'SALLYPORT_UPSTREAM_TIMEOUT',
    `no connection to ${formatHostPort(host, port)} in time`,
  );
}

function unreachable(permit: Permit, why: string, cause?: Error): SallyportError {
  const { host, port } = permit.target;
  return new SallyportError(
    'SALLYPORT_UPSTREAM_UNREACHABLE',
    `no connection to ${formatHostPort(host, port)}: ${why}`,
    { cause },
  );
}

/** The system's word for a failure (ECONNREFUSED); the message could name an inner address. */
function reasonOf(error: Error): string {
  const first = error instanceof AggregateError ? error.errors[0] : error;
  return first instanceof Error && 'code' in first ? String(first.code) : 'failed';
}
