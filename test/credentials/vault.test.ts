import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Vault } from '../../src/credentials/vault.ts';
import { temporaryFolder } from '../helpers/control.ts';

const VALUE = 'ghp_0123456789abcdefghij';
const UNREADABLE = { code: 'SALLYPORT_VAULT_UNREADABLE' };

t.test('what is sealed comes back, with the same key and id alone', async (t) => {
  const folder = temporaryFolder(t);
  const keyFile = join(folder, 'vault.key');
  const sealed = Vault.open(keyFile).seal('id-1', VALUE);
  t.notOk(sealed.includes(VALUE));
  const again = Vault.open(keyFile);
  t.equal(again.open('id-1', sealed), VALUE);
  t.notSame(again.seal('id-1', VALUE), sealed, 'no two look alike');
  t.throws(() => again.open('id-2', sealed), UNREADABLE, 'it is bound to its id');
  for (const at of [0, 12, sealed.length - 1]) {
    const changed = Buffer.from(sealed);
    changed[at] = (changed[at] ?? 0) ^ 1;
    t.throws(() => again.open('id-1', changed), UNREADABLE, `byte ${at}`);
  }
  for (const length of [0, 5, 20, sealed.length - 1]) {
    t.throws(() => again.open('id-1', sealed.subarray(0, length)), UNREADABLE, `cut at ${length}`);
  }
  const other = Vault.open(join(folder, 'other.key'));
  t.throws(() => other.open('id-1', sealed), { ...UNREADABLE, message: /other\.key/ });
});

t.test('the key is made once, whole, and is its owner’s alone', async (t) => {
  const keyFile = join(temporaryFolder(t), 'vault.key');
  writeFileSync(`${keyFile}.new`, 'of a process that was killed', { mode: 0o600 });
  Vault.open(keyFile);
  t.strictSame([statSync(keyFile).size, statSync(keyFile).mode & 0o777], [32, 0o600]);
  t.notOk(existsSync(`${keyFile}.new`));
  const key = readFileSync(keyFile);
  Vault.open(keyFile);
  t.strictSame(readFileSync(keyFile), key);
});

t.test('a key file that cannot be trusted or used is refused, and named', async (t) => {
  const folder = temporaryFolder(t);
  const keyFile = join(folder, 'vault.key');
  const missing = { ...UNREADABLE, message: `the key file ${keyFile} cannot be opened: ENOENT` };
  t.throws(() => Vault.open(keyFile, 'refuse'), missing);
  t.notOk(existsSync(keyFile), 'none is made in the place of one that should be there');
  Vault.open(keyFile);
  for (const mode of [0o640, 0o604, 0o620, 0o601]) {
    chmodSync(keyFile, mode);
    t.throws(() => Vault.open(keyFile), { ...UNREADABLE, message: /run chmod 600 \S+vault\.key/ });
  }
  chmodSync(keyFile, 0o600);
  writeFileSync(keyFile, 'short');
  t.throws(() => Vault.open(keyFile), { ...UNREADABLE, message: /does not hold 32 bytes/ });
  t.throws(() => Vault.open(folder), UNREADABLE, 'a folder');
});
