// One buffer for all reads of a socket, on sockets that are dialled and on those that were accepted.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { TUNNEL_READ_BYTES_MAX, TUNNEL_READ_BYTES_MIN } from '../../src/base/limits.ts';
import { ReadBuffer, readInto } from '../../src/proxy/read-buffer.ts';
import { within } from '../helpers/wire.ts';

async function accepted(t: Test): Promise<{ near: Socket; far: Socket }> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const far = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [near] = (await once(server, 'connection')) as [Socket];
  t.teardown(() => {
    far.destroy();
    near.destroy();
    server.close();
  });
  return { near, far };
}

t.test('an accepted socket goes on in the buffer, in order, and grows it', async (t) => {
  const { near, far } = await accepted(t);
  far.write('fresh ');
  const [first] = (await once(near, 'data')) as [Buffer];
  const buffer = new ReadBuffer();
  t.ok(readInto(near, buffer), 'this Node keeps its read buffer where we look for it');
  let text = String(first);
  const memories = new Set<ArrayBufferLike>();
  buffer.attach((chunk) => {
    memories.add(chunk.buffer);
    text += chunk;
    return true;
  });
  const ended = once(near, 'end');
  const sent = 'reused '.repeat(300_000);
  far.end(sent);
  await within('the end', ended);
  t.ok(text === `fresh ${sent}`, 'all of it, once');
  t.ok(memories.size <= 2, 'the small one, then the large one');
  t.same(
    [...memories].map(({ byteLength }) => byteLength),
    [TUNNEL_READ_BYTES_MIN, TUNNEL_READ_BYTES_MAX].slice(0, memories.size),
  );
  buffer.release();
});

t.test('a sink that is full stops the reading until it is resumed', async (t) => {
  const { near, far } = await accepted(t);
  const buffer = new ReadBuffer();
  t.ok(readInto(near, buffer));
  let got = 0;
  buffer.attach((chunk) => {
    got += chunk.length;
    return false;
  });
  near.resume();
  const sent = 64 * TUNNEL_READ_BYTES_MIN;
  far.end(Buffer.alloc(sent));
  const ended = once(near, 'end');
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(got, TUNNEL_READ_BYTES_MIN, 'one read');
  const resume = setInterval(() => near.resume(), 1);
  await within('the end', ended);
  clearInterval(resume);
  t.equal(got, sent);
  buffer.release();
});

t.test('a socket that is gone is left alone', async (t) => {
  const { near } = await accepted(t);
  near.destroy();
  t.notOk(readInto(near, new ReadBuffer()));
});
