// Clients inside a tunnel that ask for much and take nothing: what waits for them is bounded, they
// are let go of in time (src/proxy/sweep.ts), and others are served meanwhile. CVE-2019-9517 and
// its kin: windows that stay shut, connections that nobody reads.
import type { RequestListener } from 'node:http';
import { createSecureServer } from 'node:http2';
import { createServer } from 'node:https';
import tap, { type Test } from 'tap';
import { WebSocketServer } from 'ws';
import {
  EXCHANGE_IDLE_TIMEOUT_MS,
  HTTP2_STREAMS_MAX,
  HTTP2_UNSERVED_STREAMS_MAX,
  KEEP_ALIVE_TIMEOUT_MS,
  LINGER_MS,
  SWEEP_MS,
} from '../../src/base/limits.ts';
import {
  END_HEADERS,
  END_STREAM,
  FrameClient,
  frame,
  HEADERS,
  headOf,
  hpack,
  PING,
  setting,
  uint32,
  WINDOW_UPDATE,
} from '../helpers/frames.ts';
import {
  ask,
  certificate,
  http2Inside,
  interceptor,
  listening,
  tlsInside,
} from '../helpers/intercept.ts';
import type { TestProxy } from '../helpers/proxy.ts';
import { within } from '../helpers/wire.ts';

const { key, cert } = certificate;
const PIECE = Buffer.alloc(65_536, 'x');
const ANSWER_BYTES = 16 * 1_048_576;
/** Per stream: its window at the origin's side, and what the streams and sockets between hold. */
const HELD_BYTES_MAX = 8 * 1_048_576;
const GROWTH_BYTES_MAX = 256 * 1_048_576;
const INITIAL_WINDOW = 4;
const WINDOW_MAX = 0x7fffffff;
const CANCEL = 8;

type Load = { open: number; bytes: number; bytesMax: number };

/** Answers /quick at once, and anything else with as much as is taken. */
async function pouringOrigin(t: Test, version: 1 | 2): Promise<{ port: number; load: Load }> {
  const load: Load = { open: 0, bytes: 0, bytesMax: 0 };
  const listener: RequestListener = (request, response) => {
    if (request.url === '/quick') return void response.end('quick');
    let sent = 0;
    load.open++;
    response.on('error', () => {});
    response.once('close', () => load.open--);
    const pour = (): void => {
      while (sent < ANSWER_BYTES) {
        sent += PIECE.length;
        load.bytes += PIECE.length;
        load.bytesMax = Math.max(load.bytesMax, sent);
        if (!response.write(PIECE)) return void response.once('drain', pour);
      }
      response.end();
    };
    pour();
  };
  if (version === 1)
    return { port: await listening(t, createServer({ key, cert }, listener)), load };
  const server = createSecureServer({ key, cert }, listener as never);
  server.on('sessionError', () => {});
  return { port: await listening(t, server), load };
}

function request(port: number, stream: number, path = '/'): Buffer {
  return frame(HEADERS, END_STREAM | END_HEADERS, stream, hpack(headOf(port, 'GET', path)));
}

async function stalling(
  t: Test,
  proxy: TestProxy,
  port: number,
  window: number,
): Promise<FrameClient> {
  const secure = await tlsInside(t, proxy, port, 'h2');
  const client = new FrameClient(secure, setting(INITIAL_WINDOW, window));
  t.teardown(() => secure.destroy());
  await client.settled();
  return client;
}

/** Asks again and again over another connection, until `value` has not changed for some answers. */
async function untilStill(t: Test, proxy: TestProxy, port: number, value: () => number) {
  const other = await http2Inside(t, proxy, port);
  for (let still = 0, last = -1; still < 200; still = value() === last ? still + 1 : 0) {
    last = value();
    const { content } = await ask(other, { ':path': '/quick' });
    if (content !== 'quick') throw new Error('others are not served');
  }
  other.destroy();
}

for (const version of [1, 2] as const) {
  tap.test(`windows that stay shut, in front of HTTP/${version}`, async (t) => {
    const { port, load } = await pouringOrigin(t, version);
    const proxy = await interceptor(t, [port]);
    const before = process.memoryUsage().rss;
    const client = await stalling(t, proxy, port, 0);
    for (let i = 0; i < HTTP2_STREAMS_MAX; i++) client.send(request(port, 2 * i + 1));
    await client.when('all heads', () => client.statuses.size === HTTP2_STREAMS_MAX);
    await untilStill(t, proxy, port, () => load.bytes);
    const grown = process.memoryUsage().rss - before;
    t.ok(load.bytesMax < HELD_BYTES_MAX, `at most ${load.bytesMax} bytes wait for one stream`);
    t.ok(grown < GROWTH_BYTES_MAX, `memory grew by ${(grown / 1_048_576).toFixed(1)} MiB`);
    t.equal(client.dataBytes, 0);
    t.equal(load.open, HTTP2_STREAMS_MAX, 'slow is not too slow');
    proxy.sweep(EXCHANGE_IDLE_TIMEOUT_MS + 1);
    await client.closed();
    t.equal(client.goaway, 0, 'it is ended with GOAWAY');
    await untilStill(t, proxy, port, () => load.open);
    t.equal(load.open, 0, 'and its requests with it');
  });
}

tap.test('a stream that stalls beside ones that do not', async (t) => {
  const { port, load } = await pouringOrigin(t, 1);
  const proxy = await interceptor(t, [port]);
  const client = await stalling(t, proxy, port, 0);
  client.send(request(port, 1));
  await client.when('the head', () => client.statuses.has(1));
  for (let stream = 3; stream <= 9; stream += 2) {
    proxy.sweep(EXCHANGE_IDLE_TIMEOUT_MS / 3);
    const more = frame(WINDOW_UPDATE, 0, stream, uint32(100));
    client.send(request(port, stream, '/quick'), more);
    t.equal(await client.outcomeOf(stream), 200);
    t.equal(client.resets.has(1), stream > 7, 'in time');
  }
  t.equal(client.resets.get(1), CANCEL);
  t.equal(client.goaway, null, 'the connection goes on');
  t.equal(load.open, 0);
});

tap.test('a connection that nobody reads', async (t) => {
  const { port, load } = await pouringOrigin(t, 1);
  const proxy = await interceptor(t, [port]);
  const client = await stalling(t, proxy, port, WINDOW_MAX);
  client.send(frame(WINDOW_UPDATE, 0, 0, uint32(WINDOW_MAX - 65_535)));
  client.socket.pause();
  client.send(request(port, 1), request(port, 3));
  await untilStill(t, proxy, port, () => load.bytes);
  t.ok(load.bytesMax < ANSWER_BYTES, 'it is stalled');
  const ping = frame(PING, 0, 0, 'pingpong');
  t.equal(await client.flood(1_000_000, () => ping), 'stalled', 'nothing is read of it');
  proxy.sweep(EXCHANGE_IDLE_TIMEOUT_MS + 1);
  await untilStill(t, proxy, port, () => load.open);
  t.equal(load.open, 0, 'nothing is fetched for it any more');
  proxy.sweep(LINGER_MS + 1);
  await untilStill(t, proxy, port, () => proxy.held.size);
  t.equal(proxy.held.size, 2, "only the others' tunnel, and the connection inside");
  client.socket.resume();
  await client.closed();
});

tap.test('a WebSocket that nobody reads', async (t) => {
  const server = createServer({ key, cert }, (_, response) => void response.end('quick'));
  const sockets = new WebSocketServer({ server });
  let bytes = 0;
  sockets.on('connection', (socket) => {
    socket.on('error', () => {});
    const pour = (): void => {
      if (bytes >= ANSWER_BYTES) return;
      bytes += PIECE.length;
      socket.send(PIECE, (error) => error ?? pour());
    };
    pour();
  });
  const port = await listening(t, server);
  const proxy = await interceptor(t, [port]);
  const client = await stalling(t, proxy, port, 0);
  const [, ...rest] = headOf(port, 'CONNECT');
  const fields = [[':method', 'CONNECT'], ...rest, [':protocol', 'websocket']] as const;
  const version = ['sec-websocket-version', '13'] as const;
  client.send(frame(HEADERS, END_HEADERS, 1, hpack([...fields, version])));
  await client.when('the answer', () => client.statuses.get(1) === 200);
  await untilStill(t, proxy, port, () => bytes);
  t.ok(bytes < HELD_BYTES_MAX, `${bytes} bytes wait for it`);
  proxy.sweep(KEEP_ALIVE_TIMEOUT_MS + 1);
  await client.settled();
  t.notOk(client.ended, 'a tunnel may be silent for longer');
});

tap.test('a client that leaves out numbers of streams, but not too many', async (t) => {
  const { port } = await pouringOrigin(t, 1);
  const proxy = await interceptor(t, [port]);
  const client = await stalling(t, proxy, port, 100);
  const skip = 2 * Math.floor(HTTP2_UNSERVED_STREAMS_MAX / 2);
  for (let stream = 1, i = 0; i < 3; i++, stream += 2 * skip + 2) {
    client.send(request(port, stream, '/quick'));
    t.equal(await client.outcomeOf(stream), 200);
    for (let second = 0; second < skip; second++) proxy.sweep(0);
  }
  client.send(request(port, 100_001, '/quick'));
  t.equal(await client.outcomeOf(100_001), 200);
  proxy.sweep(SWEEP_MS);
  await within('the end', client.closed());
  t.equal(client.goaway, 11, 'ENHANCE_YOUR_CALM');
});
