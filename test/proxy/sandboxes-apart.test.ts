// Connections to origins are shared by the requests of one sandbox and by no others, in every pool
// there is: HTTP/1.1 with and without TLS, HTTP/2. So nothing that an origin ties to a connection
// (a login, a session, an answer too many) reaches another sandbox, and no credential does.
import { createServer, type RequestListener } from 'node:http';
import { type ClientHttp2Session, createSecureServer } from 'node:http2';
import type { Server } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import tap, { type Test } from 'tap';
import type { Binding } from '../../src/credentials/binding.ts';
import {
  ask,
  BINDING,
  certificate,
  http2Inside,
  interceptor,
  listening,
  tlsInside,
} from '../helpers/intercept.ts';
import { authorizationOf, type TestProxy } from '../helpers/proxy.ts';
import { get, Wire, wire, within } from '../helpers/wire.ts';

const SANDBOXES = ['box', 'other', 'third'] as const;
const ROUNDS = 12;

function secretOf(name: string): string {
  return `Bearer secret-of-${name}`;
}

/** A secret of its own for each, towards the same host. */
const bindings = SANDBOXES.map(
  (name, index): Binding => ({
    ...BINDING,
    id: `binding-of-${name}`,
    scope: index + 1,
    value: `secret-of-${name}`,
    plaintext: true,
  }),
);
const sandboxes = [
  { name: 'other', scope: 2 },
  { name: 'third', scope: 3 },
];

/** What was said on each connection of the origin. */
class Origin {
  readonly said = new Map<unknown, Set<string>>();
  requests = 0;

  /** Answers with the credential that the connection's first request had: as a login on it would. */
  answer(connection: unknown, authorization: string): string {
    const first = this.said.get(connection) ?? new Set();
    this.said.set(connection, first.add(authorization));
    this.requests++;
    return [...first][0] ?? '';
  }

  /** @returns whose credential each connection had; every one that had two names both. */
  get users(): string[] {
    return [...this.said.values()].map((all) => [...all].join(' and ')).sort();
  }
}

function proxyField(name: string): string {
  return `Proxy-Authorization: ${authorizationOf(name)}\r\n`;
}

function check(t: Test, origin: Origin, expected: number): void {
  t.equal(origin.requests, expected);
  t.strictSame(new Set(origin.users), new Set(SANDBOXES.map(secretOf)), 'one user each');
  t.ok(origin.said.size < origin.requests, 'and they are used again');
}

/** Requests of all sandboxes at once, in many rounds; every one must be answered with its own secret. */
async function rounds(t: Test, request: (name: string) => Promise<string>): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const order = SANDBOXES.map((_, index) => SANDBOXES[(index + round) % 3] ?? 'box');
    const all = await Promise.all(
      [...order, ...order].map(async (name) => [name, await request(name)]),
    );
    for (const [name = '', content] of all) t.equal(content, secretOf(name), `round ${round}`);
  }
}

async function http1Inside(t: Test, proxy: TestProxy, port: number, name: string): Promise<Wire> {
  return new Wire(await tlsInside(t, proxy, port, 'http/1.1', proxyField(name)));
}

tap.test('HTTP/1.1 over TLS', async (t) => {
  const origin = new Origin();
  const answer: RequestListener = ({ socket, headers }, response) => {
    response.end(origin.answer(socket, headers.authorization ?? ''));
  };
  const server = createSecureServer({ ...certificate, allowHTTP1: true });
  server.on('request', answer as never);
  const port = await listening(t, server as unknown as Server);
  const proxy = await interceptor(t, [port], { bindings, sandboxes });
  await rounds(t, async (name) => {
    const client = await http1Inside(t, proxy, port, name);
    client.send(`GET / HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`);
    const { content } = await client.response();
    client.socket.destroy();
    return content;
  });
  check(t, origin, ROUNDS * 6);
});

tap.test('HTTP/2', async (t) => {
  const origin = new Origin();
  const server = createSecureServer(certificate, (request, response) => {
    const { session } = request.stream;
    response.end(origin.answer(session, request.headers.authorization ?? ''));
  });
  const port = await listening(t, server as unknown as Server);
  const proxy = await interceptor(t, [port], { bindings, sandboxes });
  const sessions = new Map<string, ClientHttp2Session>();
  for (const name of SANDBOXES) {
    sessions.set(name, await http2Inside(t, proxy, port, proxyField(name)));
  }
  await rounds(t, async (name) => {
    const { content } = await ask(sessions.get(name) as ClientHttp2Session, { ':path': '/' });
    return content;
  });
  check(t, origin, ROUNDS * 6);
  t.equal(origin.said.size, 3, 'a connection each');
});

tap.test('HTTP/1.1 without TLS', async (t) => {
  const origin = new Origin();
  const server = createServer(({ socket, headers }, response) => {
    response.end(origin.answer(socket, headers.authorization ?? ''));
  });
  const port = await listening(t, server);
  const proxy = await interceptor(t, [port], { bindings, sandboxes });
  await rounds(t, async (name) => {
    const client = await wire(proxy.port);
    client.send(get(port, '/', proxyField(name)));
    const { content } = await client.response();
    client.socket.destroy();
    return content;
  });
  check(t, origin, ROUNDS * 6);
});

tap.test('an answer too many is for nobody else', async (t) => {
  const connections: TLSSocket[] = [];
  const server = createTlsServer(certificate, (socket) => {
    connections.push(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      const whose = /secret-of-\w+/.exec(chunk.toString('latin1'))?.[0] ?? '';
      const answer = `HTTP/1.1 200 OK\r\nContent-Length: ${whose.length}\r\n\r\n${whose}`;
      socket.write(answer + answer); // The second one waits for whoever comes next.
    });
  });
  const port = await listening(t, server as unknown as Server);
  const proxy = await interceptor(t, [port], { bindings, sandboxes });
  for (const name of [...SANDBOXES, ...SANDBOXES]) {
    const client = await http1Inside(t, proxy, port, name);
    client.send(`GET / HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`);
    const { content } = await within('the answer', client.response());
    t.equal(content, `secret-of-${name}`);
    client.socket.destroy();
  }
  t.equal(connections.length, 6, 'and its connection is not used again');
});
