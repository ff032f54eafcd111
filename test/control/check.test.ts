// What `policy check --verbose` and the log tell of interception, beside what the workers do.
import { once } from 'node:events';
import { createServer } from 'node:https';
import { connect } from 'node:tls';
import t from 'tap';
import type { CheckResult } from '../../src/control/schemas.ts';
import { startWorld, type World } from '../helpers/control.ts';
import { certificate, listening } from '../helpers/intercept.ts';
import { connectTo, Wire, wire, within } from '../helpers/wire.ts';

const PLACEHOLDER = 'placeholder-of-the-test';

async function checked({ client }: World, target: string): Promise<CheckResult['interception']> {
  const body = { target, verbose: true };
  return (await client.post<CheckResult>('/policy/network/check', body)).interception;
}

async function bind({ client }: World, host: string): Promise<void> {
  const value = 'a-value-of-the-test';
  await client.post('/secrets/custom', {
    hosts: [host],
    env: 'TOKEN',
    placeholder: PLACEHOLDER,
    value,
  });
}

t.test('whether, why, and with which credential', async (t) => {
  const world = await startWorld(t, { preset: 'allow-all', bypass: ['pinned.test'] });
  t.same(await checked(world, 'a.test'), {
    intercepted: false,
    reason: 'no credential is bound to it',
    credentials: [],
  });
  await bind(world, '*.test');
  t.match(await checked(world, 'api.test'), {
    intercepted: true,
    reason: 'a credential is bound to it',
    credentials: [{ name: 'TOKEN', kind: 'custom' }],
  });
  t.match(await checked(world, 'pinned.test'), { intercepted: false, reason: /bypass/ });
  const denied = await startWorld(t, { deny: 'inside' });
  t.match(await checked(denied, 'a.test'), {
    intercepted: true,
    reason: /inside TLS/,
    credentials: [],
  });
  t.match(await checked(await startWorld(t), 'a.test'), {
    intercepted: false,
    reason: 'it is denied',
  });
});

t.test('what passes through the workers is recorded and listed as told', async (t) => {
  const origin = createServer(certificate, (request, response) => {
    response.end(request.headers.authorization);
  });
  const port = await listening(t, origin);
  const world = await startWorld(t, {
    defaultSandbox: 'dev',
    upstreamAuthorities: [certificate.authority],
  });
  await world.client.post('/policy/network/rules', {
    decision: 'allow',
    resources: `localhost:${port}`,
  });
  await bind(world, 'localhost');
  const { content } = await world.client.get<{ content: string }>('/authority/export');
  const proxy = Number(world.instance.status().listen.split(':').at(-1));
  const tunnel = await wire(proxy);
  t.teardown(() => tunnel.socket.destroy());
  tunnel.send(connectTo(`localhost:${port}`));
  await tunnel.until('\r\n\r\n');
  tunnel.socket.removeAllListeners('data');
  const ca = Buffer.from(content, 'base64');
  const secure = connect({ socket: tunnel.socket, servername: 'localhost', ca });
  await within('the handshake', once(secure, 'secureConnect'));
  const client = new Wire(secure);
  client.send(`GET / HTTP/1.1\r\nHost: localhost:${port}\r\nAuthorization: ${PLACEHOLDER}\r\n\r\n`);
  t.equal((await client.response()).content, 'a-value-of-the-test');
  client.socket.destroy();
  const log = await within('the log', logged(world));
  t.match(
    log.allowed_hosts,
    [{ host: `localhost:${port}`, count_since: 1 }],
    'the tunnel itself is not counted',
  );
});

type Log = { allowed_hosts: { host: string; count_since: number }[] };

async function logged({ client }: World): Promise<Log> {
  for (;;) {
    const log = await client.get<Log>('/network/log');
    if (log.allowed_hosts.length > 0) return log;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
