import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import { SallyportError } from '../../src/base/errors.ts';
import { parseListen, proxyUrl, Sandboxes, sha256 } from '../../src/control/sandboxes.ts';
import { Store } from '../../src/control/store.ts';
import type { SandboxRecord } from '../../src/workers/messages.ts';
import { startWorld, temporaryFolder } from '../helpers/control.ts';

function setup(
  t: Parameters<typeof temporaryFolder>[0],
  onDrop: (store: Store) => void = () => {},
) {
  const folder = temporaryFolder(t);
  const store = Store.open(join(folder, 'policy.db'));
  t.teardown(() => store.close());
  const configured: (readonly SandboxRecord[])[] = [];
  const provisioned: string[] = [];
  const state = { refusing: false, sticking: false, unpublished: '' };
  const sandboxes = new Sandboxes({
    store,
    clock: systemClock,
    configure: async (records) => {
      configured.push(records);
      if (state.refusing) throw new SallyportError('SALLYPORT_CONFLICT', 'EADDRINUSE');
    },
    provision: async ({ phase }) => {
      provisioned.push(phase);
      if (state.unpublished === phase) throw new SallyportError('SALLYPORT_PUBLISH_TIMEOUT', 'no');
    },
    dropScope: async () => {
      onDrop(store);
      if (state.sticking) throw new SallyportError('SALLYPORT_PUBLISH_TIMEOUT', 'stuck');
    },
    reservedPaths: [join(folder, 'api.sock')],
  });
  return { folder, store, configured, provisioned, state, sandboxes };
}

t.test('a token is given once, and only its hash is kept', async (t) => {
  const { store, configured, sandboxes } = setup(t);
  const issued = await sandboxes.add({ name: 'box' });
  t.match(issued.token, /^[\w-]{43}$/, '32 bytes in base64url');
  t.equal(store.sandboxes()[0]?.tokenSha256, sha256(issued.token));
  t.notOk(JSON.stringify([store.sandboxes(), configured]).includes(issued.token));
  t.equal(configured.at(-1)?.[0]?.tokenSha256, sha256(issued.token), 'workers know it already');
  const url = new URL(proxyUrl(issued, { kind: 'tcp', host: '0.0.0.0', port: 3128 }));
  t.strictSame([url.username, url.password, url.host], ['box', issued.token, '127.0.0.1:3128']);

  const rotated = await sandboxes.rotate('box');
  t.not(rotated.token, issued.token);
  t.equal(configured.at(-1)?.[0]?.tokenSha256, sha256(rotated.token));
  t.equal(rotated.sandbox.number, issued.sandbox.number);
  await t.rejects(sandboxes.rotate('nope'), { message: 'sandbox "nope" not found' });
});

t.test('a sandbox with a listener of its own is told that one', async (t) => {
  const { sandboxes } = setup(t);
  const issued = await sandboxes.add({ name: 'box', listen: '[::1]:9000' });
  t.equal(proxyUrl(issued, { kind: 'tcp', host: '127.0.0.1', port: 1 }), 'http://[::1]:9000');
});

t.test('bad names and places are refused before anything happens', async (t) => {
  const { configured, sandboxes, folder, store } = setup(t);
  const invalid = { code: 'SALLYPORT_REQUEST_INVALID' };
  for (const name of ['', 'A', '-a', 'a-', 'a.b', 'a b', 'ä', 'a/../b', 'x'.repeat(64)]) {
    await t.rejects(sandboxes.add({ name }), invalid, JSON.stringify(name));
  }
  for (const listen of ['', '9000', 'host.test:1', '127.0.0.1:0', '127.0.0.1:65536', '::1:80']) {
    await t.rejects(sandboxes.add({ name: 'a', listen }), invalid, listen);
  }
  for (const unix of ['relative', '/nul\0', `/${'x'.repeat(120)}`]) {
    await t.rejects(sandboxes.add({ name: 'a', unix }), invalid, unix);
  }
  await t.rejects(sandboxes.add({ name: 'a', sourceAddress: 'host' }), invalid);
  await t.rejects(sandboxes.add({ name: 'a', listen: '[::1]:1', unix: '/x' }), invalid);
  writeFileSync(join(folder, 'precious'), 'data');
  const conflict = { code: 'SALLYPORT_CONFLICT' };
  await t.rejects(sandboxes.add({ name: 'a', unix: join(folder, 'precious') }), conflict);
  await t.rejects(sandboxes.add({ name: 'a', unix: join(folder, 'api.sock') }), conflict);
  t.strictSame([configured, store.sandboxes()], [[], []]);
});

t.test('no two sandboxes are told apart by the same thing', async (t) => {
  const { sandboxes } = setup(t);
  await sandboxes.add({ name: 'a', listen: '127.0.0.1:9000', sourceAddress: '10.0.0.1' });
  const conflict = { code: 'SALLYPORT_CONFLICT', message: /"a"/ };
  await t.rejects(sandboxes.add({ name: 'a' }), conflict);
  await t.rejects(sandboxes.add({ name: 'b', listen: 'localhost:9000' }), conflict);
  await t.rejects(sandboxes.add({ name: 'b', sourceAddress: '10.0.0.1' }), conflict);
});

t.test('what workers cannot take is taken back', async (t) => {
  const { sandboxes, state, store, configured } = setup(t);
  state.refusing = true;
  await t.rejects(sandboxes.add({ name: 'a', listen: '127.0.0.1:9000' }), {
    message: 'EADDRINUSE',
  });
  t.strictSame([store.sandboxes(), sandboxes.list(), configured.at(-1)], [[], [], []]);
});

t.test('removed means unknown, to workers first', async (t) => {
  const { sandboxes, configured, store, state } = setup(t);
  const { sandbox } = await sandboxes.add({ name: 'a' });
  t.equal(sandboxes.nameOf(sandbox.number), 'a');
  state.sticking = true;
  await t.rejects(sandboxes.remove('a'), { code: 'SALLYPORT_PUBLISH_TIMEOUT' });
  t.equal(sandboxes.numberOf('a'), sandbox.number, 'whole while its rules are in force');
  t.strictSame(configured.at(-1), sandboxes.records());
  state.sticking = false;
  await sandboxes.remove('a');
  t.strictSame([configured.at(-1), store.sandboxes()], [[], []]);
  t.throws(() => sandboxes.numberOf('a'), { code: 'SALLYPORT_NOT_FOUND' });
  t.equal(sandboxes.nameOf(sandbox.number), undefined);
});

t.test('no death lets a sandbox in again that has lost its denies', async (t) => {
  const atDrop: unknown[] = [];
  const { sandboxes } = setup(t, (store) => void atDrop.push(store.sandboxes()));
  await sandboxes.add({ name: 'a' });
  await sandboxes.remove('a');
  t.strictSame(atDrop, [[]], 'its token opens nothing before its rules go');
});

t.test('a removal that fails leaves a sandbox its denies', async (t) => {
  const { client, paths } = await startWorld(t);
  await client.post('/sandbox', { name: 'box' });
  await client.post('/policy/network/rules', {
    ...{ decision: 'deny', resources: 'bad.test', sandbox: 'box' },
  });
  const custom = { env: 'KEY', hosts: ['a.test'], sandbox: 'box', value: 'v' };
  await client.post('/secrets/custom', custom);
  const disk = new DatabaseSync(paths.policyDatabase);
  t.teardown(() => disk.close());
  const denies = async (): Promise<number> =>
    (await client.get<{ rules: [] }>('/policy/network/rules?sandbox=box')).rules.length;
  const before = await denies();
  for (const table of ['secrets', 'sandboxes', 'rules']) {
    disk.exec(`CREATE TRIGGER full BEFORE DELETE ON ${table} BEGIN SELECT RAISE(ABORT, ''); END`);
    await t.rejects(client.delete('/sandbox/box'));
    disk.exec('DROP TRIGGER full');
    t.equal(await denies(), before, table);
  }
  await client.delete('/sandbox/box');
  for (const table of ['secrets', 'sandboxes']) {
    t.strictSame(disk.prepare(`SELECT * FROM ${table}`).all(), []);
  }
});

t.test('reads HOST:PORT', async (t) => {
  t.strictSame(parseListen('localhost:0', 0), { host: '127.0.0.1', port: 0 });
  t.strictSame(parseListen('[::]:80', 1), { host: '::', port: 80 });
});

const KIT = {
  name: 'k',
  install: { allow: ['a.com'], deny: [] },
  runtime: { allow: [], deny: [] },
};

t.test(
  'a phase is on the disk, in the rules and with the workers, or in none of them',
  async (t) => {
    const { store, configured, provisioned, state, sandboxes } = setup(t);
    await sandboxes.add({ name: 'box', kit: KIT, phase: 'install' });
    const there = () => [
      store.sandboxes()[0]?.phase,
      provisioned.at(-1),
      configured.at(-1)?.[0]?.phase,
      sandboxes.get('box').phase,
    ];
    const all = (phase: string) => [phase, phase, phase, phase];
    t.strictSame(there(), all('install'));
    state.unpublished = 'runtime';
    await t.rejects(sandboxes.setPhase('box', 'runtime'), { code: 'SALLYPORT_PUBLISH_TIMEOUT' });
    t.strictSame(there(), all('install'), 'the rules could not be put in force');
    state.unpublished = '';
    state.refusing = true;
    await t.rejects(sandboxes.setPhase('box', 'runtime'), { code: 'SALLYPORT_CONFLICT' });
    t.strictSame(there(), all('install'), 'a worker did not take it');
    state.refusing = false;
    await sandboxes.setPhase('box', 'runtime');
    t.strictSame(there(), all('runtime'));
    const { length } = configured;
    await sandboxes.setPhase('box', 'runtime');
    t.equal(configured.length, length, 'nothing to do');
  },
);

t.test('a kit that cannot be put in force leaves no sandbox', async (t) => {
  const { store, state, sandboxes } = setup(t);
  state.unpublished = 'runtime';
  await t.rejects(sandboxes.add({ name: 'box', kit: KIT }), { code: 'SALLYPORT_PUBLISH_TIMEOUT' });
  t.strictSame([store.sandboxes(), sandboxes.list()], [[], []]);
});
