// Phase 4 of 5: a way to the destination. Only a permit opens one, and only to the addresses that
// the permit carries; no name is resolved here.
import { connect, type NetConnectOpts, type OnReadOpts, type Socket } from 'node:net';
import { Pool } from 'undici';
import { SallyportError } from '../base/errors.ts';
import {
  ATTEMPT_DELAY_MS,
  BODY_IDLE_TIMEOUT_MS,
  CONNECT_TIMEOUT_MS,
  HEAD_BYTES_MAX,
  POOL_CONNECTIONS_MAX,
  POOL_IDLE_MS,
  POOLS_PER_WORKER_MAX,
  RESPONSE_HEAD_TIMEOUT_MS,
} from '../base/limits.ts';
import { type Address, parseAddress } from '../policy/address.ts';
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

/** Kept connections to one permit's addresses. */
export type Upstream = {
  readonly pool: Pool;
  /** The address that was connected to last; the first to try while there is none. */
  address: Address | null;
};

/** The worker's upstream HTTP connections: a bounded number of pools, one per set of addresses. */
export class Upstreams {
  readonly #upstreams = new Map<string, Upstream>();

  /** @returns the pool whose connections all lead to this permit's addresses. */
  towards(permit: Permit): Upstream {
    const key = permit.poolKey;
    const known = this.#upstreams.get(key);
    if (known !== undefined) return known;
    if (this.#upstreams.size >= POOLS_PER_WORKER_MAX) this.#closeOldest();
    const upstream = open(permit);
    this.#upstreams.set(key, upstream);
    const { pool } = upstream;
    const forget = (): void => {
      if (pool.stats.connected > 0 || pool.stats.size > 0) return;
      if (this.#upstreams.get(key) !== upstream) return;
      this.#upstreams.delete(key);
      void pool.close();
    };
    pool.on('disconnect', forget);
    pool.on('connectionError', forget);
    return upstream;
  }

  /** How many pools are held. */
  get size(): number {
    return this.#upstreams.size;
  }

  /** Ends all connections; what runs on them fails. */
  async destroy(): Promise<void> {
    const upstreams = [...this.#upstreams.values()];
    this.#upstreams.clear();
    await Promise.all(upstreams.map(({ pool }) => pool.destroy()));
  }

  #closeOldest(): void {
    const oldest = this.#upstreams.entries().next();
    if (oldest.done) return;
    this.#upstreams.delete(oldest.value[0]);
    void oldest.value[1].pool.close(); // What is under way on it finishes first.
  }
}

function open(permit: Permit): Upstream {
  const { host, port } = permit.target;
  const pool = new Pool(`http://${host.includes(':') ? `[${host}]` : host}:${port}`, {
    connections: POOL_CONNECTIONS_MAX,
    pipelining: 1,
    keepAliveTimeout: POOL_IDLE_MS,
    keepAliveMaxTimeout: POOL_IDLE_MS,
    headersTimeout: RESPONSE_HEAD_TIMEOUT_MS,
    bodyTimeout: BODY_IDLE_TIMEOUT_MS,
    maxHeaderSize: HEAD_BYTES_MAX,
    connect: (_options, done) => {
      dial(permit).connected.then(
        (socket) => {
          upstream.address = parseAddress(socket.remoteAddress ?? '');
          done(null, socket);
        },
        (error: Error) => done(error, null),
      );
    },
  });
  const upstream: Upstream = { pool, address: permit.addresses[0] ?? null };
  return upstream;
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
