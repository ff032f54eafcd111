// The keychain of the system, by the programs that reach it: stand-ins everywhere, and the real Secret
// Service where it is installed.

import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { keychainOf } from '../../src/credentials/keychain.ts';
import { temporaryFolder } from '../helpers/control.ts';
import { fakeKeychain, secretService, withoutSecretService } from '../helpers/keychain.ts';

const ID = '0123456789abcdef0123456789abcdef';
const OTHER_ID = 'f'.repeat(32);
const TEXT = 'c0ffee'.repeat(10);

for (const [program, platform] of [
  ['secret-tool', 'linux'],
  ['security', 'darwin'],
] as const) {
  t.test(`${program}: what is stored is found, and was on no command line`, async (t) => {
    const fake = fakeKeychain(t, program);
    const keychain = keychainOf(fake.env, platform);
    t.equal(await keychain.find(ID), null);
    await keychain.store(ID, 'another text');
    await keychain.store(ID, TEXT);
    t.equal(await keychain.find(ID), TEXT);
    t.strictSame(fake.items(), { [ID]: TEXT });
    t.equal(await keychain.find(OTHER_ID), null);
    t.match(fake.calls(), ID);
    t.notMatch(fake.calls(), TEXT);
  });

  t.test(`${program}: locked, broken, silent or absent, each is told in time`, async (t) => {
    const fake = fakeKeychain(t, program);
    const keychain = keychainOf(fake.env, platform);
    await keychain.store(ID, TEXT);
    fake.setMood('locked');
    await t.rejects(keychain.find(ID), { name: 'KeychainError', message: 'it is locked' });
    fake.setMood('broken');
    const broken = { name: 'KeychainError', message: `${program} ended with 3` };
    await t.rejects(keychain.find(ID), broken);
    await t.rejects(keychain.store(ID, TEXT), broken);
    fake.setMood('silent');
    const silent = { name: 'KeychainError', message: `${program} took more than 300 ms` };
    const hasty = keychainOf(fake.env, platform, 300);
    await t.rejects(hasty.find(ID), silent);
    await t.rejects(hasty.store(ID, TEXT), silent);
    const nowhere = keychainOf({ ...fake.env, PATH: '/nothing/here' }, platform);
    const absent = { name: 'KeychainError', message: `${program} could not be started` };
    await t.rejects(nowhere.find(ID), absent);
  });
}

t.test('more than a key could be is not read', async (t) => {
  const fake = fakeKeychain(t, 'secret-tool');
  fake.setItem(ID, 'x'.repeat(5_000));
  await t.rejects(keychainOf(fake.env, 'linux').find(ID), {
    message: /wrote more than 4096 bytes/,
  });
});

t.test('without a session bus, or on another system, nothing is started', async (t) => {
  const fake = fakeKeychain(t, 'secret-tool');
  const { PATH } = fake.env;
  const folder = temporaryFolder(t);
  for (const env of [{ PATH }, { PATH, XDG_RUNTIME_DIR: folder }]) {
    const keychain = keychainOf({ ...env, DBUS_SESSION_BUS_ADDRESS: '' }, 'linux');
    const none = { name: 'KeychainError', message: 'there is no D-Bus session' };
    await t.rejects(keychain.find(ID), none);
    await t.rejects(keychain.store(ID, TEXT), none);
  }
  await t.rejects(keychainOf(fake.env, 'aix').find(ID), { message: 'none is known on aix' });
  t.equal(fake.calls(), '');
  const bus = createServer().listen(join(folder, 'bus'));
  await once(bus, 'listening');
  t.teardown(() => bus.close());
  t.equal(await keychainOf({ PATH, XDG_RUNTIME_DIR: folder }, 'linux').find(ID), null);
});

t.test('the real Secret Service', { skip: withoutSecretService() }, async (t) => {
  const { env, restart } = await secretService(t);
  const keychain = keychainOf(env, 'linux');
  t.equal(await keychain.find(ID), null);
  await keychain.store(ID, 'another text');
  await keychain.store(ID, TEXT);
  t.equal(await keychain.find(ID), TEXT);
  t.equal(await keychain.find(OTHER_ID), null);
  await restart('locked');
  await t.rejects(keychain.find(ID), { message: 'it is locked' });
  await t.rejects(keychain.store(OTHER_ID, TEXT), { name: 'KeychainError' });
  await restart('open');
  t.equal(await keychain.find(ID), TEXT);
  t.equal(await keychain.find(OTHER_ID), null);
});
