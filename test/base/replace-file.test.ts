import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import { replaceFile } from '../../src/base/replace-file.ts';
import { temporaryFolder } from '../helpers/control.ts';

t.test('the new file, of the user alone', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'file');
  replaceFile(path, 'one');
  replaceFile(path, 'two');
  t.equal(readFileSync(path, 'utf8'), 'two');
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.strictSame(readdirSync(folder), ['file']);
});

t.test('a file for which there is no room stays as it was', async (t) => {
  const path = join(temporaryFolder(t), 'file');
  replaceFile(path, 'one');
  const module = JSON.stringify(resolve('src/base/replace-file.ts'));
  const replace = `(await import(${module})).replaceFile(process.argv[1], 'x'.repeat(9_000))`;
  const limited = 'ulimit -f 8; exec "$@"'; // 4096 bytes: what is written beyond is cut short.
  const node = [process.execPath, '--input-type=module', '-e', replace, path];
  const { status } = spawnSync('/bin/sh', ['-c', limited, 'sh', ...node], { stdio: 'ignore' });
  t.not(status, 0, 'it is told');
  t.equal(readFileSync(path, 'utf8'), 'one');
});
