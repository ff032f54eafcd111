// A client that says exactly the bytes it is told and shows exactly the bytes it gets; and origins
// that are as plain. Every wait is for something that happens, and has a bound.
import { once } from 'node:events';
import { createServer, type Server as HttpServer, type RequestListener } from 'node:http';
import {
  type AddressInfo,
  connect as connectSocket,
  createServer as createTcpServer,
  type Server,
  type Socket,
} from 'node:net';
import type { Test } from 'tap';
import type { Outcome } from '../../src/proxy/exchange.ts';
import type { TestProxy } from './proxy.ts';

const WAIT_MS_MAX = 20_000;

/** Rejects when it takes too long; a test that waits forever says nothing. */
export async function within<T>(what: string, work: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`waited too long for ${what}`)), WAIT_MS_MAX);
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** One raw connection. */
export class Wire {
  readonly socket: Socket;
  /** All that has come and was not taken, latin1. */
  text = '';
  ended = false;
  /** Code of the error that ended it, or null. */
  error: string | null = null;
  #wake: (() => void) | null = null;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.text += chunk.toString('latin1');
      this.#wake?.();
    });
    socket.on('end', () => {
      this.ended = true;
      this.#wake?.();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.error = error.code ?? 'failed';
    });
    socket.on('close', () => {
      this.ended = true;
      this.#wake?.();
    });
  }

  send(bytes: string | Buffer): void {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  }

  /** Takes everything up to and with `mark`. */
  async until(mark: string): Promise<string> {
    await this.#when(`"${mark}"`, () => this.text.includes(mark));
    return this.take(this.text.indexOf(mark) + mark.length);
  }

  async bytes(count: number): Promise<string> {
    await this.#when(`${count} bytes`, () => this.text.length >= count);
    return this.take(count);
  }

  /** Takes everything up to the end of the connection. */
  async toEnd(): Promise<string> {
    await this.#when('the end', () => this.ended, true);
    return this.take(this.text.length);
  }

  /** Takes one response with Content-Length, or without content. */
  async response(method = 'GET'): Promise<{ status: number; head: string; content: string }> {
    const head = await this.until('\r\n\r\n');
    const status = Number(head.slice(9, 12));
    const length = Number(/^content-length: (\d+)\r$/im.exec(head)?.[1] ?? 0);
    const bare = method === 'HEAD' || status === 304 || status < 200;
    const chunked = /^transfer-encoding: chunked\r$/im.test(head) && !bare;
    const content = chunked ? await this.until('0\r\n\r\n') : await this.bytes(bare ? 0 : length);
    return { status, head, content };
  }

  /** Resolves when the connection is gone, cleanly or not. */
  async closed(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.socket.once('close', () => resolve());
    if (!this.socket.closed) await within('close', promise);
  }

  take(count: number): string {
    const taken = this.text.slice(0, count);
    this.text = this.text.slice(count);
    return taken;
  }

  async #when(what: string, ready: () => boolean, atEnd = false): Promise<void> {
    while (!ready()) {
      if (this.ended && !atEnd) throw new Error(`ended before ${what}: ${this.text}`);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await within(what, promise);
    }
  }
}

/** Connects to a port of this machine. */
export async function wire(port: number, allowHalfOpen = true): Promise<Wire> {
  const socket = connectSocket({ port, host: '127.0.0.1', allowHalfOpen, noDelay: true });
  await within('connect', once(socket, 'connect'));
  return new Wire(socket);
}

/** Both ends of one connection: a client, and the socket that a server has of it. */
export async function connected(t: Test): Promise<[client: Wire, socket: Socket]> {
  const accepted = Promise.withResolvers<Socket>();
  const server = createTcpServer((socket) => accepted.resolve(socket)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = await wire((server.address() as AddressInfo).port);
  const socket = await accepted.promise;
  t.teardown(() => {
    client.socket.destroy();
    socket.destroy();
    server.close();
  });
  return [client, socket];
}

/** Connects and says `bytes`; for tests of what comes back. */
export async function say(port: number, bytes: string): Promise<Wire> {
  const client = await wire(port);
  client.send(bytes);
  return client;
}

export type Origin = {
  readonly port: number;
  /** Connections accepted. */
  readonly connections: number;
  /** Every byte that came, over all connections, latin1. */
  readonly received: string;
  close(): void;
};

/** A TCP server; `serve` gets each connection. */
export async function tcpOrigin(serve: (socket: Socket) => void, host?: string): Promise<Origin> {
  const server = createTcpServer({ allowHalfOpen: true, noDelay: true });
  return origin(server, server, serve, host);
}

/** An HTTP server of node:http. */
export async function httpOrigin(
  listener: RequestListener,
): Promise<Origin & { readonly server: HttpServer }> {
  const server = createServer({ keepAlive: true }, listener);
  return Object.assign(await origin(server, server, () => {}), { server });
}

async function origin(
  server: Server,
  listening: Server,
  serve: (socket: Socket) => void,
  host = '127.0.0.1',
): Promise<Origin> {
  const sockets = new Set<Socket>();
  const state = { port: 0, connections: 0, received: '', close };
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    state.connections++;
    socket.on('error', () => {});
    if (!('headersTimeout' in server)) {
      socket.on('data', (chunk: Buffer) => {
        if (state.received.length < 1_000_000) state.received += chunk.toString('latin1');
      });
    }
    serve(socket);
  });
  function close(): void {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
  listening.listen(0, host);
  await once(listening, 'listening');
  state.port = (listening.address() as AddressInfo).port;
  return state;
}

/** GET in absolute-form. */
export function get(port: number, path = '/', fields = ''): string {
  return `GET http://localhost:${port}${path} HTTP/1.1\r\nHost: localhost:${port}\r\n${fields}\r\n`;
}

export function connectTo(authority: string, fields = ''): string {
  return `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${fields}\r\n`;
}

/** The outcome with this number, in the order of their ends; waits until it is there. */
export async function outcomeAt(proxy: TestProxy, index: number): Promise<Outcome> {
  for (;;) {
    const outcome = proxy.outcomes[index];
    if (outcome !== undefined) return outcome;
    await within(`outcome ${index}`, proxy.nextOutcome());
  }
}
