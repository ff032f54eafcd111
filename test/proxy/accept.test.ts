// A client connection by itself, before a pipeline of the test's own: how bytes become requests,
// and when a connection ends.
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { Readable } from 'node:stream';
import tap, { type Test } from 'tap';
import { HEAD_BYTES_MAX, LINGER_MS } from '../../src/base/limits.ts';
import { Connection } from '../../src/proxy/accept.ts';
import type { Received, Serve } from '../../src/proxy/exchange.ts';
import { sweep } from '../../src/proxy/sweep.ts';
import { type Wire, wire, within } from '../helpers/wire.ts';

type World = {
  connection: Connection;
  client: Wire;
  tick: { nowMs: number };
  /** Codes of heads that could not be read. */
  malformed: string[];
};

/** One connection, and what answers on it. */
async function around(t: Test, request: (received: Received) => Promise<void>): Promise<World> {
  const malformed: string[] = [];
  const tick = { nowMs: 1_000 };
  const serve: Serve = {
    request,
    malformed: async (_, reply, error) => {
      malformed.push(error.code);
      reply.start(error.status, 'Bad', '', 0);
      reply.end('');
    },
  };
  const server = createServer({ allowHalfOpen: true, noDelay: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const client = await wire((server.address() as AddressInfo).port);
  const [socket] = await accepted;
  const origin = { listener: null, remoteAddress: '127.0.0.1', loopback: true };
  const connection = new Connection(socket, origin, serve, tick);
  t.teardown(() => {
    client.socket.destroy();
    socket.destroy();
    server.close();
  });
  return { connection, client, tick, malformed };
}

async function contentOf({ content }: Received): Promise<string> {
  if (!(content instanceof Readable)) return content === null ? '' : String(content);
  let all = '';
  for await (const chunk of content) all += chunk;
  return all;
}

async function echo(received: Received): Promise<void> {
  const answer = Buffer.from(
    `${received.head.method} ${received.head.target} ${await contentOf(received)}`,
  );
  received.reply.start(200, 'OK', '', answer.length);
  received.reply.data(answer);
  received.reply.end('');
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function until(what: string, ready: () => boolean): Promise<void> {
  const wait = async (): Promise<void> => {
    while (!ready()) await turn();
  };
  await within(what, wait());
}

const HOST = 'HTTP/1.1\r\nHost: a\r\n';
const REQUESTS =
  `GET /1 ${HOST}\r\n` +
  `POST /2 ${HOST}Content-Length: 5\r\n\r\nhello` +
  `POST /3 ${HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nT: u\r\n\r\n` +
  `\r\nGET /4 ${HOST}\r\n`;
const ANSWERS = ['GET /1 ', 'POST /2 hello', 'POST /3 abcdefg', 'GET /4 '];

tap.test('requests cut in two anywhere', async (t) => {
  const { client, malformed } = await around(t, echo);
  for (let at = 0; at <= REQUESTS.length; at++) {
    client.send(REQUESTS.slice(0, at));
    await turn();
    await turn();
    client.send(REQUESTS.slice(at));
    for (const wanted of ANSWERS) {
      const { content } = await client.response();
      if (content !== wanted) t.equal(content, wanted, `cut at ${at}`);
    }
  }
  t.same(malformed, []);
});

tap.test('requests byte by byte', async (t) => {
  const { client, malformed } = await around(t, echo);
  for (const byte of REQUESTS) {
    client.send(byte);
    await turn();
  }
  for (const wanted of ANSWERS) t.equal((await client.response()).content, wanted);
  t.same(malformed, []);
});

tap.test('a head sent slowly costs no more than its length', async (t) => {
  const { client } = await around(t, echo);
  const head = `GET /${'a'.repeat(30_000)} ${HOST}X: ${'b'.repeat(20_000)}\r\n\r\n`;
  for (let at = 0; at < head.length; at += 97) {
    client.send(head.slice(at, at + 97));
    if (at % 970 === 0) await turn();
  }
  t.match((await client.response()).content, /^GET \/aaaa/);
});

tap.test('a head that does not end is answered 408', async (t) => {
  const { client, connection, malformed, tick } = await around(t, echo);
  client.send(`GET / ${HOST}X: `);
  await until('the head to begin', () => connection.phase === 'head');
  t.equal(connection.sinceMs, 1_000);
  tick.nowMs = 20_000;
  client.send('slow');
  await turn();
  await turn();
  t.equal(connection.sinceMs, 1_000, 'more bytes of the same head do not put it off');
  connection.expire();
  t.match(await client.toEnd(), /^HTTP\/1\.1 408 /);
  t.same(malformed, ['SALLYPORT_REQUEST_TIMEOUT']);
});

tap.test('an idle connection just ends', async (t) => {
  const { client, connection } = await around(t, echo);
  client.send(`GET / ${HOST}\r\n`);
  await client.response();
  t.equal(connection.phase, 'idle');
  connection.expire();
  t.equal(await client.toEnd(), '');
});

tap.test('after a head that cannot be read nothing is read', async (t) => {
  const served: string[] = [];
  const { client, malformed, connection } = await around(t, async (received) => {
    served.push(received.head.target);
    await echo(received);
  });
  client.send(`GET / HTTP/1.1\r\nHost : a\r\n\r\nGET /next ${HOST}\r\n`);
  t.match(await client.toEnd(), /^HTTP\/1\.1 400 /);
  client.send(`GET /more ${HOST}\r\n`);
  client.socket.end();
  await client.closed();
  t.same(malformed, ['SALLYPORT_REQUEST_MALFORMED']);
  t.same(served, []);
  t.ok(connection.draining, 'a linger time-out ends it if the client does not');
});

tap.test('draining between requests ends at once', async (t) => {
  const { client, connection } = await around(t, echo);
  client.send(`GET / ${HOST}\r\n`);
  await client.response();
  connection.drain();
  t.equal(await client.toEnd(), '');
});

tap.test('draining within a request finishes it, and says so', async (t) => {
  const begun = Promise.withResolvers<void>();
  const proceed = Promise.withResolvers<void>();
  let served = 0;
  const { client, connection } = await around(t, async (received) => {
    served++;
    begun.resolve();
    await proceed.promise;
    await echo(received);
  });
  client.send(`GET /1 ${HOST}\r\nGET /2 ${HOST}\r\n`);
  await within('the request', begun.promise);
  connection.drain();
  proceed.resolve();
  const all = await client.toEnd();
  t.match(all, /\r\nConnection: close\r\n\r\nGET \/1 $/);
  t.equal(served, 1);
});

tap.test('a client that has said all it has to say gets all its answers', async (t) => {
  const { client } = await around(t, async (received) => {
    await turn();
    await echo(received);
  });
  client.send(REQUESTS);
  client.socket.end();
  for (const wanted of ANSWERS) t.equal((await client.response()).content, wanted);
  t.equal(await client.toEnd(), '');
});

tap.test('half a request and an end', async (t) => {
  const { client, malformed } = await around(t, echo);
  client.send(`GET / ${HOST}`);
  client.socket.end();
  t.equal(await client.toEnd(), '');
  t.same(malformed, []);
});

tap.test('requests without end, and nobody reads the answers', async (t) => {
  let served = 0;
  const { client, connection } = await around(t, async ({ reply }) => {
    served++;
    reply.start(200, 'OK', '', 10_000);
    reply.data(Buffer.alloc(10_000));
    reply.end('');
  });
  client.socket.pause();
  const many = 20_000;
  client.send(`GET / ${HOST}\r\n`.repeat(many));
  await until('the connection to stop', () => connection.socket.isPaused() || served === many);
  t.ok(served < many, `${served} were served`);
  t.ok(
    connection.socket.writableLength < 100_000,
    `${connection.socket.writableLength} bytes wait`,
  );
  client.socket.resume();
  await until('the rest', () => served === many);
});

tap.test('what is sent ahead is bounded', async (t) => {
  const proceed = Promise.withResolvers<void>();
  const { client, connection } = await around(t, () => proceed.promise);
  client.send(`GET / ${HOST}\r\n`.repeat(500_000));
  await until('the connection to stop', () => connection.socket.isPaused());
  t.ok(
    connection.socket.bytesRead < HEAD_BYTES_MAX + 10 * 65_536,
    `${connection.socket.bytesRead} bytes`,
  );
});

tap.test('content that nobody takes is not read', async (t) => {
  const proceed = Promise.withResolvers<void>();
  const { client, connection } = await around(t, async ({ reply }) => {
    await proceed.promise;
    reply.start(413, 'Too Much', '', 0);
    reply.end('');
  });
  client.send(`POST / ${HOST}Content-Length: 100000000\r\n\r\n`);
  client.send(Buffer.alloc(5_000_000));
  await until('the connection to stop', () => connection.socket.isPaused());
  t.ok(connection.socket.bytesRead < 500_000, `${connection.socket.bytesRead} bytes`);
  proceed.resolve();
  t.match(await client.toEnd(), /^HTTP\/1\.1 413 /, 'the answer is not lost to a reset');
});

tap.test('a client that goes away is told of once', async (t) => {
  const gone = Promise.withResolvers<void>();
  let times = 0;
  const { client, connection } = await around(t, async ({ client: own }) => {
    own.onGone = () => {
      times++;
      gone.resolve();
    };
    await gone.promise;
  });
  client.send(`GET / ${HOST}\r\n`);
  await until('the request', () => connection.onGone !== null);
  client.socket.resetAndDestroy();
  await within('the news', gone.promise);
  await turn();
  t.equal(times, 1);
});

tap.test('who takes an answer slowly gets all of it', async (t) => {
  const answer = Buffer.alloc(64_000_000, 'a'); // More than any kernel takes at once.
  const { client, connection, tick } = await around(t, async ({ reply }) => {
    reply.start(200, 'OK', '', null);
    reply.data(answer);
    reply.end('');
  });
  client.socket.pause();
  client.send('GET / HTTP/1.0\r\n\r\n');
  await until('the last word', () => connection.draining);
  tick.nowMs += LINGER_MS + 1;
  sweep([connection], tick.nowMs);
  t.notOk(connection.gone, 'it is not lingering yet');
  let bytes = 0;
  client.socket.removeAllListeners('data').on('data', (chunk) => {
    bytes += chunk.length;
  });
  client.socket.resume();
  await within('the end', once(client.socket, 'end'));
  t.ok(bytes > answer.length, `${bytes} bytes`);
  await until('lingering', () => connection.phase === 'idle');
  tick.nowMs += LINGER_MS + 1;
  sweep([connection], tick.nowMs);
  t.ok(connection.gone, 'now it has had its time');
});
