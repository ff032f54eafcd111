// HTTP/2 inside a tunnel, towards origins of either version: every message arrives as it was sent.
// src/proxy/http2-accept.ts, src/proxy/http2-head.ts, src/proxy/http2-reply.ts on the client's side,
// src/proxy/http2-origin.ts on the other.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { constants, createSecureServer, type ServerHttp2Stream } from 'node:http2';
import { createServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer } from 'node:tls';
import tap, { type Test } from 'tap';
import { WebSocket, WebSocketServer } from 'ws';
import {
  END_HEADERS,
  END_STREAM,
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
} from '../helpers/intercept.ts';
import { outcomeAt, within } from '../helpers/wire.ts';

type Listener = Parameters<typeof createServer>[1];

const { key, cert } = certificate;

/** The same application behind both versions. */
async function origins(t: Test, listener: NonNullable<Listener>): Promise<[string, number][]> {
  const one = createServer({ key, cert }, listener);
  const two = createSecureServer({ key, cert }, listener as never);
  two.on('sessionError', () => {});
  return [
    ['HTTP/1.1', await listening(t, one)],
    ['HTTP/2', await listening(t, two)],
  ];
}

tap.test('methods, fields, cookies and empty answers', async (t) => {
  for (const [version, port] of await origins(t, (request, response) => {
    const status = Number(request.headers['x-status'] ?? 200);
    response.writeHead(status, { 'set-cookie': ['a=1', 'b=2'], 'x-method': request.method });
    response.end(status === 200 ? JSON.stringify(request.headers) : undefined);
  })) {
    const proxy = await interceptor(t, [port]);
    const session = await http2Inside(t, proxy, port);
    const got = await ask(session, { ':path': '/', cookie: 'a=1', 'x-mine': 'yes' });
    const fields = JSON.parse(got.content);
    t.equal(fields.authorization, `Bearer ${SECRET}`, version);
    t.equal(fields['x-mine'], 'yes');
    t.notOk('cookie' in fields, 'a login beside the credential is removed');
    t.same(got.headers['set-cookie'], ['a=1', 'b=2'], 'two cookies stay two');
    const head = await ask(session, { ':path': '/', ':method': 'HEAD' });
    t.match(head, { status: 200, content: '', headers: { 'x-method': 'HEAD' } });
    for (const status of ['204', '304', '404']) {
      t.equal((await ask(session, { ':path': '/', 'x-status': status })).status, Number(status));
    }
    const custom = await ask(session, { ':path': '/', ':method': 'PROPFIND' }, '<xml/>');
    t.equal(custom.headers['x-method'], 'PROPFIND');
  }
});

tap.test('crumbs of a cookie are one cookie again', async (t) => {
  for (const [version, port] of await origins(t, (request, response) => {
    response.end(request.headers.cookie);
  })) {
    const bindings = [{ ...BINDING, policy: 'if-sentinel' as const }];
    const proxy = await interceptor(t, [port], { bindings });
    const session = await http2Inside(t, proxy, port);
    const got = await ask(session, { ':path': '/', cookie: ['a=1', 'b=2'] });
    t.equal(got.content, 'a=1; b=2', version);
  }
});

tap.test('fifty megabytes each way at once', async (t) => {
  const piece = randomBytes(500_000);
  const pieces = 100;
  const wanted = createHash('sha256');
  for (let i = 0; i < pieces; i++) wanted.update(piece);
  const digest = wanted.digest('hex');
  for (const [version, port] of await origins(t, (request, response) => {
    const hash = createHash('sha256');
    request.on('data', (chunk) => hash.update(chunk));
    request.on('end', () => {
      response.writeHead(200, { 'x-sha256': hash.digest('hex') });
      void send(response, piece, pieces);
    });
  })) {
    const proxy = await interceptor(t, [port]);
    const session = await http2Inside(t, proxy, port);
    const stream = session.request({ ':path': '/', ':method': 'POST' });
    void send(stream, piece, pieces);
    const [headers] = await within('the response', once(stream, 'response'));
    t.equal(headers['x-sha256'], digest, `${version}: the origin got what was sent`);
    const got = createHash('sha256');
    stream.on('data', (chunk) => got.update(chunk));
    await within('the end', once(stream, 'end'));
    t.equal(got.digest('hex'), digest, `${version}: the client got what was sent`);
    const bytes = piece.length * pieces;
    t.match(await outcomeAt(proxy, 0), { bytes_up: bytes, bytes_down: bytes });
  }
});

async function send(
  sink: {
    write(chunk: Buffer): boolean;
    end(): unknown;
    once(event: 'drain', f: () => void): unknown;
  },
  piece: Buffer,
  pieces: number,
): Promise<void> {
  for (let i = 0; i < pieces; i++) {
    if (!sink.write(piece)) await new Promise<void>((resolve) => void sink.once('drain', resolve));
  }
  sink.end();
}

tap.test('many streams at once, and one that fails alone', async (t) => {
  for (const [version, port] of await origins(t, (request, response) => {
    if (request.url !== '/broken') return void response.end(request.url);
    response.writeHead(200, { 'content-length': '100' });
    response.write('part');
    setTimeout(() => response.destroy(), 20);
  })) {
    const proxy = await interceptor(t, [port]);
    const session = await http2Inside(t, proxy, port);
    const broken = session.request({ ':path': '/broken' });
    const failed = once(broken, 'error');
    broken.resume();
    const all = await Promise.all(
      Array.from({ length: 100 }, (_, i) => ask(session, { ':path': `/${i}` })),
    );
    t.ok(
      all.every(({ content }, i) => content === `/${i}`),
      version,
    );
    t.match((await within('the failure', failed))[0], { code: 'ERR_HTTP2_STREAM_ERROR' });
    t.equal((await ask(session, { ':path': '/after' })).content, '/after');
  }
});

tap.test('a client that gives up takes its request with it', async (t) => {
  const gone = Promise.withResolvers<void>();
  const server = createSecureServer({ key, cert }, (request) => {
    request.stream.once('close', () => gone.resolve());
    request.stream.on('error', () => {});
  });
  const port = await listening(t, server);
  const proxy = await interceptor(t, [port]);
  const session = await http2Inside(t, proxy, port);
  const stream = session.request({ ':path': '/' });
  stream.on('error', () => {});
  await once(server, 'request');
  stream.close(8);
  await within('the origin to hear of it', gone.promise);
  t.match(await outcomeAt(proxy, 0), { code: 'SALLYPORT_CLIENT_CLOSED' });
});

tap.test('fields of an answer that node:http2 would throw at', async (t) => {
  const answers: Readonly<Record<string, string>> = {
    '/repeated': 'Content-Type: a/b\r\nContent-Type: c/d\r\nAge: 1\r\nAge: 2\r\n',
    '/named': 'Constructor: yes\r\n__proto__: no\r\n',
    '/impossible': 'HTTP2-Settings: x\r\n',
    '/late': 'Transfer-Encoding: chunked\r\n',
  };
  const server = createTlsServer({ key, cert }, (socket) => {
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      const path = String(chunk).split(' ')[1] ?? '';
      const late = path === '/late';
      const rest = late
        ? '\r\n2\r\nok\r\n0\r\nHTTP2-Settings: x\r\n\r\n'
        : 'Content-Length: 2\r\n\r\nok';
      socket.write(`HTTP/1.1 200 OK\r\n${answers[path]}${rest}`);
    });
  });
  const port = await listening(t, server);
  const proxy = await interceptor(t, [port]);
  const session = await http2Inside(t, proxy, port);
  const repeated = await ask(session, { ':path': '/repeated' });
  t.match(repeated, { status: 200, headers: { 'content-type': 'a/b', age: '1' }, content: 'ok' });
  const named = await ask(session, { ':path': '/named' });
  t.match(named, { headers: { constructor: 'yes' }, content: 'ok' });
  for (const path of ['/impossible', '/late']) {
    await t.rejects(ask(session, { ':path': path }), { code: 'ERR_HTTP2_STREAM_ERROR' }, path);
  }
  t.equal((await ask(session, { ':path': '/named' })).status, 200, 'the others go on');
});

tap.test("fields of a request that are repeated are the origin's to judge", async (t) => {
  const seen: (readonly string[])[] = [];
  for (const [version, port] of await origins(t, (request, response) => {
    seen.push(request.rawHeaders.filter((_, i, all) => all[i - 1]?.toLowerCase() === 'age'));
    response.end();
  })) {
    const proxy = await interceptor(t, [port]);
    const client = new FrameClient(await tlsInside(t, proxy, port, 'h2'));
    const head = hpack([...headOf(port), ['age', '1'], ['age', '2']]);
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, head));
    t.equal(await client.outcomeOf(1), 200);
    t.same(seen.pop(), ['1', '2'], version);
  }
});

tap.test('events come one by one', async (t) => {
  let next = (): void => {};
  for (const [version, port] of await origins(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    next = () => void response.write('data: tick\n\n');
    response.write('data: first\n\n');
  })) {
    const proxy = await interceptor(t, [port]);
    const session = await http2Inside(t, proxy, port);
    const stream = session.request({ ':path': '/' });
    const [first] = await within('the first event', once(stream, 'data'));
    t.equal(String(first), 'data: first\n\n', version);
    next();
    const [second] = await within('the second event', once(stream, 'data'));
    t.equal(String(second), 'data: tick\n\n');
    stream.close();
  }
});

async function chat(t: Test, socket: WebSocket): Promise<void> {
  const message = 'x'.repeat(300_000);
  const [first] = await within('the greeting', once(socket, 'message'));
  t.equal(String(first), 'welcome');
  socket.send(message);
  const [answer] = await within('the echo', once(socket, 'message'));
  t.ok(String(answer) === message);
  const closed = once(socket, 'close');
  socket.close(1000);
  t.equal((await within('the close', closed))[0], 1000);
}

async function webSocketOrigin(t: Test): Promise<number> {
  const server = createServer({ key, cert });
  const sockets = new WebSocketServer({ server, perMessageDeflate: true });
  sockets.on('connection', (socket) => {
    socket.send('welcome');
    socket.on('message', (data) => socket.send(data));
  });
  return listening(t, server);
}

tap.test('WebSocket inside HTTP/1.1', async (t) => {
  const port = await webSocketOrigin(t);
  const proxy = await interceptor(t, [port]);
  const secure = await tlsInside(t, proxy, port, 'http/1.1');
  const socket = new WebSocket(`wss://localhost:${port}/`, { createConnection: () => secure });
  await chat(t, socket);
  await outcomeAt(proxy, 1);
  t.match(
    proxy.outcomes.find(({ method }) => method === 'GET'),
    { status: 101, code: null },
  );
});

tap.test('WebSocket inside HTTP/2 (RFC 8441)', async (t) => {
  const port = await webSocketOrigin(t);
  const proxy = await interceptor(t, [port]);
  const session = await http2Inside(t, proxy, port);
  if (!session.remoteSettings.enableConnectProtocol) {
    await within('the settings', once(session, 'remoteSettings'));
  }
  t.ok(session.remoteSettings.enableConnectProtocol);
  const stream = session.request({
    ':method': 'CONNECT',
    ':protocol': 'websocket',
    ':path': '/',
    'sec-websocket-version': '13',
  });
  const [headers] = await within('the answer', once(stream, 'response'));
  t.equal(headers[':status'], 200);
  t.notOk('sec-websocket-accept' in headers);
  const socket = new WebSocket(null as never, undefined, {
    autoPong: true,
    closeTimeout: 20_000,
  } as never);
  Object.assign(socket, { _isServer: false });
  (socket as unknown as { setSocket(s: Duplex, head: Buffer, options: object): void }).setSocket(
    Object.assign(stream as unknown as Duplex, { setTimeout: () => {}, setNoDelay: () => {} }),
    Buffer.alloc(0),
    { maxPayload: 10_000_000, skipUTF8Validation: false, allowSynchronousEvents: true },
  );
  await chat(t, socket);
  t.match(await outcomeAt(proxy, 0), { method: 'GET', status: 200 });
});

tap.test('what cannot be said in HTTP/1.1 is not said', async (t) => {
  const [[, port] = ['', 0]] = await origins(t, (_, response) => void response.end('no'));
  const proxy = await interceptor(t, [port]);
  for (const [name, headers, status] of [
    ['another authority', { ':authority': 'example.com', ':path': '/' }, 421],
    ['plain http', { ':scheme': 'http', ':path': '/' }, 400],
    ['a path that is none', { ':path': 'nowhere' }, 400],
    ['a backslash', { ':path': '/a\\b' }, 400],
    ['a fragment', { ':path': '/a#b' }, 400],
    ['another host field', { ':path': '/', host: 'example.com' }, 421],
  ] as const) {
    const session = await http2Inside(t, proxy, port);
    const got = await ask(session, headers as Record<string, string>).catch((error) => error);
    t.ok(got.status === status || got.code === 'ERR_HTTP2_STREAM_ERROR', `${name}: ${got.status}`);
    session.destroy();
  }
});

tap.test('an answer before the content is read', async (t) => {
  const server = createSecureServer({ key, cert });
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.respond({ ':status': 413 }, { endStream: true });
  });
  const port = await listening(t, server);
  const proxy = await interceptor(t, [port]);
  const session = await http2Inside(t, proxy, port);
  const stream = session.request({ ':path': '/', ':method': 'POST' });
  stream.on('error', () => {});
  stream.write('some');
  const [headers] = await within('the answer', once(stream, 'response'));
  t.equal(headers[':status'], 413);
  stream.resume();
  await within('the end', once(stream, 'close'));
  t.equal((await outcomeAt(proxy, 0)).status, 413);
});

tap.test('trailers arrive, whether there was content and whether it was read', async (t) => {
  const origin = createSecureServer({ key, cert });
  origin.on('sessionError', () => {});
  origin.on('stream', (stream) => {
    stream.respond({ ':status': 200 }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': 'whole' }));
    stream.on('error', () => {});
    stream.end('early');
  });
  const port = await listening(t, origin);
  const proxy = await interceptor(t, [port]);
  const session = await http2Inside(t, proxy, port);
  const got = await ask(session, { ':path': '/' });
  t.match(got, { content: 'early', trailers: { 'x-sum': 'whole' } }, 'none was sent');
  const upload = session.request({ ':path': '/', ':method': 'POST' });
  upload.on('error', () => {});
  upload.resume().write('so far');
  const [trailers] = await within('the trailers', once(upload, 'trailers'));
  t.equal(trailers['x-sum'], 'whole', 'it was answered before its end');
  await within('the end', once(upload, 'close'));
  t.equal(upload.rstCode, constants.NGHTTP2_NO_ERROR);
});
