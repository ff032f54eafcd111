// A daemon in this process, a sandbox on loopback, an API that shows what it was sent, and a token
// endpoint: all over real TLS, with real interception between them.
import { once } from 'node:events';
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { createServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { Test } from 'tap';
import { startWorld, type World } from './control.ts';
import { certificate, type TokenEndpoint, tokenEndpoint } from './token-endpoint.ts';
import { connectTo, wire, within } from './wire.ts';

export type Answered = {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly content: string;
};

export type OAuthWorld = {
  readonly world: World;
  readonly endpoint: TokenEndpoint;
  /** Port of the API. */
  readonly api: number;
  /** Field lines and path of each request that the API was sent. */
  readonly seen: { readonly path: string; readonly headers: IncomingMessage['headers'] }[];
  /**
   * One request of the sandbox's, through the proxy, over TLS inside CONNECT.
   *
   * @param proxyUrl  of another sandbox.
   */
  ask(
    port: number,
    path: string,
    headers?: OutgoingHttpHeaders,
    content?: string,
    proxyUrl?: string,
  ): Promise<Answered>;
};

export async function oauthWorld(t: Test): Promise<OAuthWorld> {
  const endpoint = await tokenEndpoint(t);
  const seen: OAuthWorld['seen'] = [];
  const server = createServer(certificate, (incoming, response) => {
    seen.push({ path: incoming.url ?? '', headers: incoming.headers });
    response.end('hello');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port: api } = server.address() as AddressInfo;
  const world = await startWorld(t, {
    defaultSandbox: 'box',
    upstreamAuthorities: [certificate.authority],
  });
  const resources = `localhost:${api},localhost:${endpoint.port}`;
  await world.client.post('/policy/network/rules', { decision: 'allow', resources });
  const exported = await world.client.get<{ content: string }>('/authority/export');
  const ca = Buffer.from(exported.content, 'base64').toString();
  const proxy = Number(world.instance.status().listen.split(':')[1]);
  return {
    world,
    endpoint,
    api,
    seen,
    ask: async (port, path, headers = {}, content, proxyUrl) => {
      const socket = await secureThrough(proxy, port, ca, proxyUrl);
      const method = content === undefined ? 'GET' : 'POST';
      const createConnection = (): TLSSocket => socket;
      const asked = request({ createConnection, host: 'localhost', port, path, method, headers });
      asked.end(content);
      const [answer] = await within('the answer', once(asked, 'response'));
      let text = '';
      for await (const piece of answer.setEncoding('utf8')) text += piece;
      socket.destroy();
      return { status: answer.statusCode, headers: answer.headers, content: text };
    },
  };
}

async function secureThrough(
  proxy: number,
  port: number,
  ca: string,
  proxyUrl?: string,
): Promise<TLSSocket> {
  const client = await wire(proxy);
  const { username, password } = new URL(proxyUrl ?? 'http://127.0.0.1');
  const login = Buffer.from(`${username}:${password}`).toString('base64');
  const fields = proxyUrl === undefined ? '' : `Proxy-Authorization: Basic ${login}\r\n`;
  client.send(connectTo(`localhost:${port}`, fields));
  await client.until('HTTP/1.1 200 Connection established\r\n\r\n');
  client.socket.removeAllListeners('data');
  const secure = connectTls({ socket: client.socket, servername: 'localhost', ca });
  await within('the handshake', once(secure, 'secureConnect'));
  return secure;
}
