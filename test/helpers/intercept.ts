// A proxy that intercepts one origin, and clients inside its tunnels.
import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import {
  connect as connectTls,
  createSecureContext,
  createServer as createTlsServer,
  type TLSSocket,
} from 'node:tls';
import type { Test } from 'tap';
import type { Binding } from '../../src/credentials/binding.ts';
import type { ClientCertificate } from '../../src/credentials/client-certificate.ts';
import type { Approve } from '../../src/proxy/approval.ts';
import type { ProxySettings } from '../../src/proxy/exchange.ts';
import type { Services as ProxyServices } from '../../src/proxy/pipeline.ts';
import { localhostCertificate } from './certificates.ts';
import { startProxy, type TestProxy, type TestSandbox } from './proxy.ts';
import { connectTo, tcpOrigin, type Wire, wire, within } from './wire.ts';

/** Of origins and, since the tests are at home on localhost, of the proxy too. */
export const certificate = localhostCertificate();
export const SECRET = 'a-secret-of-the-tests';

const context = createSecureContext(certificate);

/** Sets `authorization` towards localhost. */
export const BINDING: Binding = {
  kind: 'service',
  id: 'the-binding',
  service: 'tests',
  scope: 0,
  hosts: ['localhost'],
  plaintext: false,
  onDemand: false,
  scrub: 'off',
  value: SECRET,
  policy: 'always',
  placements: [{ field: 'authorization', format: 'Bearer %s' }],
  sentinels: ['proxy-managed'],
  authFields: ['authorization', 'x-api-key'],
  authQuery: ['key'],
};

export async function listening<T extends Server>(t: Test, server: T): Promise<number> {
  const sockets = new Set<{ destroy(): void }>();
  server.on('connection', (socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

type Options = {
  readonly settings?: Partial<ProxySettings>;
  readonly approve?: Approve;
  readonly bindings?: readonly Binding[];
  readonly allowed?: string;
  /** In place of an allow for all ports that are given. */
  readonly rules?: NonNullable<Parameters<typeof startProxy>[0]>['rules'];
  readonly clientCertificates?: readonly ClientCertificate[];
  readonly grants?: ProxyServices['grants'];
  /** PEM of authorities that origins may have, beside that of `certificate`. */
  readonly trusted?: readonly string[];
  readonly sandboxes?: readonly TestSandbox[];
};

/** Allows all ports of localhost that are given, and has a credential for them. */
export async function interceptor(
  t: Test,
  ports: readonly number[],
  {
    settings,
    approve,
    bindings = [BINDING],
    allowed,
    rules,
    clientCertificates = [],
    trusted = [],
    sandboxes,
    grants,
  }: Options = {},
): Promise<TestProxy> {
  const proxy = await startProxy({
    rules: rules ?? [['allow', allowed ?? ports.map((port) => `localhost:${port}`).join(',')]],
    bindings,
    contextFor: () => context,
    trusted: [certificate.authority, ...trusted],
    clientCertificates,
    ...(sandboxes && { sandboxes }),
    ...(settings && { settings }),
    ...(approve && { approve }),
    ...(grants && { grants }),
  });
  t.teardown(() => proxy.close());
  return proxy;
}

/** A CONNECT that was answered; nothing is said inside yet. */
export async function tunnel(
  t: Test,
  proxy: Pick<TestProxy, 'port'>,
  authority: string,
  fields = '',
): Promise<Wire> {
  const client = await wire(proxy.port);
  t.teardown(() => client.socket.destroy());
  client.send(connectTo(authority, fields));
  await client.until('HTTP/1.1 200 Connection established\r\n\r\n');
  return client;
}

export async function tlsInside(
  t: Test,
  proxy: TestProxy,
  port: number,
  protocol: 'h2' | 'http/1.1',
  fields = '',
): Promise<TLSSocket> {
  const { socket } = await tunnel(t, proxy, `localhost:${port}`, fields);
  socket.removeAllListeners('data');
  const secure = connectTls({
    socket,
    servername: 'localhost',
    ca: certificate.authority,
    ALPNProtocols: [protocol],
  });
  secure.on('error', () => {});
  await within('the handshake', once(secure, 'secureConnect'));
  return secure;
}

export async function http2Inside(
  t: Test,
  proxy: TestProxy,
  port: number,
  fields = '',
): Promise<ClientHttp2Session> {
  const secure = await tlsInside(t, proxy, port, 'h2', fields);
  const session = connectHttp2(`https://localhost:${port}`, { createConnection: () => secure });
  session.on('error', () => {});
  t.teardown(() => session.destroy());
  return session;
}

export type Got = {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly trailers: Readonly<Record<string, unknown>>;
  readonly content: string;
};

/** One request on a session. */
export async function ask(
  session: ClientHttp2Session,
  headers: Record<string, string | string[]>,
  content?: Buffer | string,
): Promise<Got> {
  const stream = session.request(headers, { endStream: content === undefined });
  if (content !== undefined) stream.end(content);
  let trailers = {};
  stream.on('trailers', (given) => {
    trailers = given;
  });
  const [head] = await within('the response', once(stream, 'response'));
  let text = '';
  stream.on('data', (chunk) => {
    text += chunk;
  });
  await within('the end', once(stream, 'end'));
  return { status: Number(head[':status']), headers: head, trailers, content: text };
}

/** An origin of TLS without HTTP of its own: `serve` gets each connection. */
export async function tlsOrigin(t: Test, serve: (socket: TLSSocket) => void): Promise<number> {
  const server = createTlsServer(certificate, (socket) => {
    socket.on('error', () => {});
    serve(socket);
  });
  return listening(t, server);
}

/** The first bytes that a client of TLS sends. */
export async function clientHello(servername: string): Promise<Buffer> {
  const listener = await tcpOrigin(() => {});
  const secure = connectTls({ port: listener.port, servername, host: '127.0.0.1' });
  secure.on('error', () => {});
  while (listener.received.length < 200) await new Promise(setImmediate);
  secure.destroy();
  listener.close();
  return Buffer.from(listener.received, 'latin1');
}
