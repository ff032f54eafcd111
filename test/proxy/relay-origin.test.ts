// Origins that break off, speak nonsense, or change the protocol.
import { once } from 'node:events';
import { connect as connectTo } from 'node:net';
import tap from 'tap';
import { WebSocket, WebSocketServer } from 'ws';
import { answering, around, withTcp } from '../helpers/relay.ts';
import { get, httpOrigin, outcomeAt, within } from '../helpers/wire.ts';

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

tap.test('WebSocket by Upgrade', async (t) => {
  const origin = await httpOrigin((_, response) => void response.end());
  const { proxy } = await around(t, origin);
  const sockets = new WebSocketServer({ server: origin.server });
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
  client.send(
    `${get(origin.port, '/', 'Connection: Upgrade\r\nUpgrade: websocket\r\n')}GARBAGE\x00\r\n\r\n`,
  );
  t.equal((await client.response()).content, 'no');
  t.match(
    await client.toEnd(),
    /^HTTP\/1\.1 400 /,
    'what followed is read as a request, and is none',
  );
  t.match(origin.received, /upgrade: websocket\r\n/i);
  t.notMatch(origin.received, /GARBAGE/);
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
  [
    'length and chunks',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  ['a bare CR', 'HTTP/1.1 200 OK\r\nX: a\rY: b\r\nContent-Length: 0\r\n\r\n'],
  ['a NUL', 'HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n'],
  ['no HTTP', 'SSH-2.0-OpenSSH_9\r\n\r\n'],
  [
    '101 that nobody asked for',
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n',
  ],
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
