// What `policy check --verbose` and the log tell of interception, beside what the workers do; and
// secrets that a worker has fetched when it needs them.
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { connect } from 'node:tls';
import t, { type Test } from 'tap';
import type { CheckResult } from '../../../src/control/api/schemas.ts';
import { startWorld, temporaryFolder, type World } from '../../helpers/control.ts';
import { certificate, listening } from '../../helpers/intercept.ts';
import { connectTo, Wire, wire, within } from '../../helpers/wire.ts';

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
  t.match(await checked(world, 'pinned.test'), { intercepted: false, reason: /bypass/ });
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

/** A world whose workers intercept an origin that answers with the Authorization it got. */
async function intercepting(t: Test): Promise<{ world: World; port: number }> {
  const origin = createServer(certificate, (request, response) => {
    response.end(request.headers.authorization);
  });
  const port = await listening(t, origin);
  const world = await startWorld(t, {
    defaultSandbox: 'dev',
    upstreamAuthorities: [certificate.authority],
  });
  const rule = { decision: 'allow', resources: `localhost:${port}` };
  await world.client.post('/policy/network/rules', rule);
  return { world, port };
}

/** A client inside the tunnel, which trusts the world's authority. */
async function inside(t: Test, { client, instance }: World, port: number): Promise<Wire> {
  const { content } = await client.get<{ content: string }>('/authority/export');
  const tunnel = await wire(Number(instance.status().listen.split(':').at(-1)));
  t.teardown(() => tunnel.socket.destroy());
  tunnel.send(connectTo(`localhost:${port}`));
  await tunnel.until('\r\n\r\n');
  tunnel.socket.removeAllListeners('data');
  const ca = Buffer.from(content, 'base64');
  const secure = connect({ socket: tunnel.socket, servername: 'localhost', ca });
  await within('the handshake', once(secure, 'secureConnect'));
  return new Wire(secure);
}

function asking(port: number): string {
  return `GET / HTTP/1.1\r\nHost: localhost:${port}\r\nAuthorization: ${PLACEHOLDER}\r\n\r\n`;
}

t.test('what passes through the workers is recorded and listed as told', async (t) => {
  const { world, port } = await intercepting(t);
  await bind(world, 'localhost');
  const client = await inside(t, world, port);
  client.send(asking(port));
  t.equal((await client.response()).content, 'a-value-of-the-test');
  client.socket.destroy();
  const log = await within('the log', logged(world));
  const counted = [{ host: `localhost:${port}`, count_since: 1 }];
  t.match(log.allowed_hosts, counted, 'the tunnel itself is not counted');
});

t.test(
  'a sandbox that trusts the authority is told of refusals inside, the others on CONNECT',
  async (t) => {
    const { world } = await intercepting(t);
    const proxy = Number(world.instance.status().listen.split(':').at(-1));
    for (const [deny, wanted] of [
      ['inside', /^HTTP\/1\.1 200 /],
      ['connect', /^HTTP\/1\.1 403 /],
    ] as const) {
      const added = await world.client.post<{ proxy_url: string }>('/sandbox', {
        name: deny,
        deny,
      });
      const { username, password } = new URL(added.proxy_url);
      const client = await wire(proxy);
      t.teardown(() => client.socket.destroy());
      const basic = Buffer.from(`${username}:${password}`).toString('base64');
      client.send(connectTo('denied.test:443', `Proxy-Authorization: Basic ${basic}\r\n`));
      t.match(await client.until('\r\n\r\n'), wanted);
    }
  },
);

t.test('a secret that a command gives is fetched when it is needed', async (t) => {
  const { world, port } = await intercepting(t);
  const file = join(temporaryFolder(t), 'value');
  await world.client.post('/secrets/custom', {
    hosts: ['localhost'],
    env: 'TOKEN',
    placeholder: PLACEHOLDER,
    command: `cat '${file}'`,
    refresh_ms: 0,
    verify: false,
  });
  const client = await inside(t, world, port);
  client.send(asking(port));
  const refused = await client.response();
  t.equal(refused.status, 502, 'there is no value yet');
  t.match(refused.content, /SALLYPORT_CREDENTIAL_UNAVAILABLE/);
  writeFileSync(file, 'fetched-now\n');
  let { status, content } = refused;
  // A command that failed is left alone for a while.
  for (const startMs = Date.now(); status === 502 && Date.now() - startMs < 20_000; ) {
    await setTimeout(200);
    client.send(asking(port));
    ({ status, content } = await client.response());
  }
  t.equal(content, 'fetched-now');
});

type Log = { allowed_hosts: { host: string; count_since: number }[] };

async function logged({ client }: World): Promise<Log> {
  for (;;) {
    const log = await client.get<Log>('/network/log');
    if (log.allowed_hosts.length > 0) return log;
    await setTimeout(20);
  }
}
