// Settings of a daemon that runs, over its API and a real connection through its proxy: what holds at
// once, what waits for a restart, and what becomes of a change that fails. Covers
// src/control/settings/effect.ts and src/control/api/routes-settings.ts.
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Effects } from '../../../src/control/settings/effect.ts';
import { LiveSettings } from '../../../src/control/settings/live.ts';
import { Settings } from '../../../src/control/settings/settings.ts';
import { TestAuthority } from '../../helpers/certificates.ts';
import { startWorld, temporaryFolder, type World } from '../../helpers/control.ts';
import { loopbackDns } from '../../helpers/dns.ts';

type Told = { readonly value: unknown; readonly source: string; readonly restart_pending: boolean };

function change({ client }: World, key: string, value: unknown): Promise<Told> {
  return client.put<Told>(`/daemon/settings/${key}`, { value });
}

/** The fields that an origin sees of a request through the proxy; null where the proxy refuses it. */
async function asked(t: Test, { client }: World): Promise<IncomingMessage['headers'] | null> {
  let seen: IncomingMessage['headers'] | null = null;
  const origin = createServer((received, answer) => {
    seen = received.headers;
    answer.end();
  }).listen(0, '127.0.0.1');
  t.teardown(() => void origin.close());
  await once(origin, 'listening');
  const target = `origin.test:${(origin.address() as AddressInfo).port}`;
  const { listen } = await client.get<{ listen: string }>('/daemon/status');
  const [host = '', port = ''] = listen.split(':');
  const sent = request({ host, port, path: `http://${target}/`, headers: { host: target } });
  sent.end();
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  answer.resume();
  await once(answer, 'end');
  return seen;
}

t.test('what the workers go by changes while they run', async (t) => {
  const dnsServers = [await loopbackDns(t)];
  const world = await startWorld(t, { preset: 'allow-all', defaultSandbox: 'box', dnsServers });
  t.equal(await asked(t, world), null, '** does not open special addresses');
  t.match(await change(world, 'network.addressGuard', 'docker'), {
    value: 'docker',
    source: 'override',
    restart_pending: false,
  });
  t.match(await asked(t, world), { host: /^origin\.test/, via: undefined });
  await change(world, 'network.via', true);
  await change(world, 'network.forwardedFor', true);
  t.match(await asked(t, world), { via: /./, 'x-forwarded-for': '127.0.0.1' });
  await world.client.delete('/daemon/settings/network.via');
  t.match(await asked(t, world), { via: undefined, 'x-forwarded-for': '127.0.0.1' });
  await change(world, 'network.addressGuard', 'strict');
  t.equal(await asked(t, world), null);
  t.strictSame(JSON.parse(readFileSync(world.paths.settings, 'utf8')), {
    'network.addressGuard': 'strict',
    'network.forwardedFor': true,
  });
});

t.test('what is told of hosts, levels and the default sandbox follows', async (t) => {
  const world = await startWorld(t);
  const { client } = world;
  await change(world, 'network.bypass', ['Pinned.test:443', '*.bank.test']);
  t.match(await client.get('/policy/network/rules'), {
    bypass: ['pinned.test:443', '*.bank.test'],
  });
  await change(world, 'daemon.logLevel', 'warn');
  t.strictSame(await client.get('/daemon/loglevel'), { general: 'warn', proxy: 'warn' });
  await t.rejects(client.get('/environment'), { code: 'SALLYPORT_USAGE' });
  await change(world, 'daemon.defaultSandbox', 'laptop');
  t.match(await client.get('/environment'), { sandbox: 'laptop', identified_by: 'default' });
});

t.test('how rules are taken', async (t) => {
  const world = await startWorld(t, { preset: 'balanced' });
  const { client } = world;
  const remove = () => client.delete('/policy/network/rules', { id: 'default-os-packages' });
  await t.rejects(remove(), { code: 'SALLYPORT_CONFLICT', message: /policy\.defaults/ });
  await change(world, 'policy.defaults', 'removable');
  await remove();
  t.notOk(world.instance.policy.rules.some(({ id }) => id === 'default-os-packages'));
  const rule = (decision: string) =>
    client.post('/policy/network/rules', { decision, resources: 'a.test' });
  await rule('allow');
  await change(world, 'policy.conflicts', 'refuse');
  await t.rejects(rule('deny'), { code: 'SALLYPORT_CONFLICT', message: /conflicts with existing/ });
  await change(world, 'policy.conflicts', 'store');
  await rule('deny');
  await change(world, 'policy.localDenies', 'active');
  t.equal(world.instance.policy.semantics.localDenies, 'active');
});

t.test('what needs a start waits for it, and says so', async (t) => {
  const world = await startWorld(t);
  t.match(await change(world, 'daemon.workers', 7), { value: 7, restart_pending: true });
  const { settings } = await world.client.get<{ settings: { key: string }[] }>('/daemon/settings');
  t.match(
    settings.filter((one) => 'restart_pending' in one && one.restart_pending === true),
    [{ key: 'daemon.workers', requires_restart: true, env_var: 'SALLYPORT_DAEMON_WORKERS' }],
  );
  t.match(await world.client.delete('/daemon/settings/daemon.workers'), {
    value: 0,
    restart_pending: false,
  });
});

t.test('what is refused changes nothing', async (t) => {
  const world = await startWorld(t);
  const { client } = world;
  await t.rejects(change(world, 'network.vai', true), {
    code: 'SALLYPORT_NOT_FOUND',
    message: /is network\.via meant\?/,
  });
  for (const [key, value] of [
    ['network.via', 'true'],
    ['network.bypass', ['a.com', 'b..c']],
    ['daemon.listen', '127.0.0.1'],
    ['daemon.apiListen', '127.0.0.1:9'],
    ['network.upstreamCa', ['/none.pem']],
    ['daemon.defaultSandbox', 'No_Name'],
  ] as const) {
    await t.rejects(change(world, key, value), { code: 'SALLYPORT_SETTING_INVALID' }, key);
  }
  await t.rejects(client.put('/daemon/settings/network.via', { valu: true }), {
    code: 'SALLYPORT_REQUEST_INVALID',
  });
  await t.rejects(client.get('/daemon/settings/constructor'), { code: 'SALLYPORT_NOT_FOUND' });
  await t.rejects(client.delete('/daemon/settings/daemon.listn'), { message: /daemon\.listen/ });
  t.throws(() => readFileSync(world.paths.settings), { code: 'ENOENT' });
});

/** Settings whose effects are written down, or fail. */
function recorded(t: Test, fail: (call: string) => boolean = () => false) {
  const path = join(temporaryFolder(t), 'settings.json');
  const calls: string[] = [];
  const reported: unknown[] = [];
  const nowMs = { value: Date.now() };
  const call = (text: string): void => {
    if (fail(text)) throw new Error(`no ${text}`);
    calls.push(text);
  };
  const effects = new Proxy({} as Effects, {
    get: (_, key) => (value: unknown) => call(`${String(key)}=${JSON.stringify(value)}`),
  });
  const settings = new LiveSettings({
    started: Settings.load({ path, env: {}, given: {} }),
    clock: { wallMs: () => nowMs.value },
    effects,
    configure: async () => call('configure'),
    report: (error) => reported.push(error),
  });
  return { path, calls, reported, settings, nowMs };
}

t.test('a change that fails is taken back, in the file and in force', async (t) => {
  const broken = { value: false };
  const { settings, path, calls } = recorded(
    t,
    (call) => call === 'configure' && broken.value && !calls.includes('network.via=false'),
  );
  await settings.set('network.deny', 'inside');
  calls.length = 0;
  broken.value = true;
  await t.rejects(settings.set('network.via', true), { message: 'no configure' });
  t.strictSame(calls, ['network.via=true', 'network.via=false', 'configure']);
  t.strictSame(JSON.parse(readFileSync(path, 'utf8')), { 'network.deny': 'inside' });
  t.match(settings.record('network.via'), { value: false, source: 'default' });
  t.equal(settings.values['network.via'], false);
});

t.test('changes at one time are made one after the other, none is lost', async (t) => {
  const { settings, path } = recorded(t);
  await Promise.all([
    settings.set('network.via', true),
    settings.set('network.forwardedFor', true),
    settings.set('policy.defaults', 'removable'),
    settings.unset('network.via'),
  ]);
  t.strictSame(JSON.parse(readFileSync(path, 'utf8')), {
    'network.forwardedFor': true,
    'policy.defaults': 'removable',
  });
});

t.test(
  'a fault from before, such as a certificate that ended, keeps nothing from changing',
  async (t) => {
    const { settings, path, nowMs } = recorded(t);
    const { cert, key } = TestAuthority.create().issue({ names: 'DNS:client', days: 2 });
    const pem = join(path, '..', 'both.pem');
    writeFileSync(pem, cert + key, { mode: 0o600 });
    nowMs.value = Date.now(); // It begins now, and the clock of the settings was read before.
    await settings.set('network.clientCertificates', [`a.test=${pem}`]);
    t.match(settings.record('network.clientCertificates'), { restart_pending: true });
    await t.rejects(settings.set('network.bypass', ['a.test']), {
      message: /--bypass a\.test keeps/,
    });
    nowMs.value += 3 * 86_400_000;
    await settings.set('network.via', true);
    t.equal(settings.values['network.via'], true);
    await t.rejects(settings.set('daemon.apiListen', '127.0.0.1:9'), {
      message: /needs daemon\.apiTokenFile/,
    });
  },
);

t.test('an edit by hand is taken over, a faulty one is reported and left', async (t) => {
  const { settings, path, calls, reported } = recorded(t);
  const stop = settings.watch();
  t.teardown(stop);
  writeFileSync(path, '{"network.via":true,"daemon.workers":2}');
  await settings.refresh();
  t.strictSame(calls, ['network.via=true', 'configure']);
  t.match(settings.record('daemon.workers'), { value: 2, restart_pending: true });
  for (const faulty of [
    '{"network.vai":true}',
    '{"network.via":',
    '{"daemon.apiListen":"127.0.0.1:1"}',
  ]) {
    writeFileSync(path, faulty);
    await settings.refresh();
    t.match(reported.pop(), { code: 'SALLYPORT_SETTING_INVALID' }, faulty);
    t.equal(settings.values['network.via'], true);
  }
  writeFileSync(path, '{}');
  await settings.refresh();
  t.strictSame(calls.slice(2), ['network.via=false', 'configure']);
  t.strictSame(reported, []);
});
