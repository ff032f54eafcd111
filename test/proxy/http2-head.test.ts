// Heads of HTTP/2 that would be something else in HTTP/1.1, with raw frames: whatever the origin speaks,
// they do not reach it. CVE-2021-39214, CVE-2022-24766, CVE-2023-27491.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createSecureServer } from 'node:http2';
import { createServer } from 'node:https';
import tap from 'tap';
import {
  DATA,
  END_HEADERS,
  END_STREAM,
  type Field,
  FrameClient,
  frame,
  HEADERS,
  headOf,
  hpack,
} from '../helpers/frames.ts';
import {
  ask,
  certificate,
  http2Inside,
  interceptor,
  listening,
  tlsInside,
  tlsOrigin,
} from '../helpers/intercept.ts';

const { key, cert } = certificate;

/** Fields that would be something else in HTTP/1.1; nghttp2 leaves some out and tells nobody. */
const UNSPEAKABLE: Readonly<Record<string, Field>> = {
  'CRLF in a name': ['x\r\nevil', 'y'],
  'LF in a name': ['x\nevil', 'y'],
  'a colon in a name': ['transfer-encoding: chunked\r\nx', 'y'],
  'a colon alone in a name': ['x:y', 'z'],
  'a space in a name': ['transfer-encoding ', 'chunked'],
  'NUL in a name': ['x\0', 'y'],
  'capitals in a name': ['X-Evil', 'y'],
  'no name': ['', 'y'],
  'CRLF in a value': ['x', 'y\r\nevil: z'],
  'two CRLF in a value': ['x', 'y\r\n\r\nGET /evil HTTP/1.1\r\n'],
  'LF in a value': ['x', 'y\nevil: z'],
  'CR in a value': ['x', 'y\revil: z'],
  'NUL in a value': ['x', 'y\0z'],
  'CRLF in a cookie': ['cookie', 'a=b\r\nevil: z'],
};

/** Heads that are refused whole. */
function malformed(port: number): Readonly<Record<string, readonly Field[]>> {
  const usual = headOf(port, 'POST');
  const plus = (name: string, value: string): Field[] => [...usual, [name, value]];
  const but = (name: string, value: string): Field[] =>
    usual.map((field) => (field[0] === name ? [name, value] : field));
  return {
    'transfer-encoding': plus('transfer-encoding', 'chunked'),
    connection: plus('connection', 'authorization'),
    'keep-alive': plus('keep-alive', '5'),
    'proxy-connection': plus('proxy-connection', 'close'),
    upgrade: plus('upgrade', 'websocket'),
    'te of more than trailers': plus('te', 'gzip'),
    'another host': plus('host', 'evil.test'),
    'a length that is none': plus('content-length', '+0'),
    'two lengths': [...plus('content-length', '0'), ['content-length', '0']],
    'a list of lengths': plus('content-length', '0, 0'),
    'a second path': plus(':path', '/evil'),
    'a path behind a field': [...usual.slice(0, 3), ['x', 'y'], [':path', '/evil']],
    'an unknown pseudo-field': plus(':evil', 'x'),
    'a status': plus(':status', '200'),
    'no path': usual.slice(0, 3),
    'no method': usual.slice(1),
    'an empty path': but(':path', ''),
    'a path that ends the line': but(':path', '/evil HTTP/1.1\r\nevil: x'),
    'a space in the path': but(':path', '/evil HTTP/1.0'),
    'NUL in the path': but(':path', '/evil\0'),
    'a path that is a URL': but(':path', 'http://evil.test/'),
    'an asterisk': but(':path', '*'),
    'a method that ends the line': but(':method', 'POST /evil HTTP/1.1\r\nevil: x\r\n'),
    'a space in the method': but(':method', 'POST /evil'),
    CONNECT: [[':method', 'CONNECT'], ...headOf(port).slice(2, 3)],
    'a protocol without CONNECT': plus(':protocol', 'websocket'),
    'an authority that ends the line': but(':authority', `localhost:${port}\r\nevil: x`),
    'a user in the authority': but(':authority', `evil@localhost:${port}`),
    'another authority': but(':authority', 'evil.test'),
    'plain http': but(':scheme', 'http'),
    'a scheme that ends the line': but(':scheme', 'https\r\nevil: x'),
  };
}

const isRefusal = (outcome: number | string): boolean =>
  outcome === 'reset' || outcome === 'ended' || Number(outcome) >= 400;

for (const version of ['HTTP/1.1', 'HTTP/2']) {
  tap.test(`what HTTP/2 can say and HTTP/1.1 cannot, in front of ${version}`, async (t) => {
    const requests: string[] = [];
    const server =
      version === 'HTTP/2' ? createSecureServer({ key, cert }) : createServer({ key, cert });
    server.on('sessionError', () => {});
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      requests.push(`${request.method} ${request.url} ${request.rawHeaders}`);
      request.resume();
      response.end();
    });
    const port = await listening(t, server);
    const proxy = await interceptor(t, [port]);
    const tell = async (fields: readonly Field[]): Promise<number | string> => {
      const client = new FrameClient(await tlsInside(t, proxy, port, 'h2'));
      await client.settled();
      client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, hpack(fields)));
      const outcome = await client.outcomeOf(1);
      client.socket.destroy();
      return outcome;
    };
    for (const [what, fields] of Object.entries(malformed(port))) {
      const outcome = await tell(fields);
      t.ok(isRefusal(outcome), `${what}: ${outcome}`);
    }
    t.same(requests, [], 'nothing of it arrives');
    t.equal(await tell(headOf(port)), 200);
    for (const [what, field] of Object.entries(UNSPEAKABLE)) {
      const outcome = await tell([...headOf(port), field]);
      t.ok(outcome === 200 || isRefusal(outcome), `${what}: ${outcome}`);
    }
    t.equal(new Set(requests).size, 1, 'what arrives is as if the field had not been there');
    t.match(requests[0], /^GET \/ /);
  });
}

tap.test('content of HTTP/2 of another length than it says is no request', async (t) => {
  const received: string[] = [];
  const port = await tlsOrigin(t, (socket) => {
    const index = received.push('') - 1;
    socket.on('data', (chunk) => {
      received[index] += chunk;
      if (received[index]?.endsWith('\r\n\r\n')) {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      }
    });
  });
  const proxy = await interceptor(t, [port]);
  const smuggled = `GET /smuggled HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`;
  for (const [length, content] of [
    [5, `hello${smuggled}`],
    [10 + smuggled.length, 'hello'],
    [0, smuggled],
  ] as const) {
    const client = new FrameClient(await tlsInside(t, proxy, port, 'h2'));
    await client.settled();
    const head = hpack([...headOf(port, 'POST'), ['content-length', String(length)]]);
    client.send(frame(HEADERS, END_HEADERS, 1, head));
    await client.settled();
    client.send(frame(DATA, END_STREAM, 1, content));
    const outcome = await client.outcomeOf(1);
    t.ok(outcome === 'reset' || outcome === 'ended', `${length}: ${outcome}`);
    const session = await http2Inside(t, proxy, port);
    t.equal((await ask(session, { ':path': '/next' })).status, 200);
    session.destroy();
    client.socket.destroy();
  }
  for (const text of received) {
    t.notMatch(text, /smuggled/);
    const [kept, broken] = text.split('POST / HTTP');
    t.notMatch(broken ?? '', /GET/, 'nothing comes behind content that is not whole');
    t.match(kept, /^(GET \/next HTTP[\s\S]*\r\n\r\n)?$/);
  }
});
