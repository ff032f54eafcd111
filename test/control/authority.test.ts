// The authority on the disk: made once, replaced whole, told to the workers. The routes are
// src/control/api/routes-authority.ts.
import { X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mock } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { TICKET_KEYS_MS } from '../../src/base/limits.ts';
import { Authority } from '../../src/control/authority.ts';
import { TestAuthority } from '../helpers/certificates.ts';
import { startWorld, temporaryFolder } from '../helpers/control.ts';

function open(t: Test, path: string, nowMs = Date.now()): { authority: Authority; told: string[] } {
  const told: string[] = [];
  const authority = new Authority({
    path,
    clock: { wallMs: () => nowMs, monotonicMs: () => 0 },
    onChange: async () => void told.push(authority.material.certificatePem),
    onTrouble: (error) => {
      throw error;
    },
  });
  t.teardown(() => authority.close());
  return { authority, told };
}

t.test('made at the first start, and kept', async (t) => {
  const path = join(temporaryFolder(t), 'authority.json');
  const { authority } = open(t, path);
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.equal(open(t, path).authority.info().serial, authority.info().serial);
  t.match(authority.info(), { imported: false, key: /ec prime256v1/ });
  const later = open(t, path, Date.parse(authority.info().not_after) - 86_400_000);
  t.not(later.authority.info().serial, authority.info().serial, 'renewed before it ends');
});

t.test('one that cannot be renewed takes nothing down, and is renewed later', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] });
  t.teardown(() => mock.timers.reset());
  const folder = join(temporaryFolder(t), 'state');
  mkdirSync(folder);
  const path = join(folder, 'authority.json');
  const [told, troubles]: [string[], unknown[]] = [[], []];
  const now = { ms: Date.now() };
  const authority: Authority = new Authority({
    path,
    clock: { wallMs: () => now.ms, monotonicMs: () => 0 },
    onChange: async () => void told.push(authority.info().serial),
    onTrouble: (error) => void troubles.push(error),
  });
  t.teardown(() => authority.close());
  const { serial, not_after: end } = authority.info();
  now.ms = Date.parse(end) - 86_400_000;
  rmSync(folder, { recursive: true });
  mock.timers.tick(TICKET_KEYS_MS);
  await setImmediate();
  t.match(
    [troubles, told],
    [[{ code: 'ENOENT' }], [serial]],
    'and the new keys of tickets are told',
  );
  mkdirSync(folder);
  mock.timers.tick(TICKET_KEYS_MS);
  await setImmediate();
  t.strictSame([troubles.length, told.length], [1, 2]);
  t.not(told[1], serial);
});

t.test('a new one is told before it is answered', async (t) => {
  const path = join(temporaryFolder(t), 'authority.json');
  const { authority, told } = open(t, path);
  const before = authority.info();
  const after = await authority.rotate();
  t.not(after.serial, before.serial);
  t.same(told, [authority.export('pem').toString()]);
  t.equal(open(t, path).authority.info().serial, after.serial);
});

t.test("an organisation's own is never renewed by us, and a bad one changes nothing", async (t) => {
  const path = join(temporaryFolder(t), 'authority.json');
  const own = TestAuthority.create('Org CA');
  const { authority, told } = open(t, path, Date.now() + 60_000);
  const before = readFileSync(path, 'utf8');
  await t.rejects(authority.import(Buffer.from('nothing'), null), {
    code: 'SALLYPORT_AUTHORITY_INVALID',
  });
  t.equal(readFileSync(path, 'utf8'), before);
  t.same(told, []);
  t.match(await authority.import(Buffer.from(own.pem + own.keyPem), null), {
    subject: /Org CA/,
    imported: true,
  });
  t.match(open(t, path, Date.now() + 86_400_000).authority.info().subject, /Org CA/);
});

t.test('a file that is none of ours keeps the daemon from starting, and stays', async (t) => {
  const path = join(temporaryFolder(t), 'authority.json');
  writeFileSync(path, '{"certificatePem": 1}');
  t.throws(() => open(t, path), { code: 'SALLYPORT_AUTHORITY_INVALID' });
  t.equal(readFileSync(path, 'utf8'), '{"certificatePem": 1}');
});

t.test('over the API', async (t) => {
  const { client } = await startWorld(t);
  const info = await client.get<{ serial: string }>('/authority');
  const { content } = await client.get<{ content: string }>('/authority/export', { format: 'der' });
  t.equal(new X509Certificate(Buffer.from(content, 'base64')).serialNumber, info.serial);
  const rotated = await client.post<{ serial: string }>('/authority/rotate');
  t.not(rotated.serial, info.serial);
  await t.rejects(client.post('/authority/import', { content: 'AAAA' }), {
    code: 'SALLYPORT_AUTHORITY_INVALID',
  });
  await t.rejects(client.get('/authority/export', { format: 'key' }), {
    code: 'SALLYPORT_REQUEST_INVALID',
  });
});
