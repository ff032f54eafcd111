// Content arrives whole and in order, however it is cut, and what waits does so in few pieces.
import { once } from 'node:events';
import { createServer } from 'node:https';
import { createServer as createTcpServer, type Socket } from 'node:net';
import fc from 'fast-check';
import tap from 'tap';
import { CONTENT_BLOCK_BYTES, CONTENT_HELD_BYTES_MAX } from '../../src/base/limits.ts';
import { IncomingContent } from '../../src/proxy/content.ts';
import {
  DATA,
  END_HEADERS,
  FrameClient,
  frame,
  HEADERS,
  headOf,
  hpack,
} from '../helpers/frames.ts';
import { heap } from '../helpers/heap.ts';
import { certificate, interceptor, listening, tlsInside } from '../helpers/intercept.ts';
import { outcomeAt } from '../helpers/wire.ts';

const turn = (): Promise<void> => new Promise(setImmediate);

tap.test('any pieces, any pace', async (t) => {
  const lengths = fc.array(
    fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 70_000 })),
    {
      maxLength: 40,
    },
  );
  const property = fc.asyncProperty(
    lengths,
    fc.array(fc.boolean(), { maxLength: 40 }),
    async (sizes, reads) => {
      const content = new IncomingContent(() => {});
      const read: Buffer[] = [];
      let sent = 0;
      for (const [i, size] of sizes.entries()) {
        content.add(Buffer.from(Uint8Array.from({ length: size }, () => sent++ % 251)));
        if (reads[i]) read.push(content.read() ?? Buffer.alloc(0));
        if (i % 3 === 0) await turn();
      }
      content.finish();
      for await (const piece of content) read.push(piece);
      const all = Buffer.concat(read);
      return all.length === sent && all.every((byte, at) => byte === at % 251);
    },
  );
  await fc.assert(property, { numRuns: 60 });
  t.end();
});

tap.test('bytes that come one by one wait together, up to a bound', async (t) => {
  let wanted = 0;
  const content = new IncomingContent(() => wanted++);
  let added = 1;
  while (content.add(Buffer.from([added & 255]))) added++;
  t.equal(added, CONTENT_HELD_BYTES_MAX);
  t.equal(wanted, 0);
  let pieces = 0;
  content.on('data', () => pieces++);
  while (content.readableLength > 0 || wanted === 0) await turn();
  t.ok(pieces <= 2 + CONTENT_HELD_BYTES_MAX / CONTENT_BLOCK_BYTES, `${pieces} pieces`);
  t.ok(content.add(Buffer.from('x')), 'and there is room again');
  content.finish();
  await once(content, 'end');
  content.destroy();
  t.notOk(content.add(Buffer.from('x')));
});

tap.test('whole when nobody has read any', (t) => {
  const content = new IncomingContent(() => {});
  for (const piece of ['a', 'b', 'c'.repeat(20_000), 'd']) content.add(Buffer.from(piece));
  content.finish();
  t.equal(String(content.whole()), `ab${'c'.repeat(20_000)}d`);
  t.end();
});

tap.test('frames of one byte, while nobody reads and after', async (t) => {
  const waiting: Socket[] = [];
  const origin = createServer(certificate, async (request, response) => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece);
    const all = Buffer.concat(pieces);
    const isRight = all.every((byte, at) => byte === at % 251);
    response.end(`${all.length} ${isRight}`);
  });
  // It answers the handshake when it is told to.
  const port = await listening(
    t,
    createTcpServer((socket) => void waiting.push(socket)),
  );
  const proxy = await interceptor(t, [port]);
  const client = new FrameClient(await tlsInside(t, proxy, port, 'h2'));
  await client.settled();
  client.send(frame(HEADERS, END_HEADERS, 1, hpack(headOf(port, 'POST'))));
  const count = CONTENT_HELD_BYTES_MAX + 30_000; // Some of them come while the stream is paused.
  const before = heap();
  await client.flood(count, (i) => frame(DATA, i === count - 1 ? 1 : 0, 1, Buffer.of(i % 251)));
  await client.settled();
  const grown = (heap() - before) / count;
  t.ok(grown < 20, `${grown} bytes of heap each`);
  for (const socket of waiting) origin.emit('connection', socket);
  t.equal(await client.outcomeOf(1), 200);
  t.match(await outcomeAt(proxy, 0), { bytes_up: count, bytes_down: `${count} true`.length });
});
