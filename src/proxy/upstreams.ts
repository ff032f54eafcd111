// Phase 4 of 5 for requests: connections to origins, kept and used again. Each leads to one permit's
// addresses, for one sandbox: others never share it.
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type Dispatcher, Pool } from 'undici';
import {
  BODY_IDLE_TIMEOUT_MS,
  HEAD_BYTES_MAX,
  HTTP2_ORIGINS_MAX,
  HTTP2_UNKNOWN_MS,
  POOL_CONNECTIONS_MAX,
  POOL_IDLE_MS,
  POOLS_PER_WORKER_MAX,
  RESPONSE_HEAD_TIMEOUT_MS,
} from '../base/limits.ts';
import { type Address, parseAddress } from '../policy/address.ts';
import type { Permit } from './decide.ts';
import { hostField } from './fields.ts';
import { Http2Origin } from './http2-origin.ts';
import { dial } from './route.ts';
import { dialSecure, isAlert, type Trust } from './secure.ts';
import type { Tick } from './tunnel.ts';

/** A way to one origin. */
export type Upstream = {
  readonly dispatcher: Pick<Dispatcher, 'dispatch'>;
  /** The address that was connected to last; the first to try while there is none. */
  address: Address | null;
  /** The alert that the far end broke off with last; undici tells of a closed connection alone. */
  alert: string | null;
};

type Kept = Upstream & {
  readonly dispatcher: Pool;
  /** A connection that stands already, for the first request; the pool does not know of it. */
  spare: TLSSocket | null;
};
type Spoken = Upstream & { readonly dispatcher: Http2Origin };

/** The worker's upstream connections: a bounded number of pools, one per set of addresses. */
export class Upstreams {
  readonly #trust: Trust;
  readonly #tick: Tick;
  readonly #pools = new Map<string, Kept>();
  /** Connections of HTTP/2, on their way or there; null: this origin speaks HTTP/1.1 only. */
  readonly #http2 = new Map<string, Promise<Spoken | null>>();
  readonly #http1OnlyUntilMs = new Map<string, number>();

  constructor(trust: Trust, tick: Tick) {
    this.#trust = trust;
    this.#tick = tick;
  }

  /** @returns the pool whose connections, without TLS, all lead to this permit's addresses. */
  towards(permit: Permit): Upstream {
    return this.#pool(permit.poolKey, permit, null, null);
  }

  /**
   * The same over TLS.
   *
   * @param http2  whether the client speaks it; the origin is asked (RFC 7301) and its answer kept.
   * @throws SALLYPORT_UPSTREAM_UNREACHABLE, SALLYPORT_UPSTREAM_TIMEOUT, SALLYPORT_UPSTREAM_CERTIFICATE,
   *   SALLYPORT_CREDENTIAL_UNAVAILABLE
   */
  async secureTowards(permit: Permit, http2: boolean): Promise<Upstream> {
    // Some origins authenticate a connection: one with a certificate is for its destination alone.
    const { host, port } = permit.target;
    const key = `tls ${this.#trust.identityTowards(host, port)} ${permit.poolKey}`;
    if (http2 && !this.#speaksHttp1Only(key)) {
      const spoken = await this.#http2Towards(key, permit);
      if (spoken !== null) return spoken;
    }
    return this.#pool(key, permit, this.#trust, null);
  }

  /** How many are held. */
  get size(): number {
    return this.#pools.size + this.#http2.size;
  }

  /** Ends all connections; what runs on them fails. */
  async destroy(): Promise<void> {
    const pools = [...this.#pools.values()];
    const sessions = [...this.#http2.values()];
    this.#pools.clear();
    this.#http2.clear();
    for (const { spare } of pools) spare?.destroy();
    await Promise.all(pools.map(({ dispatcher }) => dispatcher.destroy()));
    for (const session of sessions) (await session.catch(() => null))?.dispatcher.destroy();
  }

  #speaksHttp1Only(key: string): boolean {
    return (this.#http1OnlyUntilMs.get(key) ?? 0) > this.#tick.nowMs;
  }

  /** Who comes while somebody dials waits for that connection. */
  async #http2Towards(key: string, permit: Permit): Promise<Spoken | null> {
    for (let known = this.#http2.get(key); known !== undefined; known = this.#http2.get(key)) {
      const spoken = await known;
      if (spoken === null || spoken.dispatcher.usable) return spoken;
      this.#forgetHttp2(key, known);
    }
    // Nothing is awaited from the look above on, or many would dial at once.
    if (this.#http2.size >= HTTP2_ORIGINS_MAX) void this.#closeOldestHttp2();
    const opened = this.#openHttp2(key, permit, () => this.#forgetHttp2(key, opened));
    this.#http2.set(key, opened);
    opened.catch(() => this.#forgetHttp2(key, opened));
    return opened;
  }

  /** Unless another has taken its place. */
  #forgetHttp2(key: string, known: Promise<Spoken | null>): void {
    if (this.#http2.get(key) === known) this.#http2.delete(key);
  }

  async #openHttp2(key: string, permit: Permit, forget: () => void): Promise<Spoken | null> {
    const socket = await dialSecure(permit, ['h2', 'http/1.1'], this.#trust);
    if (socket.alpnProtocol !== 'h2') {
      forget();
      if (this.#http1OnlyUntilMs.size >= HTTP2_ORIGINS_MAX) this.#http1OnlyUntilMs.clear();
      this.#http1OnlyUntilMs.set(key, this.#tick.nowMs + HTTP2_UNKNOWN_MS);
      this.#pool(key, permit, this.#trust, socket);
      return null;
    }
    const { host, port } = permit.target;
    const dispatcher = new Http2Origin(hostField(host, port, 443), socket, forget);
    const address = parseAddress(socket.remoteAddress ?? '');
    const spoken: Spoken = { dispatcher, address, alert: null };
    noteAlerts(socket, spoken);
    return spoken;
  }

  async #closeOldestHttp2(): Promise<void> {
    const oldest = this.#http2.entries().next();
    if (oldest.done) return;
    this.#http2.delete(oldest.value[0]);
    (await oldest.value[1].catch(() => null))?.dispatcher.close();
  }

  /** @param first  a connection that stands already, for the first request. */
  #pool(key: string, permit: Permit, trust: Trust | null, first: TLSSocket | null): Kept {
    const known = this.#pools.get(key);
    if (known !== undefined) {
      first?.destroy();
      return known;
    }
    if (this.#pools.size >= POOLS_PER_WORKER_MAX) this.#closeOldest();
    const kept = open(permit, trust, first);
    this.#pools.set(key, kept);
    const pool = kept.dispatcher;
    const forget = (): void => {
      if (pool.stats.connected > 0 || pool.stats.size > 0) return;
      if (this.#pools.get(key) !== kept) return;
      this.#pools.delete(key);
      void pool.close();
    };
    pool.on('disconnect', forget);
    pool.on('connectionError', forget);
    return kept;
  }

  #closeOldest(): void {
    const oldest = this.#pools.entries().next();
    if (oldest.done) return;
    this.#pools.delete(oldest.value[0]);
    const { dispatcher, spare } = oldest.value[1];
    spare?.destroy();
    void dispatcher.close(); // What is under way on it finishes first.
  }
}

function open(permit: Permit, trust: Trust | null, first: TLSSocket | null): Kept {
  const { host, port } = permit.target;
  const scheme = trust === null ? 'http' : 'https';
  const pool = new Pool(`${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`, {
    connections: POOL_CONNECTIONS_MAX,
    pipelining: 1,
    keepAliveTimeout: POOL_IDLE_MS,
    keepAliveMaxTimeout: POOL_IDLE_MS,
    headersTimeout: RESPONSE_HEAD_TIMEOUT_MS,
    bodyTimeout: BODY_IDLE_TIMEOUT_MS,
    maxHeaderSize: HEAD_BYTES_MAX,
    connect: (_options, done) => {
      const ready = takeSpare(kept);
      const dialled =
        trust === null
          ? dial(permit).connected
          : (ready ?? dialSecure(permit, ['http/1.1'], trust));
      Promise.resolve(dialled).then(
        (socket) => {
          kept.address = parseAddress(socket.remoteAddress ?? '');
          noteAlerts(socket, kept);
          done(null, socket);
        },
        (error: Error) => done(error, null),
      );
    },
  });
  const address = permit.addresses[0] ?? null;
  const kept: Kept = { dispatcher: pool, address, alert: null, spare: first };
  // Whoever it was dialled for may have left.
  first?.setTimeout(POOL_IDLE_MS, () => kept.spare?.destroy());
  return kept;
}

function takeSpare(kept: Kept): TLSSocket | null {
  const { spare } = kept;
  kept.spare = null;
  spare?.setTimeout(0);
  return spare?.destroyed === false ? spare : null;
}

/** TLS 1.3 has the client done before the server has looked at its certificate, or missed one. */
function noteAlerts(socket: Socket, upstream: Upstream): void {
  upstream.alert = null;
  socket.on('error', (error) => {
    if ('code' in error && isAlert(String(error.code))) upstream.alert = String(error.code);
  });
}
