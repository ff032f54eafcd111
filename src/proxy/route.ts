// Phase 4 of 5: a way to the destination. Only a permit opens one, and only to the addresses that
// the permit carries; no name is resolved here.
import { connect, type OnReadOpts, type Socket } from 'node:net';
import { Pool } from 'undici';
import { SallyportError } from '../base/errors.ts';
import {
  ATTEMPT_DELAY_MS,
  BODY_IDLE_TIMEOUT_MS,
  CONNECT_TIMEOUT_MS,
  POOL_CONNECTIONS_MAX,
  POOL_IDLE_MS,
  POOLS_PER_WORKER_MAX,
  RESPONSE_HEAD_TIMEOUT_MS,
} from '../base/limits.ts';
import type { Permit } from './decide.ts';

/**
 * Opens a TCP connection to one of the permit's addresses, racing them as RFC 8305 does.
 *
 * @param onread  a read buffer of the caller's (net.Socket `onread`), for tunnels.
 * @returns a connected socket with both directions open; its `remoteAddress` is one of the permit's.
 * @throws SALLYPORT_UPSTREAM_UNREACHABLE, SALLYPORT_UPSTREAM_TIMEOUT
 */
export function dial(permit: Permit, signal: AbortSignal, onread?: OnReadOpts): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const [only, ...more] = permit.addresses;
  const pinned = permit.addresses.map((address) => ({
    address,
    family: address.includes(':') ? 6 : 4,
  }));
  const socket = connect({
    host: more.length === 0 && only !== undefined ? only : permit.target.host,
    port: permit.target.port,
    lookup: (_name, _options, answer) => answer(null, pinned),
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: ATTEMPT_DELAY_MS,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    ...(onread === undefined ? {} : { onread }),
  });
  const timer = setTimeout(() => end(timeoutOf(permit)), CONNECT_TIMEOUT_MS);
  const abandon = (): void => end(unreachable(permit, 'the client went away'));
  const fail = (error: Error): void => end(unreachable(permit, reasonOf(error), error));
  function settle(): void {
    clearTimeout(timer);
    signal.removeEventListener('abort', abandon);
    socket.off('error', fail);
  }
  function end(error: SallyportError): void {
    settle();
    socket.on('error', () => {}); // A late failure of a socket that nobody waits for.
    socket.destroy();
    reject(error);
  }
  socket.once('error', fail);
  socket.once('connect', () => {
    settle();
    resolve(socket);
  });
  if (signal.aborted) abandon();
  else signal.addEventListener('abort', abandon, { once: true });
  return promise;
}

/** The worker's upstream HTTP connections: a bounded number of pools, one per set of addresses. */
export class Upstreams {
  readonly #pools = new Map<string, Pool>();

  /** @returns the pool whose connections all lead to this permit's addresses. */
  poolFor(permit: Permit): Pool {
    const key = permit.poolKey;
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    if (this.#pools.size >= POOLS_PER_WORKER_MAX) this.#closeOldest();
    const pool = openPool(permit);
    this.#pools.set(key, pool);
    pool.on('disconnect', () => {
      if (pool.stats.connected === 0 && pool.stats.size === 0 && this.#pools.get(key) === pool) {
        this.#pools.delete(key);
        void pool.close();
      }
    });
    return pool;
  }

  /** Ends all connections; what runs on them fails. */
  async destroy(): Promise<void> {
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.all(pools.map((pool) => pool.destroy()));
  }

  #closeOldest(): void {
    const oldest = this.#pools.entries().next();
    if (oldest.done) return;
    this.#pools.delete(oldest.value[0]);
    void oldest.value[1].close(); // What is under way on it finishes first.
  }
}

function openPool(permit: Permit): Pool {
  const { host, port } = permit.target;
  const never = new AbortController().signal;
  return new Pool(`http://${host.includes(':') ? `[${host}]` : host}:${port}`, {
    connections: POOL_CONNECTIONS_MAX,
    pipelining: 1,
    keepAliveTimeout: POOL_IDLE_MS,
    keepAliveMaxTimeout: POOL_IDLE_MS,
    headersTimeout: RESPONSE_HEAD_TIMEOUT_MS,
    bodyTimeout: BODY_IDLE_TIMEOUT_MS,
    connect: (_options, done) => {
      dial(permit, never).then(
        (socket) => done(null, socket),
        (error: Error) => done(error, null),
      );
    },
  });
}

function timeoutOf(permit: Permit): SallyportError {
  const { host, port } = permit.target;
  return new SallyportError('SALLYPORT_UPSTREAM_TIMEOUT', `no connection to ${host}:${port} in time`);
}

function unreachable(permit: Permit, why: string, cause?: Error): SallyportError {
  const { host, port } = permit.target;
  return new SallyportError('SALLYPORT_UPSTREAM_UNREACHABLE', `no connection to ${host}:${port}: ${why}`, { cause });
}

/** The system's word for a failure (ECONNREFUSED); the message could name an inner address. */
function reasonOf(error: Error): string {
  const first = error instanceof AggregateError ? error.errors[0] : error;
  return first instanceof Error && 'code' in first ? String(first.code) : 'failed';
}
