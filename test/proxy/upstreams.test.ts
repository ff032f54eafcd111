// Connections go to the permit's addresses and to no other place, whatever the name says.
import { once } from 'node:events';
import { createSecureServer, type ServerHttp2Session } from 'node:http2';
import { createServer as createTlsServer } from 'node:tls';
import tap, { type Test } from 'tap';
import { Pool } from 'undici';
import { systemClock } from '../../src/base/clock.ts';
import { ATTEMPT_DELAY_MS, POOLS_PER_WORKER_MAX } from '../../src/base/limits.ts';
import type { Address } from '../../src/policy/address.ts';
import type { Host } from '../../src/policy/host.ts';
import { Permit } from '../../src/proxy/decide.ts';
import { dial } from '../../src/proxy/route.ts';
import { Trust } from '../../src/proxy/secure.ts';
import { type Upstream, Upstreams } from '../../src/proxy/upstreams.ts';
import { certificate, listening } from '../helpers/intercept.ts';
import { type Origin, tcpOrigin, within } from '../helpers/wire.ts';

function permit(addresses: string[], port: number, host = 'no-such-name.test'): Permit {
  const target = { host: host as Host, port, method: 'GET', path: '/' };
  const poolKey = `1 ${host} ${port} ${addresses.join(' ')}`;
  return new Permit(target, { generation: 1, addresses: addresses as Address[], poolKey });
}

async function origin(t: Test, host = '127.0.0.1'): Promise<Origin> {
  const made = await tcpOrigin((socket) => {
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
  }, host);
  t.teardown(() => made.close());
  return made;
}

tap.test('one address', async (t) => {
  const { port } = await origin(t);
  const socket = await within('connection', dial(permit(['127.0.0.1'], port)).connected);
  t.equal(socket.remoteAddress, '127.0.0.1');
  t.equal(socket.remotePort, port);
  socket.destroy();
});

tap.test('the first address is dead, the second is taken', async (t) => {
  const { port } = await origin(t, '127.0.0.2');
  for (const addresses of [
    ['127.0.0.1', '127.0.0.2'],
    ['::1', '127.0.0.3', '127.0.0.2'],
  ]) {
    const socket = await within('connection', dial(permit(addresses, port)).connected);
    t.equal(socket.remoteAddress, '127.0.0.2');
    socket.destroy();
  }
});

tap.test('an address that answers late is not given up for one that is dead', async (t) => {
  const { port } = await origin(t);
  const dialling = dial(permit(['127.0.0.1', '::1'], port));
  const busyUntil = Date.now() + 2 * ATTEMPT_DELAY_MS;
  while (Date.now() < busyUntil); // Nothing is heard of either meanwhile.
  const socket = await within('connection', dialling.connected);
  t.equal(socket.remoteAddress, '127.0.0.1');
  socket.destroy();
});

tap.test('all addresses are dead', async (t) => {
  const gone = await origin(t);
  gone.close();
  for (const addresses of [['127.0.0.1'], ['127.0.0.1', '127.0.0.2', '::1']]) {
    await t.rejects(dial(permit(addresses, gone.port)).connected, {
      code: 'SALLYPORT_UPSTREAM_UNREACHABLE',
      message: /no-such-name\.test:\d+: ECONNREFUSED/,
    });
  }
});

tap.test('giving up', async (t) => {
  const { port } = await origin(t);
  const dialling = dial(permit(['127.0.0.1'], port));
  dialling.cancel();
  await t.rejects(dialling.connected, { code: 'SALLYPORT_UPSTREAM_UNREACHABLE' });
});

/** What is behind an upstream without TLS. */
function poolOf({ dispatcher }: Upstream): Pool {
  if (dispatcher instanceof Pool) return dispatcher;
  throw new Error('no pool');
}

async function ask(upstream: Upstream): Promise<string> {
  const pool = poolOf(upstream);
  const response = await within('response', pool.request({ path: '/', method: 'GET' }));
  return response.body.text();
}

tap.test('pools are kept by where they lead', async (t) => {
  const [one, two] = [await origin(t), await origin(t, '127.0.0.2')];
  const upstreams = new Upstreams(new Trust(systemClock, []), { nowMs: 0 });
  const first = upstreams.towards(permit(['127.0.0.1'], one.port));
  t.equal(upstreams.towards(permit(['127.0.0.1'], one.port)), first);
  t.not(upstreams.towards(permit(['127.0.0.2'], one.port)), first, 'another address');
  t.not(upstreams.towards(permit(['127.0.0.1'], one.port, 'other.test')), first, 'another name');
  t.equal(await ask(first), 'ok');
  await new Promise(setImmediate); // undici waits a turn before it uses a connection again.
  t.equal(await ask(first), 'ok');
  t.equal(one.connections, 1, 'one connection for both');
  const second = upstreams.towards(permit(['127.0.0.1', '127.0.0.2'], two.port));
  t.equal(second.address, '127.0.0.1');
  t.equal(await ask(second), 'ok');
  t.equal(second.address, '127.0.0.2', 'the address in use, not the first of the list');
  await upstreams.destroy();
  t.equal(upstreams.size, 0);
});

tap.test('of HTTP/2 one connection serves all who ask at once', async (t) => {
  const server = createSecureServer(certificate);
  const sessions: ServerHttp2Session[] = [];
  server.on('session', (session) => sessions.push(session));
  const port = await listening(t, server);
  const trust = new Trust(systemClock, [certificate.authority]);
  const upstreams = new Upstreams(trust, { nowMs: 0 });
  const towards = permit(['127.0.0.1'], port, 'localhost');
  const several = async (): Promise<number> => {
    const asked = Array.from({ length: 20 }, () => upstreams.secureTowards(towards, true));
    return new Set(await Promise.all(asked)).size;
  };
  t.equal(await several(), 1);
  t.equal(upstreams.size, 1);
  while (sessions.length === 0) await new Promise(setImmediate);
  sessions[0]?.destroy();
  while (upstreams.size > 0) await new Promise(setImmediate);
  t.equal(await several(), 1, 'and the next one likewise');
  while (sessions.length === 1) await new Promise(setImmediate);
  t.equal(sessions.length, 2);
  t.equal(upstreams.size, 1);
  server.close();
  await upstreams.destroy();
  await t.rejects(
    Promise.all(Array.from({ length: 3 }, () => upstreams.secureTowards(towards, true))),
  );
  t.equal(upstreams.size, 0, 'nor is a failure kept');
});

tap.test('a connection that was dialled for nobody in the end is closed', async (t) => {
  const server = createTlsServer({ ...certificate, ALPNProtocols: ['http/1.1'] });
  const port = await listening(t, server);
  const hosts = (i: number): Permit =>
    permit(['127.0.0.1'], port, i === 0 ? 'localhost' : `${i}.test`);
  const trust = new Trust(systemClock, [certificate.authority]);
  for (const end of ['evicted', 'destroyed', 'idle'] as const) {
    const upstreams = new Upstreams(trust, { nowMs: 0 });
    const connected = once(server, 'secureConnection');
    await upstreams.secureTowards(hosts(0), true);
    const [socket] = await connected;
    const closed = once(socket.resume(), 'close');
    if (end === 'evicted')
      for (let i = 1; i <= POOLS_PER_WORKER_MAX; i++) upstreams.towards(hosts(i));
    if (end === 'destroyed') await upstreams.destroy();
    await (end === 'idle' ? closed : within(end, closed));
    await upstreams.destroy();
  }
});

tap.test('a pool whose last connection ended is let go', async (t) => {
  const { port, close } = await origin(t);
  const upstreams = new Upstreams(new Trust(systemClock, []), { nowMs: 0 });
  const upstream = upstreams.towards(permit(['127.0.0.1'], port));
  await ask(upstream);
  t.equal(upstreams.size, 1);
  const ended = once(poolOf(upstream), 'disconnect');
  close();
  await within('disconnect', ended);
  t.equal(upstreams.size, 0);
  const dead = upstreams.towards(permit(['127.0.0.1'], port));
  await t.rejects(poolOf(dead).request({ path: '/', method: 'GET' }), {
    code: 'SALLYPORT_UPSTREAM_UNREACHABLE',
  });
  await new Promise(setImmediate);
  t.equal(upstreams.size, 0, 'nor is one that never had any');
  await upstreams.destroy();
});

tap.test('the number of pools is bounded, and those in use are not cut', async (t) => {
  const { port } = await origin(t);
  const upstreams = new Upstreams(new Trust(systemClock, []), { nowMs: 0 });
  const oldest = upstreams.towards(permit(['127.0.0.1'], port));
  const running = ask(oldest);
  for (let i = 0; i < POOLS_PER_WORKER_MAX; i++)
    upstreams.towards(permit(['127.0.0.1'], port, `${i}.test`));
  t.equal(upstreams.size, POOLS_PER_WORKER_MAX);
  t.equal(await running, 'ok');
  await upstreams.destroy();
});
