// A client in the sandbox that stays on one connection inside its tunnel, and notes all it is sent.
import { once } from 'node:events';
import { Agent, type OutgoingHttpHeaders, request } from 'node:http';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { Test } from 'tap';
import type { Sandboxed } from './sandboxed.ts';
import { connectTo, wire, within } from './wire.ts';

export type Told = {
  readonly status: number;
  /** Fields and content, as one text. */
  readonly text: string;
};

export type InsideClient = {
  /** On the same connection each time. @throws when that is gone */
  ask(
    path: string,
    headers?: Readonly<Record<string, string>>,
    content?: string,
    method?: string,
  ): Promise<Told>;
  /** Whether the connection still stands. */
  readonly isOpen: boolean;
};

export type Protocol = 'h2' | 'http/1.1';

/** @param heard  gets every byte of the answers, decoded. */
export async function openInside(
  t: Test,
  world: Pick<Sandboxed, 'proxyPort' | 'proxyUrl' | 'ca'>,
  { host, port, protocol }: { host: string; port: number; protocol: Protocol },
  heard: string[] = [],
): Promise<InsideClient> {
  const socket = await secureThrough(t, world, host, port, protocol);
  const client =
    protocol === 'h2' ? overHttp2(t, socket, host, port) : overHttp1(t, socket, host, port);
  return {
    ask: async (path, headers = {}, content, method = content === undefined ? 'GET' : 'POST') => {
      const parts: string[] = [];
      try {
        const asked = { path, headers, content, method };
        const status = await within('the answer', client.ask(asked, parts));
        return { status, text: parts.join('') };
      } finally {
        heard.push(parts.join('')); // Of an answer that was cut, too.
      }
    },
    get isOpen() {
      return client.isOpen();
    },
  };
}

async function secureThrough(
  t: Test,
  { proxyPort, proxyUrl, ca }: Pick<Sandboxed, 'proxyPort' | 'proxyUrl' | 'ca'>,
  host: string,
  port: number,
  protocol: Protocol,
): Promise<TLSSocket> {
  const { username, password } = new URL(proxyUrl);
  const login = Buffer.from(`${username}:${password}`).toString('base64');
  const client = await wire(proxyPort);
  client.send(connectTo(`${host}:${port}`, `Proxy-Authorization: Basic ${login}\r\n`));
  await client.until('HTTP/1.1 200 Connection established\r\n\r\n');
  client.socket.removeAllListeners('data');
  const socket = connectTls({
    socket: client.socket,
    servername: host,
    ca,
    ALPNProtocols: [protocol],
  });
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  await within('the handshake', once(socket, 'secureConnect'));
  return socket;
}

type Asked = {
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly content: string | undefined;
  readonly method: string;
};

type Asker = {
  /** @param parts  gets the answer as it comes. @returns its status */
  ask(asked: Asked, parts: string[]): Promise<number>;
  isOpen(): boolean;
};

function overHttp1(t: Test, socket: TLSSocket, host: string, port: number): Asker {
  let isGiven = false;
  class OneConnection extends Agent {
    override createConnection(): TLSSocket {
      if (isGiven) throw new Error('the connection was not kept');
      isGiven = true;
      return socket;
    }
  }
  const agent = new OneConnection({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  return {
    ask: async ({ content, ...asked }, parts) => {
      const sent = request({ agent, host, port, ...asked });
      sent.end(content);
      const [answer] = await once(sent, 'response');
      parts.push(`${answer.statusMessage}\n${answer.rawHeaders.join('\n')}\n`);
      for await (const piece of answer.setEncoding('latin1')) parts.push(piece);
      parts.push(`\n${answer.rawTrailers.join('\n')}`);
      return answer.statusCode;
    },
    isOpen: () => !socket.destroyed && !socket.readableEnded,
  };
}

function overHttp2(t: Test, socket: TLSSocket, host: string, port: number): Asker {
  const session: ClientHttp2Session = connectHttp2(`https://${host}:${port}`, {
    createConnection: () => socket,
  });
  session.on('error', () => {});
  t.teardown(() => session.destroy());
  return {
    ask: async ({ path, headers, content, method }, parts) => {
      const stream = session.request({ ...headers, ':path': path, ':method': method });
      stream.end(content);
      stream.on('trailers', (fields) => parts.push(JSON.stringify(fields)));
      stream.setEncoding('latin1').on('data', (piece: string) => parts.push(piece));
      const closed = once(stream, 'close');
      const [fields] = await once(stream, 'response');
      parts.push(`${JSON.stringify(fields)}\n`);
      await closed;
      return fields[':status'];
    },
    isOpen: () => !session.closed && !session.destroyed,
  };
}
