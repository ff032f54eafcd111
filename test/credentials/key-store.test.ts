// Where the key of the secrets is, where a new one goes, and that there is never a second one.
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { readKeyFile, writeKeyFile } from '../../src/credentials/key-file.ts';
import { KeyStore, type KeyStoreOptions } from '../../src/credentials/key-store.ts';
import { keychainOf } from '../../src/credentials/keychain.ts';
import { temporaryFolder } from '../helpers/control.ts';
import { fakeKeychain } from '../helpers/keychain.ts';

const UNREADABLE = { code: 'SALLYPORT_VAULT_UNREADABLE' };
const LOCKED = {
  ...UNREADABLE,
  message: /is in the keychain and cannot be had: it is locked; open the keychain and run/,
};

function setup(t: Test) {
  const keyFile = join(temporaryFolder(t), 'vault.key');
  const fake = fakeKeychain(t, 'secret-tool');
  const keychain = keychainOf(fake.env, 'linux');
  const hasty = keychainOf(fake.env, 'linux', 300);
  const state = { needed: false };
  const reports: string[] = [];
  const open = (more: Partial<KeyStoreOptions> = {}): Promise<KeyStore> =>
    KeyStore.open({
      keyFile,
      provided: false,
      place: 'auto',
      keychain,
      isNeeded: () => state.needed,
      report: (level, message) => void reports.push(`${level}: ${message}`),
      ...more,
    });
  /** The key that the keychain has, as the file names it. */
  const inKeychain = (): Buffer => {
    const content = readKeyFile(keyFile);
    if (content === null || 'key' in content) throw new Error('it is in the file');
    return Buffer.from(fake.items()[content.id] ?? '', 'hex');
  };
  return { keyFile, fake, hasty, state, reports, open, inKeychain };
}

t.test('auto: with the first secret, in the keychain; found there by the next', async (t) => {
  const { keyFile, fake, open, inKeychain, reports } = setup(t);
  const store = await open();
  t.strictSame(store.status, { place: null, problem: null });
  t.notOk(existsSync(keyFile));
  t.equal(fake.calls(), '', 'nobody was asked before there is a secret');
  const [key, same] = await Promise.all([store.need(), store.need()]);
  t.equal(same, key);
  t.equal(Object.keys(fake.items()).length, 1, 'one key, however many ask at once');
  t.strictSame([key.length, store.status.place], [32, 'keychain']);
  t.strictSame(inKeychain(), key);
  t.notOk(readFileSync(keyFile).includes(key));
  t.notMatch(fake.calls(), key.toString('hex'));
  t.strictSame(reports, ['info: the key of the secrets is now in the keychain']);
  const next = await open();
  t.strictSame(next.key, key);
  t.strictSame(await next.need(), key);
});

t.test('auto: in the file when the keychain does not take it, and then for good', async (t) => {
  for (const mood of ['locked', 'silent', 'broken'] as const) {
    const { keyFile, fake, hasty, open, reports } = setup(t);
    fake.setMood(mood);
    const key = await (await open(mood === 'silent' ? { keychain: hasty } : {})).need();
    t.strictSame(readKeyFile(keyFile), { key });
    t.match(reports, [/^info: no keychain for the key of the secrets: secret-tool /, keyFile]);
    fake.setMood('open');
    const before = fake.calls();
    const next = await open();
    t.strictSame([next.key, next.status], [key, { place: 'file', problem: null }]);
    t.equal(fake.calls(), before, 'nobody is asked again');
  }
});

t.test('file: no keychain is asked', async (t) => {
  const { keyFile, fake, open } = setup(t);
  const key = await (await open({ place: 'file' })).need();
  t.strictSame(readKeyFile(keyFile), { key });
  t.equal(fake.calls(), '');
});

t.test('keychain: there or nowhere', async (t) => {
  const { keyFile, fake, open, inKeychain } = setup(t);
  fake.setMood('broken');
  const store = await open({ place: 'keychain' });
  const refused = { ...UNREADABLE, message: /does not take the key of the secrets: secret-tool/ };
  await t.rejects(store.need(), refused);
  t.notOk(existsSync(keyFile));
  fake.setMood('open');
  t.strictSame(await store.need(), inKeychain());
});

t.test('what the keychain does not give back is not relied upon', async (t) => {
  const { keyFile, open } = setup(t);
  const keychain = { store: async () => {}, find: async () => 'c0ffee' };
  const key = await (await open({ keychain })).need();
  t.strictSame(readKeyFile(keyFile), { key });
});

t.test('a key that cannot be had: no other is made, and it is there again later', async (t) => {
  const { keyFile, fake, hasty, state, open } = setup(t);
  const key = await (await open()).need();
  const [id = ''] = Object.keys(fake.items());
  const marker = readFileSync(keyFile, 'utf8');
  state.needed = true;
  for (const [mood, why] of [
    ['locked', 'it is locked'],
    ['silent', 'secret-tool took more than 300 ms'],
    ['broken', 'secret-tool ended with 3'],
  ] as const) {
    fake.setMood(mood);
    const places = ['auto', 'file', 'keychain'] as const;
    const more = mood === 'silent' ? { keychain: hasty } : {};
    for (const store of await Promise.all(places.map((place) => open({ place, ...more })))) {
      t.match(store.status, { place: 'keychain', problem: `cannot be had: ${why}; open` });
      t.equal(store.key, null);
      await t.rejects(store.need(), { ...UNREADABLE, message: store.status.problem ?? '' });
    }
  }
  fake.setMood('open');
  for (const [text, why] of [
    ['c0ffee'.repeat(10), 'what it has is another key'],
    ['', 'what it has is another key'],
  ] as const) {
    fake.setItem(id, text);
    t.match((await open()).status.problem, why);
  }
  fake.setItem(id, key.toString('hex'));
  t.equal(readFileSync(keyFile, 'utf8'), marker);
  t.strictSame(Object.keys(fake.items()), [id]);
  t.strictSame((await open()).key, key);
});

t.test('a lost keychain is given up when nothing needs it and somebody says so', async (t) => {
  const { keyFile, fake, state, open } = setup(t);
  await (await open()).need();
  state.needed = true;
  fake.setMood('locked');
  const auto = await open();
  const file = await open({ place: 'file' });
  await t.rejects(file.need(), LOCKED);
  state.needed = false; // `secret rm --all`
  await t.rejects(auto.need(), LOCKED);
  const key = await file.need();
  t.strictSame([readKeyFile(keyFile), file.status], [{ key }, { place: 'file', problem: null }]);
});

t.test('given up before the start, it is no problem any more', async (t) => {
  const { keyFile, fake, open } = setup(t);
  await (await open()).need();
  fake.setMood('locked');
  t.match((await open()).status.problem, 'it is locked');
  const file = await open({ place: 'file' });
  t.strictSame(file.status, { place: null, problem: null });
  const key = await file.need();
  t.strictSame(readKeyFile(keyFile), { key });
});

t.test('a key file that is gone is not replaced while secrets need it', async (t) => {
  const { keyFile, fake, state, open } = setup(t);
  state.needed = true;
  const store = await open();
  t.match(store.status, { place: 'file', problem: /vault\.key is gone, .* give it back/ });
  await t.rejects(store.need(), { ...UNREADABLE, message: /is gone/ });
  t.notOk(existsSync(keyFile));
  t.strictSame(fake.items(), {});
  state.needed = false;
  t.equal((await store.need()).length, 32);
});

t.test('the key moves where it is told to be, and stays the same', async (t) => {
  const { keyFile, fake, open, inKeychain, reports } = setup(t);
  const key = await (await open({ place: 'file' })).need();
  fake.setMood('locked');
  const stays = await open({ place: 'keychain' });
  t.strictSame([stays.key, stays.status.place], [key, 'file']);
  t.match(reports.at(-1), /^warn: the key of the secrets stays in the file: .*secret-tool/);
  fake.setMood('open');
  const moved = await open({ place: 'keychain' });
  t.strictSame([moved.key, moved.status.place], [key, 'keychain']);
  t.strictSame(inKeychain(), key);
  t.notOk(readFileSync(keyFile).includes(key));
  t.strictSame((await open()).status.place, 'keychain');
  const back = await open({ place: 'file' });
  t.strictSame([back.key, back.status.place, readKeyFile(keyFile)], [key, 'file', { key }]);
});

t.test('a file that is provided is read, and never written', async (t) => {
  const { keyFile, fake, open } = setup(t);
  const key = Buffer.alloc(32, 7);
  const provided = { provided: true, place: 'keychain' } as const;
  const missing = { ...UNREADABLE, message: `the key file ${keyFile} cannot be opened: ENOENT` };
  await t.rejects(open(provided), missing);
  t.notOk(existsSync(keyFile));
  writeKeyFile(keyFile, { key });
  const store = await open(provided);
  t.strictSame([store.key, store.where, readKeyFile(keyFile)], [key, keyFile, { key }]);
  t.equal(fake.calls(), '');
  chmodSync(keyFile, 0o640);
  await t.rejects(open(provided), { ...UNREADABLE, message: /run chmod 600/ });
  writeFileSync(keyFile, '', { mode: 0o600 });
  chmodSync(keyFile, 0o600);
  writeKeyFile(keyFile, { id: '0'.repeat(32) });
  await t.rejects(open(provided), {
    ...UNREADABLE,
    message: /holds no key: that is in a keychain/,
  });
});
