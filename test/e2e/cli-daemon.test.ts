// The daemon as people start, stop and lose it, and the demo, which does all of that by itself.
// Covers src/cli/daemon.ts, src/cli/daemon-status.ts, src/cli/audit-options.ts and src/cli/demo.ts.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import t, { type Test } from 'tap';
import { type Cli, isolatedCli } from '../helpers/cli.ts';

t.test('daemon: status, a second start, restart, log level, reset', async (t) => {
  const cli = isolatedCli(t);
  const stopped = await cli.run('daemon', 'status');
  t.equal(stopped.code, 1);
  t.match(stopped.out, /^Status: stopped\n/);
  await cli.start('--policy', 'balanced', '--workers', '1');
  const status = JSON.parse((await cli.run('daemon', 'status', '--json')).out);
  t.match(status, {
    status: 'running',
    pid: Number,
    socket: String,
    listen: /^127\.0\.0\.1:\d+$/,
    workers: 1,
    generation: Number,
  });
  const second = await cli.run('daemon', 'start', '-d');
  t.equal(second.code, 0);
  t.equal(second.out, `Daemon is already running at ${status.socket}\n`);
  t.equal(second.err, '');
  const other = await cli.run(
    'daemon',
    'start',
    '-d',
    '--policy',
    'balanced',
    '--bypass',
    'a.test',
  );
  t.match(other, { code: 0, out: second.out, err: /^WARNING: .* without --bypass; .* restart/ });
  t.match((await cli.run('daemon', 'log-level', 'set', 'all', 'debug')).out, 'debug');
  t.match((await cli.run('daemon', 'log-level')).out, 'general: debug\nproxy: debug\n');
  const here = await cli.run('daemon', 'start');
  t.strictSame([here.code, here.out], [0, second.out], 'in the foreground too');
  const loose = await cli.run('daemon', 'start', '--audit', 'required');
  t.match(loose, { code: 0, out: second.out, err: /^WARNING: .* without --audit; / });
  const restarted = await cli.run('daemon', 'restart');
  t.match(restarted.out, /Stopping daemon at .*\n✓ Daemon stopped successfully\n✓ Daemon started/);
  const after = JSON.parse((await cli.run('daemon', 'status', '--json')).out);
  t.not(after.pid, status.pid);
  t.equal(after.workers, 1, 'as it was started');
  t.not(after.listen, '127.0.0.1:3128');

  const refused = await cli.run('policy', 'reset');
  t.equal(refused.code, 1);
  t.match(refused.err, '--force');
  await cli.ok('policy', 'reset', '--force');
  t.equal((await cli.run('daemon', 'status')).code, 1, 'the daemon is stopped');
  t.match((await cli.run('policy', 'ls')).err, 'has not been initialized');
  const again = JSON.parse((await cli.run('daemon', 'status', '--json')).out);
  t.equal(again.workers, 1, 'started on demand as it was started last');
  t.match((await cli.run('daemon', 'restart', '--workers', '2')).out, ', 2 workers\n');
});

t.test('a start that fails says why, and is not repeated', async (t) => {
  const cli = isolatedCli(t);
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.teardown(() => taken.close());
  const listen = `127.0.0.1:${(taken.address() as AddressInfo).port}`;
  for (const how of [['-d'], []]) {
    const ran = await cli.run('daemon', 'start', ...how, '--listen', listen);
    t.equal(ran.code, 1);
    t.match(ran.out + ran.err, listen, 'the address is named');
  }
  await cli.start('--policy', 'deny-all');
  t.match((await cli.run('daemon', 'restart')).out, '✓ Daemon started');
});

t.test('a damaged store keeps the daemon from starting, and reset is the way out', async (t) => {
  const cli = isolatedCli(t);
  await cli.start('--policy', 'balanced');
  await cli.run('daemon', 'stop');
  writeFileSync(
    join(cli.env.XDG_STATE_HOME ?? '', 'sallyport', 'policy.db'),
    'no database at all'.repeat(300),
  );
  const refused = await cli.run('policy', 'ls');
  t.equal(refused.code, 1);
  t.match(refused.err, 'policy reset --force');
  await cli.ok('policy', 'reset', '--force');
  await cli.ok('policy', 'set-default', 'deny-all');
});

t.test('instances stand side by side', async (t) => {
  const [one, two] = [isolatedCli(t), isolatedCli(t)];
  await Promise.all([one.start('--policy', 'deny-all'), two.start('--policy', 'allow-all')]);
  t.equal((await one.run('policy', 'check', 'network', 'a.com')).code, 1);
  t.equal((await two.run('policy', 'check', 'network', 'a.com')).code, 0);
});

t.test('help, version, and words that do not exist', async (t) => {
  const cli = isolatedCli(t);
  t.match((await cli.run('--version')).out, /^\d+\.\d+\.\d+\n$/);
  const help = await cli.run('--help');
  t.equal(help.code, 0);
  for (const word of ['daemon', 'policy', 'sandbox', 'demo', 'completion']) t.match(help.out, word);
  const unknown = await cli.run('polcy');
  t.equal(unknown.code, 1);
  t.match(unknown.err, 'Did you mean policy?');
  t.equal((await cli.run('daemon', 'start', '--workers', '0')).code, 1);
  for (const shell of ['bash', 'zsh', 'fish']) {
    t.match((await cli.run('completion', shell)).out, 'set-default');
  }
});

t.test('the demo does what it says and leaves nothing behind', async (t) => {
  const cli = isolatedCli(t);
  const ran = await cli.run('demo');
  t.equal(ran.code, 0, ran.err);
  t.match(
    ran.out,
    /403 denied[\s\S]*200 allowed[\s\S]*SANDBOX +TYPE +HOST[\s\S]*"host":"blocked\.example\.com"[\s\S]*"seq":4/,
  );
  t.match(ran.out, 'npx sallyport daemon start');
  t.equal((await cli.run('daemon', 'status')).code, 1, "the user's own daemon was not touched");
});

t.test('a demo that is interrupted, even twice, leaves nothing behind', async (t) => {
  const { demo, folder } = startDemo(t, isolatedCli(t));
  await once(demo.stdout, 'data');
  demo.kill('SIGINT');
  demo.kill('SIGINT');
  demo.stdout.resume();
  t.strictSame(await once(demo, 'exit'), [130, null]);
  t.strictSame(readdirSync(folder), []);
});

t.test('a demo that nobody reads leaves nothing behind', async (t) => {
  const { demo, folder } = startDemo(t, isolatedCli(t));
  await once(demo.stdout, 'data');
  demo.stdout.destroy(); // As `demo | head -1` does.
  const [code] = await once(demo, 'exit');
  t.not(code, 0);
  t.strictSame(readdirSync(folder), []);
});

/** @returns the demo, and the folder that it makes its own in. */
function startDemo(
  t: Test,
  cli: Cli,
): { demo: ChildProcessByStdio<null, Readable, null>; folder: string } {
  const folder = join(cli.folder, 'tmp');
  mkdirSync(folder);
  const demo = spawn(process.execPath, [join('bin', 'sallyport.js'), 'demo'], {
    env: { ...cli.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  t.teardown(() => demo.kill('SIGKILL'));
  return { demo, folder };
}
