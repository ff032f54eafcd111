// The daemon as a process: src/control/spawn.ts starts it, src/control/lock.ts keeps it alone,
// src/control/daemon-log.ts is where it speaks, src/control/discard.ts is for when it cannot start.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { POOL_THREADS_MAX } from '../../src/base/limits.ts';
import { ControlClient } from '../../src/control/api/client.ts';
import { RotatingFile } from '../../src/control/daemon-log.ts';
import { discardStore } from '../../src/control/discard.ts';
import { acquireLock } from '../../src/control/lock.ts';
import { type Env, resolvePaths } from '../../src/control/paths.ts';
import type { GivenValues } from '../../src/control/settings/keys.ts';
import { waitUntilStopped } from '../../src/control/spawn.ts';
import { startDaemon, temporaryEnv, temporaryFolder } from '../helpers/control.ts';

const PROGRAM = join(import.meta.dirname, '../helpers/daemon.ts');

/** Runs a daemon in the foreground. */
function foreground(env: Env, given: GivenValues = {}) {
  const args = [PROGRAM, JSON.stringify({ logToFile: false, given })];
  const child = spawn(process.execPath, args, {
    env: { ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  const changed = () => once(child.stdout, 'data');
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
  });
  const says = async (word: string): Promise<void> => {
    while (!text.includes(word)) await changed();
  };
  return { child, says, text: () => text, ended: once(child, 'close') };
}

async function stop(env: Env): Promise<void> {
  const paths = resolvePaths(env);
  const client = new ControlClient(paths.socket);
  await client.post('/daemon/stop', { drain_timeout_ms: 0 });
  await client.close();
}

t.test('a detached daemon is ready when its start is answered, and there is one', async (t) => {
  const env = temporaryEnv(t);
  const paths = resolvePaths(env);
  const options = { 'policy.preset': 'balanced', 'daemon.defaultSandbox': 'demo' } as const;
  const status = await startDaemon(env, options);
  t.match(status, { preset: 'balanced', sandboxes: 1, workers: 1, log: paths.daemonLog });
  const port = Number(status.listen.split(':')[1]);
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.destroy();
  await t.rejects(startDaemon(env, options), { message: /runs already/ });

  const second = foreground(env);
  const [code] = await second.ended;
  t.equal(code, 0);
  t.match(second.text(), `Daemon is already running at ${paths.socket}`);

  await stop(env);
  t.ok(waitUntilStopped(paths, 10_000));
  t.notOk(existsSync(paths.socket));
  t.equal(statSync(paths.daemonLog).mode & 0o777, 0o600);
  const lines = readFileSync(paths.daemonLog, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.match(lines[0], { time: /^\d{4}-.*Z$/, level: 'info', msg: /^Daemon is running/ });
  t.equal(lines.at(-1).msg, 'Daemon has stopped');

  t.match(await startDaemon(env), { preset: 'balanced' }, 'the policy is still there');
  await stop(env);
  t.ok(waitUntilStopped(paths, 10_000));
});

t.test('the socket of a dead daemon is no obstacle', async (t) => {
  const env = temporaryEnv(t);
  const { pid, socket } = await startDaemon(env);
  process.kill(pid, 'SIGKILL');
  t.ok(waitUntilStopped(resolvePaths(env), 10_000));
  t.ok(existsSync(socket));
  await startDaemon(env);
  await stop(env);
  t.ok(waitUntilStopped(resolvePaths(env), 10_000));
});

t.test('there are threads to look up names, and no program is told how many', async (t) => {
  const env = temporaryEnv(t);
  const folder = temporaryFolder(t);
  const [program, told] = [join(folder, 'program'), join(folder, 'told')];
  writeFileSync(program, `#!/bin/sh\nenv > ${told}\n`, { mode: 0o755 });
  const { pid } = await startDaemon(env, {
    'policy.preset': 'allow-all',
    'daemon.defaultSandbox': 'demo',
    'browser.command': [program],
  });
  t.teardown(() => stop(env));
  const threads = readdirSync(`/proc/${pid}/task`);
  const names = threads.map((id) => readFileSync(`/proc/${pid}/task/${id}/comm`, 'utf8'));
  t.equal(names.filter((name) => name.startsWith('libuv-worker')).length, POOL_THREADS_MAX);
  const client = new ControlClient(resolvePaths(env).socket);
  await client.post('/browser-open', { url: 'http://1.1.1.1/', sandbox_id: 'demo' });
  await client.close();
  const environment = readFileSync(told, 'utf8');
  t.match(environment, /^PATH=/m);
  t.notMatch(environment, 'UV_THREADPOOL_SIZE');
});

t.test('SIGTERM drains, a second one ends at once', async (t) => {
  const env = temporaryEnv(t);
  const first = foreground(env);
  await first.says('Daemon is running');
  first.child.kill('SIGTERM');
  t.equal((await first.ended)[0], 0);

  const second = foreground(env, {
    'daemon.defaultSandbox': 'demo',
    'daemon.drainTimeout': '10m',
  });
  await second.says('Daemon is running');
  const listen = /proxy on 127\.0\.0\.1:(\d+)/.exec(second.text())?.[1];
  const busy = connect(Number(listen), '127.0.0.1'); // A request that does not end.
  await once(busy, 'connect');
  busy.on('error', () => {});
  busy.write('POST http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\nContent-Le');
  second.child.kill('SIGTERM');
  await second.says('a signal: draining');
  second.child.kill('SIGINT');
  t.equal((await second.ended)[0], 130);
});

t.test('what keeps a daemon from starting is told to whoever started it', async (t) => {
  const env = temporaryEnv(t);
  const taken = createServer().listen(0, '127.0.0.1');
  t.teardown(() => void taken.close());
  await once(taken, 'listening');
  const listen = `127.0.0.1:${(taken.address() as AddressInfo).port}`;
  await t.rejects(startDaemon(env, { 'daemon.listen': listen }), {
    code: 'SALLYPORT_CONFLICT',
    message: `cannot listen on ${listen}: EADDRINUSE`,
  });
  await t.rejects(startDaemon(env, { 'daemon.listen': 'nope' }), {
    code: 'SALLYPORT_SETTING_INVALID',
    message: /^--listen: "nope" is no HOST:PORT/,
  });
  writeFileSync(resolvePaths(env).policyDatabase, 'no database '.repeat(1_000));
  await t.rejects(startDaemon(env), { code: 'SALLYPORT_STORE_CORRUPT' });
  t.ok(discardStore(resolvePaths(env), 10_000));
  t.match(await startDaemon(env), { preset: null, rules: 0 }, 'starting over is possible');
  t.notOk(discardStore(resolvePaths(env), 0), 'but not under a daemon that runs');
  await stop(env);
  t.ok(waitUntilStopped(resolvePaths(env), 10_000));
});

t.test('the lock is held by one, and let go of', async (t) => {
  const path = join(temporaryFolder(t), 'lock.db');
  const release = acquireLock(path, 0);
  t.ok(release);
  t.equal(acquireLock(path, 0), null);
  release?.();
  const again = acquireLock(path, 0);
  t.ok(again);
  again?.();
});

t.test('the log file is bounded', async (t) => {
  const path = join(temporaryFolder(t), 'daemon.log');
  const file = new RotatingFile(path, 100);
  for (let i = 0; i < 100; i++) file.write(`line ${i} of the log\n`);
  t.ok(statSync(path).size <= 120);
  t.ok(statSync(`${path}.1`).size <= 120);
  t.match(readFileSync(path, 'utf8'), /line 99/);
});
