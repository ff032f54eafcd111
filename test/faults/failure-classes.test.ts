// Ways in which proxies of this kind have failed, and which no other test shows to be closed here:
// over real sockets and TLS, each named in words. CVE-2026-105452, CVE-2026-101998, CVE-2025-62168,
// CVE-2026-2833, CVE-2025-4366, CVE-2026-1527.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createSecureServer, type ServerHttp2Stream } from 'node:http2';
import { createServer } from 'node:https';
import type { Socket } from 'node:net';
import { dirname, join, normalize } from 'node:path';
import { deflateRawSync, constants as zlib, zstdCompressSync } from 'node:zlib';
import tap, { type Test } from 'tap';
import {
  DATA,
  END_HEADERS,
  type Field,
  FrameClient,
  frame,
  HEADERS,
  headOf,
  hpack,
} from '../helpers/frames.ts';
import {
  ask,
  BINDING,
  certificate,
  http2Inside,
  interceptor,
  listening,
  SECRET,
  tlsInside,
  tlsOrigin,
} from '../helpers/intercept.ts';
import { startProxy, type TestProxy } from '../helpers/proxy.ts';
import { answering, withTcp } from '../helpers/relay.ts';
import { connectTo, get, outcomeAt, say, Wire, within } from '../helpers/wire.ts';

const { key, cert } = certificate;

async function wireInside(t: Test, proxy: TestProxy, port: number): Promise<Wire> {
  return new Wire(await tlsInside(t, proxy, port, 'http/1.1'));
}

tap.test("what the client authenticates itself with does not go beside the proxy's", async (t) => {
  const port = await listening(
    t,
    createSecureServer({ key, cert, allowHTTP1: true }, (request, response) => {
      response.end(JSON.stringify([request.url, request.rawHeaders]));
    }),
  );
  const proxy = await interceptor(t, [port]);
  const path = '/v1?key=attacker&keep=1&%6bey=attacker&KEY=attacker';
  const client = await wireInside(t, proxy, port);
  client.send(
    `GET ${path} HTTP/1.1\r\nHost: localhost:${port}\r\nX-API-Key: attacker\r\nx-api-key: attacker\r\n` +
      'AUTHORIZATION: Bearer attacker\r\nCookie: session=attacker\r\ncookie: b=attacker\r\n\r\n',
  );
  const session = await http2Inside(t, proxy, port);
  const fields = { 'x-api-key': 'attacker', authorization: 'attacker', cookie: ['a=attacker'] };
  for (const { content } of [
    await client.response(),
    await ask(session, { ':path': path, ...fields }),
  ]) {
    t.match(content, '"/v1?keep=1"');
    t.match(content, `Bearer ${SECRET}`);
    t.notMatch(content, /attacker/);
  }
});

const TEXT = `{"before":1,"token":"${SECRET}","behind":2}`;
const CUT = TEXT.slice(0, TEXT.indexOf(SECRET) + 12);

/** How an origin of HTTP/2 ends an answer that it has begun. */
const BREAKS: Readonly<Record<string, (stream: ServerHttp2Stream, socket: Socket) => void>> = {
  'a reset of the stream': (stream) => stream.close(2),
  'a GOAWAY': (stream) => stream.session?.destroy(new Error('gone'), 11),
  'an end of the connection': (_, socket) => socket.destroy(),
  'an end that is too early': (stream) => stream.end(),
};

for (const [what, end] of Object.entries(BREAKS)) {
  tap.test(`an answer over HTTP/2 that breaks off by ${what} shows no secret`, async (t) => {
    const server = createSecureServer({ key, cert });
    server.on('sessionError', () => {});
    server.on('secureConnection', (socket: Socket) => {
      server.once('stream', (stream: ServerHttp2Stream) => {
        stream.on('error', () => {});
        stream.respond({ ':status': 200, 'content-length': '1000' });
        stream.write(CUT, () => setImmediate(end, stream, socket));
      });
    });
    const port = await listening(t, server);
    const proxy = await interceptor(t, [port], { bindings: [{ ...BINDING, scrub: 'strict' }] });
    const session = await http2Inside(t, proxy, port);
    const stream = session.request({ ':path': '/' });
    let seen = '';
    stream.on('data', (chunk) => {
      seen += chunk;
    });
    await t.rejects(within('the end', once(stream, 'end')), { code: 'ERR_HTTP2_STREAM_ERROR' });
    t.notMatch(seen, SECRET.slice(0, 6));
    t.match(await outcomeAt(proxy, 0), { status: 200, code: /^SALLYPORT_UPSTREAM/ });
  });
}

tap.test('nothing that a sandbox says is loaded or run', (t) => {
  const seen = new Set<string>();
  const open = ['src/workers/serve.ts'];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    const text = readFileSync(path, 'utf8');
    for (const [, to = ''] of text.matchAll(
      /^(?:import|export)\b(?! type)[^'"]*?from '(\.[^']+)'/gm,
    )) {
      open.push(normalize(join(dirname(path), to)));
    }
    const loads =
      /node:(?:child_process|cluster|module|vm|sqlite)|\brequire\(|\beval\(|\bFunction\(|\bimport\(/;
    t.notMatch(text, loads, `${path}: a worker starts no program and loads no code`);
    if (path !== 'src/workers/serve.ts') t.notMatch(text, /node:fs/, `${path}: and reads no file`);
  }
  t.ok(seen.has('src/proxy/pipeline.ts') && seen.has('src/credentials/inject.ts'));
  t.end();
});

/** What the client says that nobody else may read. */
const MARK = 'mArK-0f-a-cr3dential';
const LEAKS: Readonly<Record<string, (port: number) => string>> = {
  'a token that is wrong': (port) => get(port, '/', `Proxy-Authorization: Basic ${MARK}\r\n`),
  'a scheme that is unknown': (port) => get(port, '/', `Proxy-Authorization: ${MARK} x\r\n`),
  'a refused host': () =>
    `GET http://denied.test/?key=${MARK} HTTP/1.1\r\nHost: denied.test\r\nAuthorization: ${MARK}\r\nCookie: ${MARK}\r\n\r\n`,
  'a host that is not there': () => get(1, `/?key=${MARK}`, `Authorization: Bearer ${MARK}\r\n`),
  'a field that is malformed': (port) => get(port, '/', `Authorization: ${MARK}\0\r\n`),
  'a name that is malformed': (port) => get(port, '/', `Authorization ${MARK}: x\r\n`),
  'a user in the target': (port) =>
    get(port).replace('http://localhost', `http://user:${MARK}@localhost`),
  'a Host with a user': (port) => get(port).replace('Host: ', `Host: user:${MARK}@`),
  'a head that is too large': (port) => get(port, '/', `Cookie: ${MARK.repeat(4_000)}\r\n`),
  'a target that is too long': (port) => get(port, `/?${MARK.repeat(2_000)}`),
  'an expectation': (port) => get(port, '/', `Expect: ${MARK}\r\n`),
  'a coding': (port) => get(port, '/', `Transfer-Encoding: ${MARK}\r\n`),
  'a CONNECT that is none': (port) => connectTo(`user:${MARK}@localhost:${port}`),
  'an origin that speaks nonsense': (port) => get(port, `/?${MARK}`, `Cookie: ${MARK}\r\n`),
};

tap.test('refusals, failures and records tell no credential', async (t) => {
  const { origin } = await withTcp(t, answering('nonsense\r\n\r\n'));
  const proxy = await startProxy({ rules: [['allow', `localhost:${origin.port},localhost:1`]] });
  t.teardown(() => proxy.close());
  for (const [what, request] of Object.entries(LEAKS)) {
    const before = proxy.outcomes.length;
    const client = await say(proxy.port, request(origin.port));
    const answer = await client.response();
    client.socket.destroy();
    t.ok(answer.status >= 400, `${what} is ${answer.status}`);
    t.notMatch(answer.head + answer.content, MARK, what);
    t.notMatch(JSON.stringify(await outcomeAt(proxy, before)), MARK, `${what}, in its record`);
  }
});

tap.test('where an injected credential went wrong, nobody is told what it was', async (t) => {
  const echoes: Readonly<Record<string, string>> = {
    '/nonsense': `${SECRET}\r\n\r\n`,
    '/status': `HTTP/1.1 ${SECRET}\r\n\r\n`,
    '/field': `HTTP/1.1 200 OK\r\n${SECRET}\0: x\r\n\r\n`,
    '/length': `HTTP/1.1 200 OK\r\nContent-Length: ${SECRET}\r\n\r\n`,
    '/coding': `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${SECRET}\r\n`,
    '/none': '',
  };
  const port = await tlsOrigin(t, (socket) => {
    socket.once('data', (chunk) => socket.end(echoes[String(chunk).split(' ')[1] ?? ''] ?? ''));
  });
  const proxy = await interceptor(t, [port], { bindings: [{ ...BINDING, scrub: 'strict' }] });
  for (const path of Object.keys(echoes)) {
    const client = await wireInside(t, proxy, port);
    client.send(`GET ${path} HTTP/1.1\r\nHost: localhost:${port}\r\nConnection: close\r\n\r\n`);
    const answer = await client.toEnd();
    client.socket.destroy();
    t.notMatch(answer, SECRET, path);
    t.match(answer, path === '/coding' ? /^HTTP\/1.1 200 / : /^HTTP\/1.1 502 /, path);
  }
  t.notMatch(JSON.stringify(proxy.outcomes), SECRET);
});

tap.test('an upgrade that has content is no upgrade', async (t) => {
  const { client, origin } = await withTcp(t, (socket) => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    });
  });
  const fields = 'Connection: Upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n';
  client.send(`${get(origin.port, '/', fields).replace('GET', 'POST')}helloTUNNELLED`);
  t.equal((await client.response()).status, 502, 'nobody asked for 101');
  t.notMatch(origin.received, /upgrade|TUNNELLED/i);
});

for (const [status, wanted] of [
  ['200 OK', 502],
  ['403 Forbidden', 403],
] as const) {
  tap.test(`a WebSocket over HTTP/2 that is answered ${status} is no tunnel`, async (t) => {
    let received = '';
    const port = await tlsOrigin(t, (socket) => {
      socket.on('data', (chunk) => {
        received += chunk;
      });
      socket.once('data', () => socket.write(`HTTP/1.1 ${status}\r\nContent-Length: 2\r\n\r\nno`));
    });
    const proxy = await interceptor(t, [port]);
    const client = new FrameClient(await tlsInside(t, proxy, port, 'h2'));
    await client.settled();
    const [, ...rest] = headOf(port, 'CONNECT');
    const fields: Field[] = [[':method', 'CONNECT'], ...rest, [':protocol', 'websocket']];
    const open = frame(
      HEADERS,
      END_HEADERS,
      1,
      hpack([...fields, ['sec-websocket-version', '13']]),
    );
    client.send(open, frame(DATA, 0, 1, 'TUNNELLED'));
    t.equal(await client.outcomeOf(1), wanted);
    client.send(frame(DATA, 0, 1, 'TUNNELLED'));
    t.notOk(client.ended, 'the connection goes on');
    t.match(received, /upgrade: websocket/i);
    t.notMatch(received, /TUNNELLED/);
  });
}

tap.test('a connection with content that was not read is not used again', async (t) => {
  const heads: string[] = [];
  const { client, origin, proxy } = await withTcp(t, (socket) => {
    socket.once('data', (chunk) => {
      heads.push(String(chunk));
      socket.write('HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno');
    });
  });
  const rest = `GET /smuggled HTTP/1.1\r\nHost: localhost:${origin.port}\r\n\r\n`;
  const length = `Content-Length: ${10 + rest.length}\r\n`;
  client.send(`${get(origin.port, '/', length).replace('GET', 'POST')}0123456789`);
  t.equal((await client.response()).status, 413);
  client.send(rest);
  const other = await say(proxy.port, get(origin.port, '/other'));
  t.equal((await other.response()).status, 413);
  other.socket.destroy();
  t.equal(origin.connections, 2);
  t.match(heads[1], /^GET \/other HTTP/);
  t.notMatch(origin.received, /smuggled/);
});

tap.test('no line of its own for who writes CR or LF into what we build', async (t) => {
  for (const value of ['x\rEvil: 1', 'x\nEvil: 1', 'x\x0bEvil', 'x\0']) {
    const { client, origin } = await withTcp(t, answering('HTTP/1.1 200 OK\r\n\r\n'));
    client.send(get(origin.port, '/', `Connection: Upgrade\r\nUpgrade: ${value}\r\n`));
    t.equal((await client.response()).status, 400, JSON.stringify(value));
    t.equal(origin.received, '');
    const answer = `HTTP/1.1 101 Ok\r\nConnection: Upgrade\r\nUpgrade: ${value}\r\n\r\n`;
    const other = await withTcp(t, answering(answer));
    other.client.send(get(other.origin.port, '/', 'Connection: Upgrade\r\nUpgrade: x\r\n'));
    const got = await other.client.response();
    t.equal(got.status, 502, `${JSON.stringify(value)} in the answer`);
    t.notMatch(got.head, /Evil/);
  }
});

/** A frame's head (RFC 6455 section 5.2) with the length of 64 bits that it claims, and its content. */
function webSocketFrame(first: number, claimed: bigint, content: Buffer): Buffer {
  const head = Buffer.alloc(14);
  head[0] = first;
  head[1] = 0x80 | 127;
  head.writeBigUInt64BE(claimed, 2);
  return Buffer.concat([head, content]); // The mask is zero.
}

tap.test('frames of a WebSocket are not ours to unpack', async (t) => {
  const bomb = deflateRawSync(Buffer.alloc(200 * 1_048_576), { level: 9 });
  const frames = Buffer.concat([
    webSocketFrame(0xc1, BigInt(bomb.length), bomb),
    webSocketFrame(0xf7, 5n, Buffer.from('wrong')), // Reserved bits and a reserved opcode.
    webSocketFrame(0x82, 2n ** 64n - 1n, Buffer.from('endless')),
  ]);
  const offer = 'permessage-deflate; server_max_window_bits=99; client_max_window_bits=0';
  let head = '';
  const pieces: Buffer[] = [];
  const serve = (socket: Socket): void => {
    socket.once('data', (chunk) => {
      head = String(chunk);
      const fields = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: ${offer}`;
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n\r\n`);
      socket.on('data', (piece) => {
        pieces.push(piece);
        socket.write(piece);
      });
    });
  };
  const port = await tlsOrigin(t, serve);
  const proxy = await interceptor(t, [port]);
  const client = await wireInside(t, proxy, port);
  const before = process.memoryUsage().rss;
  client.send(
    `GET / HTTP/1.1\r\nHost: localhost:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Extensions: ${offer}\r\n\r\n`,
  );
  t.match(await client.until('\r\n\r\n'), `Sec-WebSocket-Extensions: ${offer}`);
  client.send(frames);
  const echoed = Buffer.from(await client.bytes(frames.length), 'latin1');
  t.ok(echoed.equals(frames), 'back as they went');
  t.ok(Buffer.concat(pieces).equals(frames), 'there as they went');
  t.match(head, offer);
  const grown = process.memoryUsage().rss - before;
  t.ok(grown < 50 * 1_048_576, `memory grew by ${(grown / 1_048_576).toFixed(1)} MiB`);
});

tap.test('content in zstd has a window that a client must have (RFC 9659)', async (t) => {
  const text = Buffer.alloc(9 * 1_048_576, 'all the letters of a long text, over and over; ');
  const port = await listening(
    t,
    createServer({ key, cert }, (request, response) => {
      const windowLog = Number(request.url?.slice(1));
      const params = { [zlib.ZSTD_c_windowLog]: windowLog, [zlib.ZSTD_c_contentSizeFlag]: 0 };
      response.setHeader('content-encoding', 'zstd');
      response.end(zstdCompressSync(text, { params }));
    }),
  );
  const proxy = await interceptor(t, [port], { bindings: [{ ...BINDING, scrub: 'strict' }] });
  const session = await http2Inside(t, proxy, port);
  t.equal((await ask(session, { ':path': '/23' })).content.length, text.length, '8 MiB');
  await t.rejects(ask(session, { ':path': '/27' }), '128 MiB for each answer');
});
