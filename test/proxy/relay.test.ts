// What passes in plain HTTP, byte by byte, between a raw client and an origin.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { connect as connectTo, type Socket } from 'node:net';
import tap, { type Test } from 'tap';
import { WebSocket, WebSocketServer } from 'ws';
import type { ProxySettings } from '../../src/proxy/exchange.ts';
import { startProxy, type TestProxy } from '../helpers/proxy.ts';
import {
  get,
  httpOrigin,
  type Origin,
  outcomeAt,
  tcpOrigin,
  type Wire,
  wire,
  within,
} from '../helpers/wire.ts';

type World = { origin: Origin; proxy: TestProxy; client: Wire };

async function around(t: Test, origin: Origin, settings: Partial<ProxySettings> = {}): Promise<World> {
  const proxy = await startProxy({ rules: [['allow', `localhost:${origin.port}`]], settings });
  const client = await wire(proxy.port);
  t.teardown(async () => {
    client.socket.destroy();
    await proxy.close();
    origin.close();
  });
  return { origin, proxy, client };
}

const withHttp = async (t: Test, listener: RequestListener, settings: Partial<ProxySettings> = {}) =>
  around(t, await httpOrigin(listener), settings);

const withTcp = async (t: Test, serve: (socket: Socket) => void) => around(t, await tcpOrigin(serve));

/** An origin that answers each request head with the same bytes. */
function answering(bytes: string): (socket: Socket) => void {
  return (socket) => {
    let seen = '';
    socket.on('data', (chunk) => {
      seen += chunk.toString('latin1');
      for (let at = seen.indexOf('\r\n\r\n'); at >= 0; at = seen.indexOf('\r\n\r\n')) {
        seen = seen.slice(at + 4);
        socket.write(Buffer.from(bytes, 'latin1'));
      }
    });
  };
}

tap.test('small exchanges share one connection on both sides', async (t) => {
  const { client, origin, proxy } = await withHttp(t, (request, response) => {
    request.resume().on('end', () => response.end(`${request.method} ${request.url}`));
  });
  for (let i = 0; i < 5; i++) {
    client.send(get(origin.port, `/${i}?q=1`));
    const { status, content } = await client.response();
    t.equal(status, 200);
    t.equal(content, `GET /${i}?q=1`);
  }
  const post = `POST http://localhost:${origin.port}/p HTTP/1.1\r\nHost: localhost:${origin.port}\r\n`;
  client.send(`${post}Content-Length: 5\r\n\r\nhello`);
  t.equal((await client.response()).content, 'POST /p');
  client.send(`${post}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`);
  t.equal((await client.response()).content, 'POST /p');
  t.equal(origin.connections, 1);
  const last = await outcomeAt(proxy, 6);
  t.match(last, { status: 200, code: null, bytes_up: 5, bytes_down: 7, address: '127.0.0.1' });
  t.ok(last.connect_ms >= last.decide_ms && last.duration_ms >= last.connect_ms);
});

tap.test('HEAD keeps the length of what it does not carry', async (t) => {
  const { client, origin } = await withHttp(t, (_, response) => {
    response.setHeader('Content-Length', 1234).end();
  });
  for (let i = 0; i < 2; i++) {
    client.send(get(origin.port).replace('GET', 'HEAD'));
    t.match((await client.response('HEAD')).head, /\r\nContent-Length: 1234\r\n/);
  }
});

tap.test('content arrives whole when it is cut anywhere', async (t) => {
  const { client, origin } = await withHttp(t, (request, response) => {
    let content = '';
    request.on('data', (chunk) => {
      content += chunk;
    });
    request.on('end', () => response.end(`<${content}>`));
  });
  const begin = `POST http://localhost:${origin.port}/ HTTP/1.1\r\nHost: localhost:${origin.port}\r\n`;
  const message =
    `${begin}Transfer-Encoding: chunked\r\n\r\n` +
    '5;a="b"\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: dropped\r\n\r\n';
  for (let at = message.indexOf('chunked'); at < message.length; at++) {
    client.send(message.slice(0, at));
    await new Promise(setImmediate); // The proxy is in this process: let it read what it has.
    client.send(message.slice(at));
    t.equal((await client.response()).content, '<hello world>');
  }
});

tap.test('fifty megabytes each way, to a reader that is slow', async (t) => {
  const piece = randomBytes(1_000_000);
  const pieces = 50;
  const sent = createHash('sha256');
  for (let i = 0; i < pieces; i++) sent.update(piece);
  const wanted = sent.digest('hex');
  for (const framing of ['length', 'chunked'] as const) {
    const { origin, proxy, client } = await withHttp(t, (request, response) => {
      const hash = createHash('sha256');
      request.on('data', (chunk) => hash.update(chunk));
      request.on('end', () => {
        response.setHeader('X-Sha256', hash.digest('hex'));
        if (framing === 'length') response.setHeader('Content-Length', pieces * piece.length);
        let left = pieces;
        const more = (): void => {
          while (left > 0) {
            left--;
            if (!response.write(piece)) return void response.once('drain', more);
          }
          response.end();
        };
        more();
      });
    });
    const { socket } = client;
    socket.removeAllListeners('data');
    const up = framing === 'length' ? `Content-Length: ${pieces * piece.length}` : 'Transfer-Encoding: chunked';
    socket.write(`POST http://localhost:${origin.port}/ HTTP/1.1\r\nHost: localhost:${origin.port}\r\n${up}\r\n\r\n`);
    const size = Buffer.from(`${piece.length.toString(16)}\r\n`);
    for (let i = 0; i < pieces; i++) {
      if (framing === 'chunked') socket.write(size);
      if (!socket.write(piece)) await within('upload', once(socket, 'drain'));
      if (framing === 'chunked') socket.write('\r\n');
    }
    if (framing === 'chunked') socket.write('0\r\n\r\n');
    const received = await readSlowly(socket, pieces * piece.length, framing === 'chunked');
    t.equal(received.uploaded, wanted, `${framing}: the origin got what was sent`);
    t.equal(received.sha256, wanted, `${framing}: the client got what was sent`);
    const outcome = await outcomeAt(proxy, 0);
    t.match(outcome, { bytes_up: pieces * piece.length, bytes_down: pieces * piece.length });
  }
});

/** Reads a response in turns, stopping after each chunk; undoes chunked framing when asked. */
async function readSlowly(
  socket: Socket,
  length: number,
  chunked: boolean,
): Promise<{ uploaded: string; sha256: string }> {
  const hash = createHash('sha256');
  let uploaded = '';
  let head = Buffer.alloc(0);
  let inContent = false;
  let left = 0; // Of the present chunk.
  let line = '';
  let got = 0;
  const take = (bytes: Buffer): void => {
    hash.update(bytes);
    got += bytes.length;
  };
  const unchunk = (bytes: Buffer): void => {
    let at = 0;
    while (at < bytes.length) {
      if (left > 0) {
        const piece = bytes.subarray(at, at + left);
        take(piece);
        left -= piece.length;
        at += piece.length;
        continue;
      }
      line += String.fromCharCode(bytes[at++] as number);
      if (!line.endsWith('\n')) continue;
      if (line.trim() !== '') left = Number.parseInt(line, 16);
      line = '';
    }
  };
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    let bytes = chunk as Buffer;
    if (!inContent) {
      head = Buffer.concat([head, bytes]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) continue;
      uploaded = /x-sha256: (\w+)/i.exec(head.toString('latin1', 0, end))?.[1] ?? '';
      bytes = head.subarray(end + 4);
      inContent = true;
    }
    if (chunked) unchunk(bytes);
    else take(bytes);
    await new Promise(setImmediate);
    if (got >= length) break;
  }
  return { uploaded, sha256: hash.digest('hex') };
}

tap.test('a reader that stops stops the origin', async (t) => {
  let written = 0;
  const stalled = Promise.withResolvers<void>();
  const { client, origin, proxy } = await withHttp(t, (_, response) => {
    const piece = Buffer.alloc(65_536);
    let turns = 0;
    const more = (): void => {
      turns = 0;
      while (response.write(piece)) written += piece.length;
      written += piece.length;
    };
    response.on('drain', more);
    more();
    const watch = setInterval(() => {
      if (++turns > 20) {
        clearInterval(watch);
        stalled.resolve();
      }
    }, 10);
    response.on('close', () => clearInterval(watch));
  });
  client.socket.pause();
  client.send(get(origin.port));
  await within('the origin to be stopped', stalled.promise);
  t.ok(written < 40_000_000, `the origin got rid of ${written} bytes`);
  client.socket.destroy();
  t.match(await outcomeAt(proxy, 0), { code: 'SALLYPORT_CLIENT_CLOSED', status: 200 });
});

tap.test('an origin that ends its content by closing', async (t) => {
  const { client, origin } = await withTcp(t, (socket) => {
    socket.once('data', () => socket.end('HTTP/1.0 200 OK\r\nX: y\r\n\r\nuntil the end'));
  });
  client.send(get(origin.port));
  const { content, head } = await client.response();
  t.match(head, /Transfer-Encoding: chunked/);
  t.equal(content, 'd\r\nuntil the end\r\n0\r\n\r\n');
  client.send(get(origin.port));
  t.equal((await client.response()).status, 200, 'the client connection lives on');
});

tap.test('a client of HTTP/1.0 gets no chunks, and the end of the connection', async (t) => {
  const { client, origin } = await withHttp(t, (_, response) => {
    response.write('one ');
    response.end('two');
  });
  client.send(`GET http://localhost:${origin.port}/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`);
  const all = await client.toEnd();
  t.match(all, /^HTTP\/1\.1 200 OK\r\n/);
  t.notMatch(all, /transfer-encoding/i);
  t.match(all, /\r\nConnection: close\r\n/);
  t.ok(all.endsWith('\r\n\r\none two'));
});

tap.test('interim responses pass', async (t) => {
  const { client, origin } = await withHttp(t, (_, response) => {
    response.writeEarlyHints({ link: '</a.css>; rel=preload' });
    response.end('done');
  });
  client.send(get(origin.port));
  const hints = await client.until('\r\n\r\n');
  t.match(hints, /^HTTP\/1\.1 103 Early Hints\r\n/);
  t.match(hints, /link: <\/a\.css>; rel=preload\r\n/i);
  t.equal((await client.response()).content, 'done');
});

tap.test('Expect: 100-continue is answered when somebody will take the content', async (t) => {
  const { client, origin } = await withHttp(t, (request, response) => {
    request.resume().on('end', () => response.end('thanks'));
  });
  const head = (port: number): string =>
    `POST http://localhost:${port}/ HTTP/1.1\r\nHost: localhost:${port}\r\nExpect: 100-continue\r\n` +
    'Content-Length: 5\r\n\r\n';
  client.send(head(origin.port));
  t.equal(await client.until('\r\n\r\n'), 'HTTP/1.1 100 Continue\r\n\r\n');
  client.send('hello');
  t.equal((await client.response()).content, 'thanks');
  client.send(head(1));
  const refused = await client.toEnd();
  t.match(refused, /^HTTP\/1\.1 403 /, 'no 100 before a refusal');
  t.match(refused, /\r\nConnection: close\r\n/);
});

tap.test('no 100 for a destination that does not stand', async (t) => {
  const gone = await tcpOrigin(() => {});
  gone.close();
  const { client } = await around(t, gone);
  client.send(
    `POST http://localhost:${gone.port}/ HTTP/1.1\r\nHost: localhost:${gone.port}\r\n` +
      'Expect: 100-continue\r\nContent-Length: 5\r\n\r\n',
  );
  const answer = await client.toEnd();
  t.match(answer, /^HTTP\/1\.1 502 /);
  t.match(answer, /SALLYPORT_UPSTREAM_UNREACHABLE/);
  t.notMatch(answer, /Blocked by/);
});

tap.test('trailers of a response pass', async (t) => {
  const { client, origin } = await withHttp(t, (_, response) => {
    response.writeHead(200, { Trailer: 'X-Sum' });
    response.write('abc');
    response.addTrailers({ 'X-Sum': '42' });
    response.end();
  });
  client.send(get(origin.port, '/', 'TE: trailers\r\nConnection: TE\r\n'));
  t.match(await client.until('\r\n\r\n'), /\r\nTrailer: X-Sum\r\n/);
  t.equal(await client.until('42\r\n\r\n'), '3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n');
});

tap.test('server-sent events come one by one', async (t) => {
  const next = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const { client, origin } = await withHttp(t, async (_, response) => {
    response.setHeader('Content-Type', 'text/event-stream');
    response.flushHeaders();
    await next[0]?.promise;
    response.write('data: 1\n\n');
    await next[1]?.promise;
    response.end('data: 2\n\n');
  });
  client.send(get(origin.port));
  t.match(await client.until('\r\n\r\n'), /text\/event-stream/, 'the head alone');
  next[0]?.resolve();
  t.equal(await client.until('\n\n\r\n'), '9\r\ndata: 1\n\n\r\n');
  next[1]?.resolve();
  t.equal(await client.until('0\r\n\r\n'), '9\r\ndata: 2\n\n\r\n0\r\n\r\n');
});

tap.test('requests sent ahead are answered in order', async (t) => {
  const { client, origin } = await withHttp(t, (request, response) => {
    request.resume();
    // The first is the slowest.
    let turns = request.url === '/0' ? 20 : 0;
    const answer = (): void => void (turns-- > 0 ? setImmediate(answer) : response.end(request.url));
    answer();
  });
  let all = '';
  for (let i = 0; i < 20; i++) {
    all +=
      i % 3 === 0
        ? `POST http://localhost:${origin.port}/${i} HTTP/1.1\r\nHost: localhost:${origin.port}\r\nContent-Length: 3\r\n\r\nabc`
        : get(origin.port, `/${i}`);
  }
  client.send(all);
  client.socket.end(); // Says all it has to say; the answers are still due.
  for (let i = 0; i < 20; i++) t.equal((await client.response()).content, `/${i}`);
  t.equal(await client.toEnd(), '');
});

tap.test('an answer before the content is in closes the connection', async (t) => {
  const { client, origin, proxy } = await withTcp(t, (socket) => {
    socket.once('data', () => socket.write('HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno'));
  });
  client.send(
    `POST http://localhost:${origin.port}/ HTTP/1.1\r\nHost: localhost:${origin.port}\r\n` +
      'Content-Length: 1000\r\n\r\nbegin',
  );
  const answer = await client.toEnd();
  t.match(answer, /^HTTP\/1\.1 413 Too Much\r\n/);
  t.match(answer, /\r\nConnection: close\r\n/);
  t.ok(answer.endsWith('no'));
  client.send(get(origin.port, '/smuggled'));
  await outcomeAt(proxy, 0);
  t.equal(proxy.outcomes.length, 1);
  t.notMatch(origin.received, /smuggled/);
});

tap.test('an origin that dies within the content is seen to', async (t) => {
  for (const framing of ['Content-Length: 100', 'Transfer-Encoding: chunked']) {
    const { client, origin, proxy } = await withTcp(t, (socket) => {
      socket.once('data', () => {
        socket.end(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n5\r\nhello\r\n`);
      });
    });
    client.send(get(origin.port));
    const all = await client.toEnd();
    t.ok(all.endsWith('hello\r\n'), `${framing}: no clean end`);
    t.match(await outcomeAt(proxy, 0), { status: 200, code: 'SALLYPORT_UPSTREAM_UNREACHABLE' });
  }
});

tap.test('a client that knows no chunks sees a reset when the content is cut', async (t) => {
  const { client, origin, proxy } = await withTcp(t, (socket) => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n');
      proceed.promise.then(() => socket.destroy());
    });
  });
  const proceed = Promise.withResolvers<void>();
  client.send(`GET http://localhost:${origin.port}/ HTTP/1.0\r\n\r\n`);
  await client.until('hello');
  proceed.resolve();
  await client.closed();
  t.equal(client.error, 'ECONNRESET');
  t.match(await outcomeAt(proxy, 0), { status: 200, code: 'SALLYPORT_UPSTREAM_UNREACHABLE' });
});

tap.test('a kept connection that the origin closed: sent again if it can be', async (t) => {
  let requests = 0;
  const { client, origin } = await withTcp(t, (socket) => {
    let mine = 0;
    socket.on('data', () => {
      requests++;
      if (mine++ === 0) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      else socket.destroy(); // As if it had been closed just before.
    });
  });
  client.send(get(origin.port));
  t.equal((await client.response()).status, 200);
  client.send(get(origin.port));
  t.equal((await client.response()).status, 200, 'GET is sent again');
  t.equal(origin.connections, 2);
  client.send(
    `POST http://localhost:${origin.port}/ HTTP/1.1\r\nHost: localhost:${origin.port}\r\nContent-Length: 1\r\n\r\nx`,
  );
  const { status, content } = await client.response();
  t.equal(status, 502, 'POST is not');
  t.match(content, /SALLYPORT_UPSTREAM_UNREACHABLE/);
  t.equal(requests, 4);
});

tap.test('hop-by-hop fields end here, both ways', async (t) => {
  const { client, origin } = await withTcp(
    t,
    answering(
      'HTTP/1.1 200 OK\r\nConnection: X-Private, keep-alive\r\nX-Private: 1\r\nKeep-Alive: timeout=9\r\n' +
        'Proxy-Authenticate: Basic\r\nProxy-Connection: keep-alive\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n' +
        'X-End: yes\r\nContent-Length: 0\r\n\r\n',
    ),
  );
  client.send(
    get(
      origin.port,
      '/',
      'Connection: X-Hop, keep-alive\r\nX-Hop: secret\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\n' +
        'Proxy-Authorization: Basic Ym94OmEtdG9rZW4tb2YtdGhlLXRlc3Rz\r\nProxy-Secret: 1\r\nTE: gzip\r\nX-End: yes\r\n',
    ),
  );
  const { head } = await client.response();
  t.notMatch(head, /x-private|keep-alive|proxy-/i);
  t.match(head, /Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-End: yes\r\n/);
  t.notMatch(origin.received, /x-hop|proxy-|\r\nte:|via|forwarded/i);
  t.match(origin.received, /^GET \/ HTTP\/1\.1\r\nhost: localhost:\d+\r\nconnection: keep-alive\r\nX-End: yes\r\n\r\n$/);
});

tap.test('Via and X-Forwarded-For when they are wanted', async (t) => {
  const origin = await tcpOrigin(answering('HTTP/1.1 200 OK\r\nVia: 1.1 far\r\nContent-Length: 0\r\n\r\n'));
  const { client } = await around(t, origin, { via: true, forwardedFor: true });
  client.send(get(origin.port, '/', 'Via: 1.0 near\r\nX-Forwarded-For: 10.0.0.1\r\n'));
  const { head } = await client.response();
  t.match(origin.received, /via: 1\.0 near, 1\.1 sallyport\r\n/i);
  t.match(origin.received, /x-forwarded-for: 10\.0\.0\.1, 127\.0\.0\.1\r\n/i);
  t.match(head, /Via: 1\.1 far\r\nVia: 1\.1 sallyport\r\n/);
});

tap.test('WebSocket by Upgrade', async (t) => {
  const { origin, proxy } = await withHttp(t, (_, response) => void response.end());
  const { server } = origin as Awaited<ReturnType<typeof httpOrigin>>;
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (peer) => {
    peer.send('hello');
    peer.on('message', (data) => peer.send(`echo ${String(data)}`));
  });
  const client = new WebSocket(`ws://localhost:${origin.port}/chat`, {
    // ws has no proxy setting of its own: absolute-form to the proxy is what one sends.
    createConnection: () => connectTo(proxy.port),
    finishRequest: (request) => {
      request.path = `http://localhost:${origin.port}/chat`;
      request.end();
    },
  });
  const messages: string[] = [];
  const both = Promise.withResolvers<void>();
  client.on('message', (data) => {
    messages.push(String(data));
    if (messages.length === 1) client.send('x'.repeat(100_000));
    else both.resolve();
  });
  await within('messages', both.promise);
  t.same(messages, ['hello', `echo ${'x'.repeat(100_000)}`]);
  client.close();
  await within('close', once(client, 'close'));
  const outcome = await outcomeAt(proxy, 0);
  t.match(outcome, { status: 101, code: null });
  t.ok(outcome.bytes_up > 100_000 && outcome.bytes_down > 100_000);
});

tap.test('Upgrade that is answered 200 gives no tunnel', async (t) => {
  const { client, origin } = await withTcp(
    t,
    answering('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno'),
  );
  client.send(`${get(origin.port, '/', 'Connection: Upgrade\r\nUpgrade: websocket\r\n')}GARBAGE\x00\r\n\r\n`);
  t.equal((await client.response()).content, 'no');
  t.match(await client.toEnd(), /^HTTP\/1\.1 400 /, 'what followed is read as a request, and is none');
  t.match(origin.received, /upgrade: websocket\r\n/i);
  t.notMatch(origin.received, /GARBAGE/);
});

tap.test('OPTIONS for a whole server is refused in clear words', async (t) => {
  const { client, origin } = await withHttp(t, (_, response) => void response.end());
  client.send(`OPTIONS http://localhost:${origin.port} HTTP/1.1\r\nHost: localhost:${origin.port}\r\n\r\n`);
  const { status, content } = await client.response();
  t.equal(status, 400);
  t.match(content, /SALLYPORT_TARGET_INVALID/);
  client.send(get(origin.port));
  t.equal((await client.response()).status, 200);
});

tap.test('an origin cannot write lines of its own into an answer', async (t) => {
  const splitting = Buffer.from('\u010d\u010aX-Evil: 1\u010d\u010a').toString('latin1');
  const { client, origin } = await withTcp(
    t,
    answering(`HTTP/1.1 200 O${splitting}K\r\nContent-Length: 2\r\n\r\nok`),
  );
  client.send(get(origin.port));
  const { head } = await client.response();
  t.notMatch(head, /\nX-Evil/);
  t.notMatch(head.replaceAll('\r\n', ''), /[\r\n]/);
});

for (const [what, bytes] of [
  ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk'],
  ['length and chunks', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['a bare CR', 'HTTP/1.1 200 OK\r\nX: a\rY: b\r\nContent-Length: 0\r\n\r\n'],
  ['a NUL', 'HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n'],
  ['no HTTP', 'SSH-2.0-OpenSSH_9\r\n\r\n'],
  ['101 that nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n'],
] as const) {
  tap.test(`an answer with ${what} is 502`, async (t) => {
    const { client, origin, proxy } = await withTcp(t, answering(bytes));
    client.send(get(origin.port));
    const { status, content } = await client.response();
    t.equal(status, 502);
    t.match(content, /^Sallyport: /);
    t.notMatch(content, /Blocked by/);
    t.match(await outcomeAt(proxy, 0), { status: 502, verdict: 'allow' });
  });
}

tap.test('a head of 40 KB passes', async (t) => {
  const big = 'x'.repeat(40_000);
  const { client, origin } = await withTcp(
    t,
    answering(`HTTP/1.1 200 OK\r\nX-Big: ${big}\r\nContent-Length: 0\r\n\r\n`),
  );
  client.send(get(origin.port, '/', `X-Big: ${big}\r\n`));
  t.match((await client.response()).head, new RegExp(`X-Big: ${big}\r\n`));
  t.ok(origin.received.includes(`X-Big: ${big}\r\n`));
});
