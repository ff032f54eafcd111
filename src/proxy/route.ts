// Phase 4 of 5: a way to the destination. Only a permit opens one, and only to the addresses that
// the permit carries; no name is resolved here.
import { connect, type OnReadOpts, type Socket } from 'node:net';
import { SallyportError } from '../base/errors.ts';
import { ATTEMPT_DELAY_MS, CONNECT_TIMEOUT_MS } from '../base/limits.ts';
import type { Address } from '../policy/address.ts';
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
 * attempt that has not stood after a moment is joined by the next, and the first that stands is it.
 * Node's own autoSelectFamily gives the earlier attempt up, and so misses far or busy ends.
 *
 * @param onread  a read buffer of the caller's (net.Socket `onread`), for tunnels.
 */
export function dial(permit: Permit, onread?: OnReadOpts): Dialling {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const left = inTurn(permit.addresses);
  const trying = new Set<Socket>();
  let failure: Error | undefined;
  let next: NodeJS.Timeout | undefined;
  const timer = setTimeout(() => end(timeoutOf(permit)), CONNECT_TIMEOUT_MS);
  function attempt(): void {
    clearTimeout(next);
    const socket = connect({
      host: left.shift() ?? '',
      port: permit.target.port,
      allowHalfOpen: true,
      noDelay: true,
      ...(onread && { onread }),
    });
    trying.add(socket);
    const fail = (error: Error): void => {
      trying.delete(socket);
      failure ??= error;
      if (left.length > 0) attempt();
      else if (trying.size === 0) end(unreachable(permit, reasonOf(failure), failure));
    };
    socket.once('error', fail);
    socket.once('connect', () => {
      trying.delete(socket);
      socket.off('error', fail);
      stop();
      resolve(socket);
    });
    if (left.length > 0) next = setTimeout(attempt, ATTEMPT_DELAY_MS);
  }
  function stop(): void {
    clearTimeout(timer);
    clearTimeout(next);
    left.length = 0;
    for (const socket of trying) {
      socket.removeAllListeners('error').on('error', () => {}); // Nobody waits for it any more.
      socket.destroy();
    }
  }
  function end(error: SallyportError): void {
    stop();
    reject(error);
  }
  attempt();
  return {
    connected: promise,
    cancel: () => end(unreachable(permit, 'the client went away')),
  };
}

/** The family of the first address, the other, and so on; each in its own order. */
function inTurn(addresses: readonly Address[]): Address[] {
  const [first] = addresses;
  if (addresses.length < 2 || first === undefined) return [...addresses];
  const isLike = (address: Address): boolean => address.includes(':') === first.includes(':');
  const like = addresses.filter(isLike);
  const unlike = addresses.filter((address) => !isLike(address));
  const turns = Array.from({ length: Math.max(like.length, unlike.length) }, (_, i) => i);
  return turns.flatMap((i) => [...like.slice(i, i + 1), ...unlike.slice(i, i + 1)]);
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
  return 'code' in error ? String(error.code) : 'failed';
}
