import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import { readKeyFile, writeKeyFile } from '../../src/credentials/key-file.ts';
import { temporaryFolder } from '../helpers/control.ts';

const KEY = Buffer.alloc(32, 7);
const ID = '0123456789abcdef0123456789abcdef';
const UNREADABLE = { code: 'SALLYPORT_VAULT_UNREADABLE' };

t.test('a key, or where it is, comes back; the file is whole and its owner’s alone', async (t) => {
  const path = join(temporaryFolder(t), 'vault.key');
  t.equal(readKeyFile(path), null);
  writeFileSync(`${path}.new`, 'of a process that was killed', { mode: 0o600 });
  writeKeyFile(path, { key: KEY });
  t.strictSame(readKeyFile(path), { key: KEY });
  t.strictSame([statSync(path).size, statSync(path).mode & 0o777], [32, 0o600]);
  writeKeyFile(path, { id: ID });
  t.strictSame(readKeyFile(path), { id: ID });
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.notOk(readFileSync(path).includes(KEY));
  t.notOk(existsSync(`${path}.new`));
});

t.test('one that cannot be trusted or used is refused, and named', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'vault.key');
  writeKeyFile(path, { key: KEY });
  for (const mode of [0o640, 0o604, 0o620, 0o601]) {
    chmodSync(path, mode);
    const lax = { ...UNREADABLE, message: /run chmod 600 \S+vault\.key/ };
    t.throws(() => readKeyFile(path), lax);
  }
  chmodSync(path, 0o600);
  for (const content of [
    '',
    'short',
    `in keychain: ${ID}`,
    `in keychain: ${ID}x\n`,
    '7'.repeat(99),
  ]) {
    writeFileSync(path, content);
    const odd = { ...UNREADABLE, message: /vault\.key does not hold 32 bytes/ };
    t.throws(() => readKeyFile(path), odd, content);
  }
  t.throws(() => readKeyFile(folder), UNREADABLE, 'a folder');
  t.throws(() => readKeyFile(join(path, 'x')), { ...UNREADABLE, message: /ENOTDIR/ });
});

const skip = spawnSync('prlimit', ['--version']).status === 0 ? false : 'prlimit is missing';
t.test('a disk that takes a part of a key leaves the one before', { skip }, async (t) => {
  const path = join(temporaryFolder(t), 'vault.key');
  writeKeyFile(path, { id: ID });
  const module = JSON.stringify(resolve('src/credentials/key-file.ts'));
  const write = `(await import(${module})).writeKeyFile(process.argv[1], { key: Buffer.alloc(32, 7) })`;
  const node = [process.execPath, '--input-type=module', '-e', write, path];
  const { status } = spawnSync('prlimit', ['--fsize=5', ...node], { stdio: 'ignore' });
  t.not(status, 0, 'it is told');
  t.strictSame(readKeyFile(path), { id: ID });
  t.notOk(existsSync(`${path}.new`), 'nor does a part of a key lie beside it');
});
