// `secret` as people and scripts type it, against a real daemon: where a value can be seen from
// outside, and where it cannot.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { execute, isolatedCli } from '../helpers/cli.ts';

const TOKEN = 'ghp_0123456789abcdefghij';
const SBX = join(import.meta.dirname, '../../bin/sbx.js');

/** What every user of the machine, or every process of this one, may read of a process. */
function outsideOf(pid: number): string {
  return ['cmdline', 'comm', 'environ'].map((name) => readFileSync(`/proc/${pid}/${name}`)).join();
}

t.test('a value that is piped in is nowhere but in the requests to come', async (t) => {
  const cli = isolatedCli(t);
  await cli.start('--policy', 'deny-all');
  await cli.ok('sandbox', 'add', 'box');
  const child = spawn(process.execPath, [SBX, 'secret', 'set', 'github'], { env: cli.env });
  child.stdin.write(TOKEN.slice(0, 10));
  await once(child, 'spawn');
  const { pid: daemon } = JSON.parse((await cli.run('daemon', 'status', '--json')).out);
  t.notMatch(outsideOf(child.pid ?? 0), TOKEN.slice(0, 10));
  child.stdin.end(`${TOKEN.slice(10)}\n`);
  t.strictSame(await once(child, 'close'), [0, null]);
  t.notMatch(outsideOf(daemon), TOKEN);

  const custom = ['--host', '*.example.com', '--env', 'API_KEY', '--sandbox', 'box'];
  t.match(await cli.pipe(TOKEN, 'secret', 'set-custom', ...custom), {
    code: 0,
    out: /Sandbox box holds API_KEY=sbx-cs-\w+ in its place/,
  });
  t.match(
    await cli.ok('secret', 'ls'),
    /^SCOPE +TYPE +NAME +SECRET\n\(global\) +service +github +\(stored\)\n\nCUSTOM SECRETS\n/,
  );
  const json = await cli.ok('secret', 'ls', '--json');
  t.match(JSON.parse(json), { custom_secrets: [{ scope: 'box', secret: 'ghp_01****ghij' }] });
  t.notMatch(json, TOKEN);

  await cli.ok('daemon', 'restart');
  t.match(await cli.ok('secret', 'ls', '-q'), 'github\nAPI_KEY\n', 'it outlives a restart');
  const files = globSync('**', { cwd: cli.folder }).map((path) => join(cli.folder, path));
  const plain = files.filter((path) => statSync(path).isFile());
  t.ok(plain.some((path) => path.endsWith('vault.key') && (statSync(path).mode & 0o777) === 0o600));
  t.strictSame(
    plain.filter((path) => readFileSync(path).includes(TOKEN)),
    [],
  );
  await cli.ok('sandbox', 'rm', 'box');
  t.equal(await cli.ok('secret', 'ls', '-q'), 'github\n');
});

t.test('a script is never asked, and never told that all is well when it is not', async (t) => {
  const cli = isolatedCli(t);
  await cli.start('--policy', 'deny-all');
  const nothing = await cli.pipe('', 'secret', 'set', 'github');
  t.match(nothing, { code: 1, out: '', err: /^ERROR: stdin is empty/ });
  t.match(await cli.pipe(TOKEN, 'secret', 'set', 'github'), { code: 0, err: '' });
  const again = await cli.pipe('y\n', 'secret', 'set', 'github');
  t.match(again, { code: 1, out: '', err: /use --force to replace it/ });
  t.match(await cli.pipe(TOKEN, 'secret', 'set', 'github', '--force'), { code: 0 });
  t.match(await cli.pipe('y\n', 'secret', 'rm', 'github'), {
    code: 1,
    err: /stdin is not a terminal; use --force to skip confirmation/,
  });
  t.match(await cli.pipe(`${'x'.repeat(200_000)}\n`, 'secret', 'set', 'openai'), {
    code: 1,
    err: /more than 65536 bytes/,
  });
  t.match(await cli.ok('secret', 'rm', 'github', '--force'), 'Secret removed: service "github"');
  t.equal(await cli.ok('secret', 'ls'), 'No secrets found.\n');
});

t.test('import reads the environment of the command, at that moment', async (t) => {
  const cli = isolatedCli(t);
  await cli.start('--policy', 'deny-all');
  const env = { ...cli.env, GITHUB_TOKEN: TOKEN };
  const run = (...words: string[]) => execute(process.execPath, [SBX, 'secret', ...words], env);
  const dry = await run('import', '--dry-run');
  t.match(dry, { code: 0, out: /github +GITHUB_TOKEN +\*\*\*\*ghij +new\n/ });
  t.equal(await cli.ok('secret', 'ls', '-q'), '');
  t.match(await run('import', '--all'), { code: 0, out: /^Imported github from GITHUB_TOKEN/ });
  t.match(await run('import', 'github'), { code: 1, err: /use --force to replace it/ });
  t.equal(await cli.ok('secret', 'ls', '-q'), 'github\n');
});
