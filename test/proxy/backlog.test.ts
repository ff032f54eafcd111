// Content that is not taken arrives whole and in order once it is, and waits in few pieces meanwhile:
// in answers of both versions, and in both directions towards origins of HTTP/2. Covers src/proxy/blocks.ts.
import { once } from 'node:events';
import { createSecureServer, type ServerHttp2Stream } from 'node:http2';
import { createServer } from 'node:https';
import type { Socket } from 'node:net';
import { Writable } from 'node:stream';
import fc from 'fast-check';
import tap, { type Test } from 'tap';
import { CONTENT_BLOCK_BYTES } from '../../src/base/limits.ts';
import { Backlog } from '../../src/proxy/backlog.ts';
import { Blocks } from '../../src/proxy/blocks.ts';
import { Reply } from '../../src/proxy/reply.ts';
import {
  DATA,
  END_HEADERS,
  END_STREAM,
  FrameClient,
  frame,
  HEADERS,
  headOf,
  hpack,
  setting,
  uint32,
  WINDOW_UPDATE,
} from '../helpers/frames.ts';
import { heap } from '../helpers/heap.ts';
import {
  certificate,
  http2Inside,
  interceptor,
  listening,
  tlsInside,
} from '../helpers/intercept.ts';
import { connected, outcomeAt, within } from '../helpers/wire.ts';

const COUNT = 60_000; // Less than a Writable takes before it says stop.
const WINDOW = 1_000_000; // More than the content: its end comes in a frame of its own.
const INITIAL_WINDOW = 4;
const HEAP_EACH_MAX = 30; // Bytes; an object for each takes two hundred.

function grownLittle(t: Test, before: number, count = COUNT): void {
  const each = (heap() - before) / count;
  t.ok(each < HEAP_EACH_MAX, `${each.toFixed(1)} bytes of heap each`);
}

const isRight = (all: Buffer): boolean => all.every((byte, at) => byte === at % 251);

tap.test('any pieces, any pace', async () => {
  const lengths = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 40_000 }));
  const property = fc.asyncProperty(
    fc.array(lengths, { maxLength: 60 }),
    fc.array(fc.boolean(), { minLength: 1, maxLength: 20 }),
    async (sizes, prompt) => {
      const written: Buffer[] = [];
      const sink = new Writable({
        write(piece: Buffer, _, done) {
          written.push(piece);
          if (prompt[written.length % prompt.length]) done();
          else setImmediate(done);
        },
      });
      const backlog = new Backlog(sink);
      let sent = 0;
      for (const size of sizes) {
        const piece = Buffer.from(Uint8Array.from({ length: size }, () => sent++ % 251));
        if (!backlog.push(piece)) await within('drain', once(sink, 'drain'));
      }
      backlog.flush();
      sink.end();
      await once(sink, 'finish');
      const all = Buffer.concat(written);
      return all.length === sent && isRight(all);
    },
  );
  await fc.assert(property, { numRuns: 100 });
});

tap.test('bytes that come one by one wait together', async (t) => {
  const waiting: (() => void)[] = [];
  let writes = 0;
  const sink = new Writable({
    write(_, __, done) {
      writes++;
      waiting.push(done);
    },
  });
  const backlog = new Backlog(sink);
  let pushed = 1;
  while (backlog.push(Buffer.of(0))) pushed++;
  t.ok(pushed <= sink.writableHighWaterMark + 2, 'it says stop');
  const drained = once(sink, 'drain').then(() => true);
  let isDrained = false;
  void drained.then(() => {
    isDrained = true;
  });
  while (!isDrained) {
    waiting.shift()?.();
    await new Promise(setImmediate);
  }
  t.ok(writes <= 4 + sink.writableHighWaterMark / CONTENT_BLOCK_BYTES, `${writes} writes`);
});

tap.test('what TLS makes of frames is not copied', (t) => {
  const blocks = new Blocks();
  const pieces = [16_375, 9, 16_366, 18].map((length) => Buffer.alloc(length, length % 251));
  for (const piece of pieces) blocks.add(piece);
  const all = blocks.takeAll();
  t.equal(all[0], pieces[0]);
  t.equal(all[2], pieces[2]);
  t.same(Buffer.concat(all), Buffer.concat(pieces));
  t.ok((all[1]?.buffer.byteLength ?? 0) < CONTENT_BLOCK_BYTES, 'nor gets the rest a whole block');
  t.end();
});

tap.test('an answer of HTTP/1.1', async (t) => {
  const [client, socket] = await connected(t);
  client.socket.pause();
  const reply = new Reply(socket, { method: 'GET', version: 11, keepAlive: true });
  reply.start(200, '', '', null);
  let first = 0;
  for (; socket.writableLength === 0; first += 4_096) reply.data(Buffer.alloc(4_096, 'a'));
  await new Promise(setImmediate);
  const before = heap();
  for (let i = 0; i < COUNT; i++) reply.data(Buffer.of(98 + (i % 7)));
  grownLittle(t, before);
  t.ok(reply.end(''));
  client.socket.resume();
  const text = await client.until('\r\n0\r\n\r\n');
  const content = contentOf(text.slice(text.indexOf('\r\n\r\n') + 4));
  t.equal(content.lastIndexOf('a') + 1, first);
  const rest = Buffer.from(content.slice(first));
  t.equal(rest.length, COUNT);
  t.ok(rest.every((byte, at) => byte === 98 + (at % 7)));
});

function contentOf(chunks: string): string {
  const pieces: string[] = [];
  for (let at = 0; ; ) {
    const line = chunks.indexOf('\r\n', at);
    const length = Number.parseInt(chunks.slice(at, line), 16);
    if (length === 0) return pieces.join('');
    pieces.push(chunks.slice(line + 2, line + 2 + length));
    at = line + 2 + length + 2;
  }
}

tap.test('an answer of HTTP/2', async (t) => {
  const chunks = Buffer.from('1\r\nx\r\n'.repeat(COUNT));
  const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
  const server = createServer(certificate);
  server.on('secureConnection', (socket: Socket) => {
    socket.removeAllListeners('data');
    socket.once('data', () => {
      socket.write(head);
      socket.write(chunks);
      socket.write('0\r\n\r\n');
    });
  });
  const port = await listening(t, server);
  const proxy = await interceptor(t, [port]);
  const client = new FrameClient(await tlsInside(t, proxy, port, 'h2'), setting(INITIAL_WINDOW, 0));
  await client.settled();
  const before = heap();
  client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, hpack(headOf(port))));
  t.match(await outcomeAt(proxy, 0), { bytes_down: COUNT });
  grownLittle(t, before);
  client.send(frame(WINDOW_UPDATE, 0, 1, uint32(WINDOW)));
  await client.when('the end', () => client.finished.has(1));
  t.equal(client.dataBytes, COUNT);
});

/** Sends bytes in a frame each. @returns when the last is on its way. */
async function drip(stream: ServerHttp2Stream, count: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let sent = 0;
  const next = (): void => {
    if (sent === count) resolve();
    else stream.write(Buffer.of(sent++ % 251), next);
  };
  stream.respond();
  next();
  await promise;
  stream.end();
}

tap.test('frames of an origin', async (t) => {
  const count = COUNT + 20_000; // Some of them come while the stream is paused.
  const server = createSecureServer(certificate);
  let dripped = Promise.withResolvers<void>();
  server.on('stream', (stream) => {
    stream.on('error', () => {});
    void drip(stream, count).then(dripped.resolve);
  });
  const port = await listening(t, server);
  const proxy = await interceptor(t, [port]);
  const client = new FrameClient(await tlsInside(t, proxy, port, 'h2'), setting(INITIAL_WINDOW, 0));
  await client.settled();
  const before = heap();
  client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, hpack(headOf(port))));
  await within('all frames', dripped.promise);
  await client.settled();
  grownLittle(t, before, count);
  client.send(frame(WINDOW_UPDATE, 0, 1, uint32(WINDOW)));
  client.send(frame(WINDOW_UPDATE, 0, 0, uint32(WINDOW)));
  await client.when('the end', () => client.finished.has(1));
  t.equal(client.dataBytes, count);

  dripped = Promise.withResolvers<void>();
  const session = await http2Inside(t, proxy, port);
  const stream = session.request({ ':path': '/' });
  await once(stream, 'response');
  await within('all frames', dripped.promise);
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece);
  const all = Buffer.concat(pieces);
  t.equal(all.length, count);
  t.ok(isRight(all), 'in order');
});

tap.test('frames towards an origin', async (t) => {
  const server = createSecureServer({ ...certificate, settings: { initialWindowSize: 0 } });
  const begun = Promise.withResolvers<ServerHttp2Stream>();
  server.on('stream', (stream) => begun.resolve(stream));
  const port = await listening(t, server);
  const proxy = await interceptor(t, [port]);
  const client = new FrameClient(await tlsInside(t, proxy, port, 'h2'));
  await client.settled();
  client.send(frame(HEADERS, END_HEADERS, 1, hpack(headOf(port, 'POST'))));
  const stream = await within('the request', begun.promise);
  const before = heap();
  await client.flood(COUNT, (i) => frame(DATA, i === COUNT - 1 ? 1 : 0, 1, Buffer.of(i % 251)));
  await client.settled();
  grownLittle(t, before);
  stream.session?.settings({ initialWindowSize: 2 * COUNT });
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece);
  const all = Buffer.concat(pieces);
  t.equal(all.length, COUNT);
  t.ok(isRight(all), 'in order');
  stream.respond({}, { endStream: true });
  t.equal(await client.outcomeOf(1), 200);
});
