import { join } from 'node:path';
import t from 'tap';
import { Vault } from '../../src/credentials/vault.ts';
import { keyIn, temporaryFolder } from '../helpers/control.ts';

const VALUE = 'ghp_0123456789abcdefghij';
const UNREADABLE = { code: 'SALLYPORT_VAULT_UNREADABLE' };

t.test('what is sealed comes back, with the same key and id alone', async (t) => {
  const folder = temporaryFolder(t);
  const keyFile = join(folder, 'vault.key');
  const vault = new Vault(await keyIn(keyFile));
  const sealed = await vault.seal('id-1', VALUE);
  t.notOk(sealed.includes(VALUE));
  const again = new Vault(await keyIn(keyFile));
  t.equal(again.open('id-1', sealed), VALUE);
  t.notSame(await again.seal('id-1', VALUE), sealed, 'no two look alike');
  t.throws(() => again.open('id-2', sealed), UNREADABLE, 'it is bound to its id');
  for (const at of [0, 12, sealed.length - 1]) {
    const changed = Buffer.from(sealed);
    changed[at] = (changed[at] ?? 0) ^ 1;
    t.throws(() => again.open('id-1', changed), UNREADABLE, `byte ${at}`);
  }
  for (const length of [0, 5, 20, sealed.length - 1]) {
    t.throws(() => again.open('id-1', sealed.subarray(0, length)), UNREADABLE, `cut at ${length}`);
  }
  const other = new Vault(await keyIn(join(folder, 'other.key')));
  t.throws(() => other.open('id-1', sealed), { ...UNREADABLE, message: 'there is no key' });
  await other.seal('id-1', VALUE);
  t.throws(() => other.open('id-1', sealed), { ...UNREADABLE, message: /other\.key/ });
});

t.test('with a key that cannot be had nothing is opened, and nothing sealed', async (t) => {
  const vault = new Vault(await keyIn(join(temporaryFolder(t), 'vault.key'), () => true));
  const gone = { ...UNREADABLE, message: /vault\.key is gone, and secrets need it/ };
  t.throws(() => vault.open('id-1', Buffer.alloc(40)), gone);
  await t.rejects(vault.seal('id-1', VALUE), gone);
});
