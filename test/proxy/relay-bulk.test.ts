// Large content both ways, at the slower side's pace.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import tap from 'tap';
import { withHttp } from '../helpers/relay.ts';
import { get, outcomeAt, within } from '../helpers/wire.ts';

const PIECE = randomBytes(1_000_000);
const PIECES = 50;
const BYTES = PIECES * PIECE.length;

for (const framing of ['length', 'chunked'] as const) {
  tap.test(`fifty megabytes each way by ${framing}, to a reader that is slow`, async (t) => {
    const sent = createHash('sha256');
    for (let i = 0; i < PIECES; i++) sent.update(PIECE);
    const wanted = sent.digest('hex');
    const { origin, proxy, client } = await withHttp(t, (request, response) => {
      const hash = createHash('sha256');
      request.on('data', (chunk) => hash.update(chunk));
      request.on('end', () => {
        response.setHeader('X-Sha256', hash.digest('hex'));
        if (framing === 'length') response.setHeader('Content-Length', BYTES);
        sendPieces(response);
      });
    });
    const { socket } = client;
    socket.removeAllListeners('data');
    socket.write(
      `POST http://localhost:${origin.port}/ HTTP/1.1\r\nHost: localhost:${origin.port}\r\n`,
    );
    await upload(socket, framing);
    const received = await readSlowly(socket, BYTES, framing === 'chunked');
    t.equal(received.uploaded, wanted, 'the origin got what was sent');
    t.equal(received.sha256, wanted, 'the client got what was sent');
    t.match(await outcomeAt(proxy, 0), { bytes_up: BYTES, bytes_down: BYTES });
  });
}

function sendPieces(response: ServerResponse): void {
  let left = PIECES;
  const more = (): void => {
    while (left-- > 0) {
      if (!response.write(PIECE)) return void response.once('drain', more);
    }
    response.end();
  };
  more();
}

async function upload(socket: Socket, framing: 'length' | 'chunked'): Promise<void> {
  const chunked = framing === 'chunked';
  socket.write(chunked ? 'Transfer-Encoding: chunked\r\n\r\n' : `Content-Length: ${BYTES}\r\n\r\n`);
  for (let i = 0; i < PIECES; i++) {
    if (chunked) socket.write(`${PIECE.length.toString(16)}\r\n`);
    if (!socket.write(PIECE)) await within('upload', once(socket, 'drain'));
    if (chunked) socket.write('\r\n');
  }
  if (chunked) socket.write('0\r\n\r\n');
}

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
