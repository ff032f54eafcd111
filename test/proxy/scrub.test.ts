// A secret that an origin sends back does not reach the sandbox, whichever way it comes; what cannot be
// searched passes or is refused, as the secret says. src/proxy/decoder.ts is tested here, too.
import { once } from 'node:events';
import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import { createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { TLSSocket } from 'node:tls';
import { brotliCompressSync, deflateSync, gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib';
import tap, { type Test } from 'tap';
import { SCRUB_DECODED_BYTES_MAX } from '../../src/base/limits.ts';
import type { Scrub } from '../../src/credentials/binding.ts';
import type { Outcome } from '../../src/proxy/exchange.ts';
import {
  ask,
  BINDING,
  certificate,
  http2Inside,
  interceptor,
  listening,
  SECRET,
  tlsInside,
} from '../helpers/intercept.ts';
import type { TestProxy } from '../helpers/proxy.ts';
import { within } from '../helpers/wire.ts';

const STARS = '*'.repeat(SECRET.length);
const TEXT = `{"before":1,"token":"${SECRET}","behind":2}`;
/** A few of its letters may be gone before it shows that they begin a secret. */
const MASKED = /^\{"before":1,"token":"(a|a-|a-s)?\*{18,21}","behind":2\}$/;

type Answer = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

async function scene(
  t: Test,
  answer: Answer,
  scrub: Scrub = 'strict',
): Promise<{ proxy: TestProxy; port: number }> {
  const server = createSecureServer({ ...certificate, allowHTTP1: true }, answer);
  const port = await listening(t, server);
  return { proxy: await interceptor(t, [port], { bindings: [{ ...BINDING, scrub }] }), port };
}

/** One request in HTTP/1.1, and all that comes back until the connection or the answer ends. */
async function ask1(
  t: Test,
  proxy: TestProxy,
  port: number,
  { fields = '', method = 'GET' } = {},
): Promise<string> {
  const socket = await tlsInside(t, proxy, port, 'http/1.1');
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
  });
  socket.write(
    `${method} / HTTP/1.1\r\nHost: localhost:${port}\r\n${fields}Connection: close\r\n\r\n`,
  );
  await within('the end', Promise.race([once(socket, 'end'), once(socket, 'close')]));
  return text;
}

function contentOf(answer: string): string {
  return answer.slice(answer.indexOf('\r\n\r\n') + 4);
}

function unchunked(content: string): string {
  const end = content.indexOf('\r\n');
  const length = Number.parseInt(content.slice(0, end), 16);
  if (length === 0) return '';
  const behind = end + 2 + length;
  return content.slice(end + 2, behind) + unchunked(content.slice(behind + 2));
}

/** The first record that is no CONNECT's. */
async function recordOf(proxy: TestProxy): Promise<Outcome> {
  const isIt = ({ method }: Outcome): boolean => method !== 'CONNECT';
  while (!proxy.outcomes.some(isIt)) await within('the record', proxy.nextOutcome());
  return proxy.outcomes.find(isIt) as Outcome;
}

for (const [coding, encode] of Object.entries({
  identity: (text: string) => Buffer.from(text),
  gzip: gzipSync,
  deflate: deflateSync,
  br: brotliCompressSync,
  zstd: zstdCompressSync,
})) {
  tap.test(`content in ${coding}, a few bytes at a time`, async (t) => {
    const { proxy, port } = await scene(t, async (_, response) => {
      const bytes = encode(TEXT);
      response.setHeader('content-encoding', coding);
      response.setHeader('etag', '"one"');
      for (let at = 0; at < bytes.length; at += 5) {
        response.write(bytes.subarray(at, at + 5));
        await sleep(1);
      }
      response.end();
    });
    const answer = await ask1(t, proxy, port, {
      fields: 'Accept-Encoding: gzip, dcb, br;q=0.5\r\n',
    });
    t.notMatch(answer, SECRET);
    t.match(unchunked(contentOf(answer)), MASKED);
    if (coding !== 'identity') {
      t.notMatch(answer, /content-encoding/i);
      t.match(answer, /etag: W\/"one"/);
    }
    t.match(await recordOf(proxy), { masked: 1, status: 200, injected: BINDING.id });
    const session = await http2Inside(t, proxy, port);
    t.match((await ask(session, { ':path': '/' })).content, MASKED, 'over HTTP/2, too');
  });
}

tap.test('content of no bytes is whole in any coding', async (t) => {
  for (const coding of ['gzip', 'deflate', 'br', 'zstd']) {
    const { proxy, port } = await scene(t, (_, response) => {
      response.setHeader('content-encoding', coding);
      response.end();
    });
    t.match(await ask1(t, proxy, port), /^HTTP\/1.1 200 /, coding);
    const session = await http2Inside(t, proxy, port);
    t.match(await ask(session, { ':path': '/' }), { status: 200, content: '' }, coding);
  }
});

tap.test('fields, reason and trailers', async (t) => {
  const server = tlsServer((socket) => {
    socket.write(
      `HTTP/1.1 200 ${SECRET}\r\nX-Echo: Bearer ${SECRET}\r\nSet-Cookie: a=${SECRET}\r\n` +
        `Location: https://elsewhere.example/?key=${SECRET}\r\nTransfer-Encoding: chunked\r\n` +
        `Trailer: X-Last\r\n\r\n2\r\nok\r\n0\r\nX-Last: ${SECRET}\r\n\r\n`,
    );
  });
  const port = await listening(t, server);
  const proxy = await interceptor(t, [port], { bindings: [{ ...BINDING, scrub: 'pass' }] });
  const answer = await ask1(t, proxy, port, { fields: 'TE: trailers\r\n' });
  t.notMatch(answer, SECRET);
  t.match(answer, `X-Echo: Bearer ${STARS}`);
  t.match(answer, `X-Last: ${STARS}`);
  t.match(await recordOf(proxy), { masked: 4 });
});

tap.test('the length of content stays, and a HEAD keeps its fields', async (t) => {
  const { proxy, port } = await scene(t, (_, response) => {
    response.setHeader('content-length', TEXT.length);
    response.end(TEXT);
  });
  t.match(await ask1(t, proxy, port), new RegExp(`content-length: ${TEXT.length}`, 'i'));
  t.match(
    await ask1(t, proxy, port, { method: 'HEAD' }),
    new RegExp(`content-length: ${TEXT.length}`, 'i'),
  );
});

tap.test('an origin is asked for what can be searched', async (t) => {
  const seen: Record<string, unknown>[] = [];
  const { proxy, port } = await scene(t, (request, response) => {
    seen.push(request.headers);
    response.end('x');
  });
  const fields = 'Range: bytes=0-5\r\nIf-Range: "x"\r\nAccept-Encoding: dcz, gzip;q=1, *\r\n';
  await ask1(t, proxy, port, { fields });
  t.match(seen[0], { 'accept-encoding': 'gzip;q=1', range: undefined, 'if-range': undefined });
  await ask1(t, proxy, port, { fields: 'Accept-Encoding: dcz\r\n' });
  t.match(seen[1], { 'accept-encoding': 'identity' });
});

tap.test('an event is passed on when it comes', async (t) => {
  let more = (): void => {};
  const { proxy, port } = await scene(t, (_, response) => {
    response.setHeader('content-type', 'text/event-stream');
    response.write(`data: ${SECRET}\n\n`);
    more = () => void response.write(`data: ends as it might begin: ${SECRET.slice(0, 8)}`);
  });
  const session = await http2Inside(t, proxy, port);
  const stream = session.request({ ':path': '/' });
  stream.setEncoding('latin1');
  const [first] = await within('an event', once(stream, 'data'));
  t.equal(first, `data: ${STARS}\n\n`);
  more();
  let text = '';
  stream.on('data', (chunk) => {
    text += chunk;
  });
  while (!text.endsWith(SECRET.slice(0, 8))) await within('the rest', once(stream, 'data'));
  t.pass('what waits is let go after a while');
  stream.close();
});

const UNSEARCHABLE: Readonly<Record<string, Answer>> = {
  'an unknown coding': (_, response) => {
    response.setHeader('content-encoding', 'dcz');
    response.end(SECRET);
  },
  'two codings': (_, response) => {
    response.setHeader('content-encoding', 'gzip, br');
    response.end(SECRET);
  },
  'messages in a coding': (_, response) => {
    response.setHeader('grpc-encoding', 'gzip');
    response.end(SECRET);
  },
  'a part': (_, response) => {
    response.statusCode = 206;
    response.setHeader('content-range', 'bytes 0-5/10');
    response.end(SECRET);
  },
};

for (const [what, answer] of Object.entries(UNSEARCHABLE)) {
  tap.test(`${what} is refused, or passes with what can be found masked`, async (t) => {
    const strict = await scene(t, answer);
    const refused = await ask1(t, strict.proxy, strict.port);
    t.match(refused, /^HTTP\/1.1 502 /);
    t.match(refused, 'SALLYPORT_RESPONSE_UNINSPECTABLE');
    t.notMatch(refused, SECRET);
    t.match(await recordOf(strict.proxy), { code: 'SALLYPORT_RESPONSE_UNINSPECTABLE' });
    const session = await http2Inside(t, strict.proxy, strict.port);
    t.equal((await ask(session, { ':path': '/' })).status, 502);
    const pass = await scene(t, answer, 'pass');
    t.match(contentOf(await ask1(t, pass.proxy, pass.port)), STARS);
  });
}

tap.test('an upgrade leaves what can be searched', async (t) => {
  const server = tlsServer((socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhi');
  });
  const port = await listening(t, server);
  for (const [scrub, status] of [
    ['strict', 502],
    ['pass', 101],
  ] as const) {
    const proxy = await interceptor(t, [port], { bindings: [{ ...BINDING, scrub }] });
    const socket = await tlsInside(t, proxy, port, 'http/1.1');
    socket.write(
      `GET / HTTP/1.1\r\nHost: localhost:${port}\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n`,
    );
    const [answer] = await within('the answer', once(socket, 'data'));
    t.match(String(answer), `HTTP/1.1 ${status} `);
    socket.destroy();
  }
});

/** Sends a head and these bytes, then breaks off in one way or another. */
type Break = { readonly head: string; readonly bytes: Buffer; readonly how: 'end' | 'reset' };

const zipped = gzipSync(Buffer.from(`${'.'.repeat(2_000)}${TEXT}`));
const BREAKS: Readonly<Record<string, Break>> = {
  'within the secret, by a reset': {
    head: 'Content-Length: 1000\r\n',
    bytes: Buffer.from(TEXT.slice(0, 30)),
    how: 'reset',
  },
  'within the secret, by an end': {
    head: 'Content-Length: 1000\r\n',
    bytes: Buffer.from(TEXT.slice(0, 30)),
    how: 'end',
  },
  'within a chunk': {
    head: 'Transfer-Encoding: chunked\r\n',
    bytes: Buffer.from(`1e\r\n${TEXT.slice(0, 30)}`),
    how: 'reset',
  },
  'by a chunk that is none, with the secret in the same read': {
    head: 'Transfer-Encoding: chunked\r\n',
    bytes: Buffer.from(`1e\r\n${TEXT.slice(0, 30)}\r\nno size\r\n`),
    how: 'end',
  },
  'within gzip, whose length is right': {
    head: `Content-Encoding: gzip\r\nContent-Length: ${zipped.length - 12}\r\n`,
    bytes: zipped.subarray(0, -12),
    how: 'end',
  },
  'within gzip': {
    head: `Content-Encoding: gzip\r\nContent-Length: ${zipped.length}\r\n`,
    bytes: zipped.subarray(0, -12),
    how: 'reset',
  },
  'by what is no gzip': {
    head: 'Content-Encoding: gzip\r\nContent-Length: 43\r\n',
    bytes: Buffer.from(TEXT.padEnd(43)),
    how: 'end',
  },
};

for (const [where, { head, bytes, how }] of Object.entries(BREAKS)) {
  tap.test(`an answer that breaks off ${where}`, async (t) => {
    const server = tlsServer((socket, raw) => {
      socket.write(`HTTP/1.1 200 OK\r\n${head}\r\n`);
      socket.write(bytes, () =>
        setTimeout(() => (how === 'end' ? socket.end() : raw.resetAndDestroy()), 20),
      );
    });
    const port = await listening(t, server);
    const proxy = await interceptor(t, [port], { bindings: [{ ...BINDING, scrub: 'strict' }] });
    const answer = await ask1(t, proxy, port);
    for (let length = 6; length <= SECRET.length; length++) {
      t.notOk(answer.includes(SECRET.slice(0, length)));
    }
    t.notMatch(answer, /\r\n0\r\n\r\n$/, 'the client can tell');
    const outcome = await recordOf(proxy);
    t.ok(outcome.code?.startsWith('SALLYPORT_UPSTREAM'), String(outcome.code));
    const session = await http2Inside(t, proxy, port);
    await t.rejects(ask(session, { ':path': '/' }), 'over HTTP/2, too');
  });
}

tap.test('a bomb is not unpacked', async (t) => {
  const bomb = gzipSync(Buffer.alloc(3 * SCRUB_DECODED_BYTES_MAX));
  const { proxy, port } = await scene(t, (_, response) => {
    response.setHeader('content-encoding', 'gzip');
    response.end(bomb);
  });
  const socket = await tlsInside(t, proxy, port, 'http/1.1');
  let bytes = 0;
  socket.on('data', (chunk) => {
    bytes += chunk.length;
  });
  socket.write(`GET / HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`);
  await within('the end', Promise.race([once(socket, 'end'), once(socket, 'close')]));
  t.ok(bytes < SCRUB_DECODED_BYTES_MAX * 1.1);
  t.match(await recordOf(proxy), { code: 'SALLYPORT_UPSTREAM_MALFORMED' });
});

tap.test('much content, at the pace of a slow client', async (t) => {
  const noise = Buffer.alloc(8 * 1_048_576, 'all the letters of a long text, over and over; ');
  const coded = gzipSync(noise, { level: 1 });
  t.equal(gunzipSync(coded).length, noise.length);
  const { proxy, port } = await scene(t, (_, response) => {
    response.setHeader('content-encoding', 'gzip');
    response.end(coded);
  });
  const session = await http2Inside(t, proxy, port);
  const stream = session.request({ ':path': '/' });
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes % 7 === 0) await sleep(1);
  }
  t.equal(bytes, noise.length);
});

/** Answers each request with raw bytes; `raw` is what lies under TLS. */
function tlsServer(answer: (socket: TLSSocket, raw: Socket) => void): Server {
  const { key, cert } = certificate;
  return createServer((raw) => {
    const socket = new TLSSocket(raw, { isServer: true, key, cert });
    socket.on('error', () => {});
    socket.once('data', () => answer(socket, raw));
  });
}
