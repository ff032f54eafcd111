// A container registry with its token server, as the distribution specifications have them, and a
// client of it inside the proxy's tunnel. All of them on localhost, each at a port of its own.
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Test } from 'tap';
import type { RegistryBinding } from '../../src/credentials/binding.ts';
import { registryBinding } from '../../src/credentials/registries.ts';
import { certificate, listening, tlsInside } from './intercept.ts';
import type { TestProxy } from './proxy.ts';
import { Wire } from './wire.ts';

export const PASSWORD = 'the-password-of-the-tests';
export const LOGIN = `Basic ${Buffer.from(`me:${PASSWORD}`).toString('base64')}`;

/** What came to a server. */
export type Seen = { readonly asked: string; readonly authorization: string | undefined };

export type Server = {
  readonly port: number;
  readonly seen: Seen[];
  /** Answers from now on. */
  serve: RequestListener;
};

/** A server that notes what it is asked before it answers. */
export async function noting(
  t: Test,
  serve: RequestListener,
  scheme: 'https' | 'http' = 'https',
): Promise<Server> {
  const seen: Seen[] = [];
  const server = { port: 0, seen, serve };
  const listener: RequestListener = (request, response) => {
    const { authorization } = request.headers;
    seen.push({ asked: `${request.method} ${request.url}`, authorization });
    server.serve(request, response);
  };
  const http = scheme === 'https' ? createTlsServer(certificate, listener) : createServer(listener);
  server.port = await listening(t, http);
  return server;
}

/** Gives `token-1`, `token-2` and so on to whoever logs in. */
export function tokenServer(t: Test): Promise<Server> {
  let count = 0;
  return noting(t, (request, response) => {
    if (request.headers.authorization !== LOGIN) response.writeHead(401).end('{"errors":[]}');
    else response.end(JSON.stringify({ token: `token-${++count}`, expires_in: 300 }));
  });
}

/** Takes any bearer token, and sends to `realm` for it; its one blob is kept elsewhere. */
export function registry(t: Test, realm: () => string, blobs = ''): Promise<Server> {
  return noting(t, (request, response) => {
    if (!/^Bearer token-\d+$/.test(request.headers.authorization ?? '')) {
      const challenge = `Bearer realm="${realm()}",service="tests",scope="repository:user/image:pull"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end('{"errors":[]}');
    } else if (request.url?.includes('/blobs/sha256:')) {
      response.writeHead(307, { location: blobs }).end();
    } else {
      response.end(`answer to ${request.url}`);
    }
  });
}

export function bindingOf(
  port: number,
  changes: Partial<RegistryBinding> & { authEndpoint?: string } = {},
): RegistryBinding {
  const { authEndpoint = null, ...rest } = changes;
  const given = { id: 'the-login', scope: 0, value: PASSWORD, onDemand: false, username: 'me' };
  return { ...registryBinding(`localhost:${port}`, { ...given, authEndpoint }), ...rest };
}

/** A client inside a tunnel; `all` is every byte that it has been sent. */
export class RegistryClient {
  readonly #wire: Wire;
  readonly #port: number;
  all = '';

  static async open(t: Test, proxy: TestProxy, port: number): Promise<RegistryClient> {
    const secure = await tlsInside(t, proxy, port, 'http/1.1');
    t.teardown(() => secure.destroy());
    return new RegistryClient(new Wire(secure), port);
  }

  private constructor(wire: Wire, port: number) {
    this.#wire = wire;
    this.#port = port;
    wire.socket.on('data', (chunk: Buffer) => {
      this.all += chunk.toString('latin1');
    });
  }

  async ask(path: string, { method = 'GET', fields = '', content = '' } = {}) {
    const length = content === '' ? '' : `Content-Length: ${content.length}\r\n`;
    const head = `${method} ${path} HTTP/1.1\r\nHost: localhost:${this.#port}\r\n`;
    this.#wire.send(`${head}${fields}${length}\r\n${content}`);
    const { status, head: answered, content: text } = await this.#wire.response(method);
    const code = /^x-sallyport-code: (\w+)\r$/im.exec(answered)?.[1] ?? null;
    const location = /^location: (.+)\r$/im.exec(answered)?.[1] ?? '';
    return { status, code, location, text };
  }
}

/** The whole of what was sent, for a server that answers with it. */
export async function contentOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text;
}
