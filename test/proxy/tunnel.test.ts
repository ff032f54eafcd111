// What passes through CONNECT: everything, unchanged, both ways, and nothing before its time.

import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { mock } from 'node:test';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import tap, { type Test } from 'tap';
import {
  HALF_CLOSED_TIMEOUT_MS,
  TUNNEL_IDLE_TIMEOUT_MS,
  TUNNEL_WATCH_MS,
} from '../../src/base/limits.ts';
import { splice } from '../../src/proxy/tunnel.ts';
import { startProxy, type TestProxy } from '../helpers/proxy.ts';
import {
  connectTo,
  type Origin,
  outcomeAt,
  tcpOrigin,
  type Wire,
  wire,
  within,
} from '../helpers/wire.ts';

type World = { origin: Origin; proxy: TestProxy; client: Wire; authority: string };

async function around(t: Test, serve: (socket: Socket) => void): Promise<World> {
  const origin = await tcpOrigin(serve);
  const authority = `localhost:${origin.port}`;
  const proxy = await startProxy({ rules: [['allow', authority]] });
  const client = await wire(proxy.port);
  t.teardown(async () => {
    client.socket.destroy();
    await proxy.close();
    origin.close();
  });
  return { origin, proxy, client, authority };
}

const READY = 'HTTP/1.1 200 Connection established\r\n\r\n';

tap.test('a server that speaks first is heard first', async (t) => {
  const { client, authority } = await around(t, (socket) => socket.write('220 ready\r\n'));
  client.send(connectTo(authority));
  t.equal(await client.until('ready\r\n'), `${READY}220 ready\r\n`);
});

tap.test('the client ends first, and still gets the answer', async (t) => {
  const { client, authority, proxy } = await around(t, (socket) => {
    let all = '';
    socket.on('data', (chunk) => {
      all += chunk;
    });
    socket.on('end', () => socket.end(`got ${all}`));
  });
  client.send(connectTo(authority));
  await client.until(READY);
  client.send('question');
  client.socket.end();
  t.equal(await client.toEnd(), 'got question');
  t.match(await outcomeAt(proxy, 0), {
    ingress: 'connect',
    mode: 'forward-bypass',
    method: 'CONNECT',
    status: 200,
    code: null,
    reason: null,
    address: '127.0.0.1',
    bytes_up: 8,
    bytes_down: 12,
  });
});

tap.test('the server ends first, and still gets the rest', async (t) => {
  const heard = Promise.withResolvers<string>();
  const { client, authority } = await around(t, (socket) => {
    let all = '';
    socket.end('bye');
    socket.on('data', (chunk) => {
      all += chunk;
    });
    socket.on('end', () => heard.resolve(all));
  });
  client.send(connectTo(authority));
  await client.until(READY);
  t.equal(await client.toEnd(), 'bye');
  client.send('one more thing');
  client.socket.end();
  t.equal(await within('the rest', heard.promise), 'one more thing');
});

tap.test('what comes with the CONNECT goes through, its end included', async (t) => {
  const { client, authority, origin } = await around(t, (socket) => {
    socket.on('end', () => socket.end('heard'));
  });
  client.send(`${connectTo(authority)}early`);
  client.socket.end();
  t.equal(await client.toEnd(), `${READY}heard`);
  t.equal(origin.received, 'early');
});

tap.test('what comes with a refused CONNECT goes nowhere', async (t) => {
  const { client, origin, proxy } = await around(t, () => {});
  client.send(
    `${connectTo('localhost:1')}GET http://localhost:${origin.port}/ HTTP/1.1\r\nHost: localhost:${origin.port}\r\n\r\n`,
  );
  const answer = await client.toEnd();
  t.match(answer, /^HTTP\/1\.1 403 /);
  t.match(answer, /\r\nConnection: close\r\n/);
  t.equal(answer.match(/HTTP\/1\.1/g)?.length, 1, 'one answer');
  client.send(
    `GET http://localhost:${origin.port}/ HTTP/1.1\r\nHost: localhost:${origin.port}\r\n\r\n`,
  );
  await outcomeAt(proxy, 0);
  t.equal(proxy.outcomes.length, 1);
  t.equal(origin.connections, 0);
});

tap.test('a destination that does not stand is 502, and no refusal', async (t) => {
  const { client, origin, proxy, authority } = await around(t, () => {});
  origin.close();
  client.send(`${connectTo(authority)}early`);
  const answer = await client.toEnd();
  t.match(answer, /^HTTP\/1\.1 502 Bad Gateway\r\n/);
  t.match(answer, /\r\nX-Sallyport-Code: SALLYPORT_UPSTREAM_UNREACHABLE\r\n/);
  t.match(answer, /ECONNREFUSED/);
  t.notMatch(answer, /Blocked by/);
  t.match(await outcomeAt(proxy, 0), {
    verdict: 'allow',
    status: 502,
    code: 'SALLYPORT_UPSTREAM_UNREACHABLE',
  });
});

tap.test('CONNECT with content is refused', async (t) => {
  const { proxy, origin, authority } = await around(t, () => {});
  for (const field of ['Content-Length: 5', 'Transfer-Encoding: chunked']) {
    const client = await wire(proxy.port);
    client.send(`${connectTo(authority, `${field}\r\n`)}hello`);
    t.match(await client.toEnd(), /^HTTP\/1\.1 400 /, field);
    client.socket.destroy();
  }
  t.equal(origin.connections, 0);
});

tap.test('a hundred megabytes both ways at once, to readers that are slow', async (t) => {
  const piece = randomBytes(1_000_000);
  const pieces = 100;
  const sent = createHash('sha256');
  for (let i = 0; i < pieces; i++) sent.update(piece);
  const wanted = sent.digest('hex');
  const uploaded = Promise.withResolvers<string>();
  const { client, authority, proxy } = await around(t, (socket) => {
    const hash = createHash('sha256');
    readSlowly(socket, (chunk) => hash.update(chunk));
    socket.on('end', () => uploaded.resolve(hash.digest('hex')));
    write(socket, piece, pieces);
  });
  client.send(connectTo(authority));
  await client.until(READY);
  client.socket.removeAllListeners('data');
  const got = createHash('sha256');
  got.update(Buffer.from(client.text, 'latin1'));
  readSlowly(client.socket, (chunk) => got.update(chunk));
  write(client.socket, piece, pieces);
  await within('all of it', once(client.socket, 'end'));
  t.equal(got.digest('hex'), wanted, 'down');
  t.equal(await within('the upload', uploaded.promise), wanted, 'up');
  const bytes = pieces * piece.length;
  t.match(await outcomeAt(proxy, 0), { bytes_up: bytes, bytes_down: bytes });
});

function write(socket: Socket, piece: Buffer, pieces: number): void {
  let left = pieces;
  const more = (): void => {
    while (left > 0) {
      left--;
      if (!socket.write(piece)) return void socket.once('drain', more);
    }
    socket.end();
  };
  more();
}

function readSlowly(socket: Socket, take: (chunk: Buffer) => void): void {
  let turns = 0;
  socket.on('data', (chunk) => {
    take(chunk);
    if (++turns % 16 !== 0) return;
    socket.pause(); // Long enough for the proxy's own socket to fill.
    setImmediate(() => setImmediate(() => socket.resume()));
  });
}

tap.test('a reader that stops stops the server', async (t) => {
  let written = 0;
  const server = Promise.withResolvers<Socket>();
  const { client, authority, proxy } = await around(t, (socket) => server.resolve(socket));
  client.send(connectTo(authority));
  await client.until(READY);
  client.socket.pause();
  const socket = await server.promise;
  const piece = Buffer.alloc(65_536);
  for (let still = 0; still < 50; still++) {
    while (socket.writableLength < piece.length) {
      socket.write(piece);
      written += piece.length;
      still = 0;
    }
    await new Promise(setImmediate);
    t.ok(written < 60_000_000);
    if (written >= 60_000_000) break;
  }
  socket.destroy();
  client.socket.destroy();
  t.match(await outcomeAt(proxy, 0), { status: 200 });
});

tap.test('TLS goes through untouched', async (t) => {
  const dir = t.testdir();
  const [key, cert] = [`${dir}/key.pem`, `${dir}/cert.pem`];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      key,
      '-out',
      cert,
      '-days',
      '1',
      ...subject,
    ],
    { stdio: 'ignore' },
  );
  const secure = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (socket) => {
    socket.once('data', (chunk) => socket.end(`secret ${chunk}`));
  });
  const { client, authority } = await around(t, (socket) => void secure.emit('connection', socket));
  client.send(connectTo(authority));
  await client.until(READY);
  client.socket.removeAllListeners('data');
  const tls = connectTls({
    socket: client.socket,
    servername: 'localhost',
    ca: readFileSync(cert),
  });
  await within('handshake', once(tls, 'secureConnect'));
  t.ok(tls.authorized);
  tls.write('word');
  const [answer] = await within('answer', once(tls, 'data'));
  t.equal(String(answer), 'secret word');
  tls.destroy();
});

tap.test('a client that leaves while its name is looked up is not connected', async (t) => {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<{ addresses: string[]; ttlMs: number }>();
  const origin = await tcpOrigin(() => {});
  const proxy = await startProxy({
    rules: [
      ['allow', '**.test'],
      ['allow', '127.0.0.0/8'],
    ],
    ask: () => {
      asked.resolve();
      return answer.promise;
    },
  });
  t.teardown(async () => {
    await proxy.close();
    origin.close();
  });
  const client = await wire(proxy.port);
  client.send(connectTo(`slow.test:${origin.port}`));
  await within('the question', asked.promise);
  client.socket.resetAndDestroy();
  await turns(50); // The proxy is in this process and learns of the reset meanwhile.
  answer.resolve({ addresses: ['127.0.0.1'], ttlMs: 0 });
  t.match(await outcomeAt(proxy, 0), {
    code: 'SALLYPORT_CLIENT_CLOSED',
    status: 0,
    verdict: 'allow',
  });
  t.equal(origin.connections, 0);
});

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise(setImmediate);
}

tap.test('either side breaking off ends both', async (t) => {
  const closed = Promise.withResolvers<void>();
  const { client, authority, proxy } = await around(t, (socket) => {
    socket.on('close', () => closed.resolve());
    if (!breaks) return;
    socket.once('data', () => socket.resetAndDestroy());
  });
  let breaks = false;
  client.send(connectTo(authority));
  await client.until(READY);
  client.socket.resetAndDestroy();
  await within('the server side to close', closed.promise);
  t.match(await outcomeAt(proxy, 0), { status: 200, reason: 'the tunnel broke: ECONNRESET' });
  breaks = true;
  const second = await wire(proxy.port);
  second.send(`${connectTo(authority)}x`);
  await second.until(READY);
  await second.toEnd();
  second.socket.destroy();
  t.match(await outcomeAt(proxy, 1), {
    status: 200,
    reason: 'the tunnel broke: ECONNRESET',
    bytes_up: 1,
  });
});

tap.test('silence ends a tunnel, sooner when one side has ended', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] });
  t.teardown(() => mock.timers.reset());
  for (const [ends, limitMs] of [
    [false, TUNNEL_IDLE_TIMEOUT_MS],
    [true, HALF_CLOSED_TIMEOUT_MS],
  ] as const) {
    const [near, client] = await pair(t);
    const [far, upstream] = await pair(t);
    const tick = { nowMs: 0 };
    const passage = { up: 0, down: 0, lastMs: 0 };
    const spliced = splice(client, upstream, null, Buffer.alloc(0), passage, tick);
    near.send('x');
    if (ends) near.socket.end();
    await far.until('x');
    if (ends) t.equal(await far.toEnd(), '');
    tick.nowMs = limitMs;
    mock.timers.tick(TUNNEL_WATCH_MS);
    far.send('y'); // A byte puts it off.
    await near.until('y');
    tick.nowMs = 2 * limitMs;
    mock.timers.tick(TUNNEL_WATCH_MS);
    t.notOk(client.destroyed);
    tick.nowMs++;
    mock.timers.tick(TUNNEL_WATCH_MS);
    t.match(await within('the end', spliced), { code: 'IDLE' });
    t.same(passage, { up: 1, down: 1, lastMs: limitMs });
  }
});

/** Two ends of one connection. */
async function pair(t: Test): Promise<[near: Wire, accepted: Socket]> {
  const accepted = Promise.withResolvers<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => accepted.resolve(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const near = await wire((server.address() as AddressInfo).port);
  t.teardown(() => {
    near.socket.destroy();
    server.close();
  });
  return [near, await accepted.promise];
}
