// The bytes of answers, by what the client can take.
import type { Socket } from 'node:net';
import tap, { type Test } from 'tap';
import { type Asked, Reply } from '../../src/proxy/reply.ts';
import { connected, type Wire } from '../helpers/wire.ts';

const GET: Asked = { method: 'GET', version: 11, keepAlive: true };

async function replying(t: Test, asked: Partial<Asked> = {}): Promise<[Reply, Wire, Socket]> {
  const [client, socket] = await connected(t);
  return [new Reply(socket, { ...GET, ...asked }), client, socket];
}

const WORD = Buffer.from('word');

/** All bytes of an answer with `WORD` twice. */
async function answer(
  t: Test,
  asked: Partial<Asked>,
  status: number,
  contentLength: number | null,
): Promise<string> {
  const [reply, client, socket] = await replying(t, asked);
  reply.start(status, 'Word', 'X: y\r\n', contentLength);
  reply.data(WORD);
  reply.data(WORD);
  t.ok(reply.end(''), 'whole');
  socket.end();
  return client.toEnd();
}

tap.test('framing', async (t) => {
  const head = 'HTTP/1.1 200 Word\r\nX: y\r\n';
  t.equal(await answer(t, {}, 200, 8), `${head}Content-Length: 8\r\n\r\nwordword`);
  t.equal(
    await answer(t, {}, 200, null),
    `${head}Transfer-Encoding: chunked\r\n\r\n4\r\nword\r\n4\r\nword\r\n0\r\n\r\n`,
  );
  t.equal(await answer(t, { version: 10 }, 200, null), `${head}Connection: close\r\n\r\nwordword`);
  t.equal(
    await answer(t, { keepAlive: false }, 200, 8),
    `${head}Content-Length: 8\r\nConnection: close\r\n\r\nwordword`,
  );
});

tap.test('answers that carry no content', async (t) => {
  t.equal(await answer(t, {}, 204, 8), 'HTTP/1.1 204 Word\r\nX: y\r\n\r\n');
  t.equal(await answer(t, {}, 304, 8), 'HTTP/1.1 304 Word\r\nX: y\r\nContent-Length: 8\r\n\r\n');
  t.equal(await answer(t, {}, 304, null), 'HTTP/1.1 304 Word\r\nX: y\r\n\r\n');
  const head = { method: 'HEAD' };
  t.equal(await answer(t, head, 200, 8), 'HTTP/1.1 200 Word\r\nX: y\r\nContent-Length: 8\r\n\r\n');
  t.equal(await answer(t, head, 200, null), 'HTTP/1.1 200 Word\r\nX: y\r\n\r\n');
});

tap.test('a head goes out before its content comes', async (t) => {
  const [reply, client] = await replying(t);
  reply.start(200, 'OK', '', null);
  t.match(await client.until('\r\n\r\n'), /chunked/);
  reply.data(Buffer.alloc(100_000, 'x'));
  t.equal(await client.bytes(100_009), `186a0\r\n${'x'.repeat(100_000)}\r\n`);
  t.equal(reply.bytes, 100_000);
  reply.end('T: u\r\n');
  t.equal(await client.bytes(11), '0\r\nT: u\r\n\r\n');
});

tap.test('content that is missing is told', async (t) => {
  const [reply] = await replying(t);
  reply.start(200, 'OK', '', 5);
  reply.data(WORD);
  t.notOk(reply.end(''));
});

tap.test('interim responses come before the final one, and not to HTTP/1.0', async (t) => {
  const [reply, client, socket] = await replying(t);
  reply.interim(103, 'Link: a\r\n');
  t.notOk(reply.started);
  reply.start(204, 'No Content', '', null);
  reply.interim(103, '');
  reply.end('');
  socket.end();
  t.equal(
    await client.toEnd(),
    'HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n',
  );
  const [old, oldClient, oldSocket] = await replying(t, { version: 10 });
  old.interim(100, '');
  oldSocket.end();
  t.equal(await oldClient.toEnd(), '');
});

tap.test('a client that does not read says stop', async (t) => {
  const [reply, client, socket] = await replying(t);
  client.socket.pause();
  reply.start(200, 'OK', '', null);
  const piece = Buffer.alloc(65_536);
  t.ok(reply.data(piece), 'what the kernel takes at once does not');
  let pieces = 1;
  while (reply.data(piece)) pieces++;
  t.ok(pieces < 1_000, `${pieces} pieces`);
  t.ok(socket.writableLength > 0);
  const before = socket.writableLength;
  reply.interim(103, '');
  t.equal(socket.writableLength, before);
});

tap.test('a reason phrase is ASCII or nothing', async (t) => {
  for (const [phrase, wanted] of [
    ['All Good', 'All Good'],
    ['', ''],
    ['a\r\nX: y', ''],
    ['\u010d\u010aX: y', ''],
    ['caf\u00e9', ''],
  ] as const) {
    const [reply, client] = await replying(t);
    reply.start(200, phrase, '', 0);
    reply.end('');
    t.equal(await client.until('\r\n'), `HTTP/1.1 200 ${wanted}\r\n`);
  }
});
