// What the bench knows of a proxy that it measures.

import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';

export type Ports = { readonly small: number; readonly bulk: number };

export type Running = { readonly port: number; readonly pid: number; stop(): Promise<void> };

export type Peer = {
  readonly name: string;
  /** Which loads it takes: a reverse proxy knows its one destination and speaks no CONNECT. */
  readonly takes: 'proxy' | 'http-direct' | 'bulk-direct';
  /** Why it cannot be measured here; null when it can. */
  readonly missing: () => string | null;
  readonly start: (folder: string, origin: Ports) => Promise<Running>;
};

/** The origin that is intercepted: at localhost, under an authority that the peer is told to trust. */
export type TlsOrigin = {
  readonly port: number;
  /** PEM. */
  readonly authorityFile: string;
};

/** A proxy that ends TLS and speaks TLS to the origin. */
export type TlsPeer = {
  readonly name: string;
  /** Whether it speaks HTTP/2 to clients. */
  readonly http2: boolean;
  readonly missing: () => string | null;
  readonly start: (folder: string, origin: TlsOrigin) => Promise<Running>;
};

/** A port that was free a moment ago, for peers that cannot choose one themselves. */
export async function freePort(): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const server = createServer().listen(0, '127.0.0.1', resolve);
  await promise;
  const { port } = server.address() as AddressInfo;
  const closed = Promise.withResolvers<void>();
  server.close(() => closed.resolve());
  await closed.promise;
  return port;
}
