// The key of the secrets in a keychain, over the whole program: with a stand-in everywhere, and with the
// real Secret Service where it is installed. Covers src/control/secrets/key.ts too.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import t, { type Test } from 'tap';
import { ControlClient } from '../../src/control/api/client.ts';
import type { DaemonStatus } from '../../src/control/api/services.ts';
import { type Env, resolvePaths } from '../../src/control/paths.ts';
import { waitUntilStopped } from '../../src/control/spawn.ts';
import { type Cli, isolatedCli } from '../helpers/cli.ts';
import { startDaemon, temporaryEnv } from '../helpers/control.ts';
import { listening } from '../helpers/intercept.ts';
import { fakeKeychain, secretService, withoutSecretService } from '../helpers/keychain.ts';
import { say } from '../helpers/wire.ts';

const skip = withoutSecretService();
const TOKEN = 'ghp_0123456789abcdefghij';

/** A daemon with one secret for one origin. */
async function withSecret(t: Test, cli: Cli, ...options: string[]) {
  const seen: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.end('from the origin');
  });
  const host = `localhost:${await listening(t, server)}`;
  const start = ['--policy', 'deny-all', '--default-sandbox', 'box', '--workers', '1'];
  await cli.start(...start, ...options);
  await cli.ok('policy', 'allow', 'network', host);
  const custom = ['--host', host, '--env', 'KEY', '--sandbox', 'box', '--allow-plaintext'];
  const { out } = await cli.pipe(TOKEN, 'secret', 'set-custom', ...custom);
  const placeholder = /KEY=(\S+) in its place/.exec(out)?.[1] ?? '';
  /** What a request with the placeholder is answered. */
  const ask = async (): Promise<string> => {
    const { listen } = await statusOf(cli);
    const field = `authorization: Bearer ${placeholder}`;
    const head = `GET http://${host}/ HTTP/1.1\r\nhost: ${host}\r\n${field}\r\n`;
    const client = await say(
      Number(listen.split(':').at(-1)),
      `${head}accept: application/json\r\nconnection: close\r\n\r\n`,
    );
    return client.toEnd();
  };
  return { ask, seen };
}

async function statusOf(cli: Cli): Promise<DaemonStatus> {
  const client = new ControlClient(resolvePaths(cli.env).socket);
  return client.get<DaemonStatus>('/daemon/status').finally(() => client.close());
}

t.test('locked, lost, and back again', async (t) => {
  const program = process.platform === 'darwin' ? 'security' : 'secret-tool';
  const { env, setMood } = fakeKeychain(t, program);
  const cli = isolatedCli(t, env);
  const { vaultKey: keyFile } = resolvePaths(cli.env);
  const { ask, seen } = await withSecret(t, cli, '--key-store', 'auto');
  t.match(await ask(), 'from the origin');
  t.strictSame(seen, [`Bearer ${TOKEN}`]);
  t.match(await statusOf(cli), { key_place: 'keychain', key_problem: null });
  t.match((await cli.run('daemon', 'status')).out, /^Key: {4}in the keychain$/m);
  const marker = readFileSync(keyFile, 'utf8');
  t.match(marker, /^in keychain: [0-9a-f]{32}\n$/);

  setMood('locked');
  await unreadable(t, cli, 'it is locked');
  t.match(await ask(), /^HTTP\/1.1 502 .*SALLYPORT_CREDENTIAL_UNAVAILABLE/s);
  t.equal(seen.length, 1, 'and nothing reached the origin');
  t.equal(readFileSync(keyFile, 'utf8'), marker);

  setMood('open');
  await cli.ok('daemon', 'restart', '--key-store', 'file');
  t.match(await ask(), 'from the origin');
  t.strictSame(seen, [`Bearer ${TOKEN}`, `Bearer ${TOKEN}`]);
  t.match(await statusOf(cli), { key_place: 'file', key_file: keyFile, key_problem: null });
  setMood('silent');
  await cli.ok('daemon', 'restart');
  t.match(await ask(), 'from the origin', 'the file does without the keychain');
});

t.test('the real Secret Service, from one boot to the next', { skip }, async (t) => {
  const { env: outside, restart } = await secretService(t);
  const { DBUS_SESSION_BUS_ADDRESS } = outside;
  const headless = temporaryEnv(t);
  const env = { ...headless, DBUS_SESSION_BUS_ADDRESS };
  const client = new ControlClient(resolvePaths(env).socket);
  t.teardown(() => stop(env).finally(() => client.close()));
  await startDaemon(env, { 'secrets.keyStore': 'auto' });
  await client.post('/secrets', { service: 'github', value: TOKEN });
  const registry = { registry: 'ghcr.io', username: 'me', value: TOKEN };
  for (const [mood, here, secret, problem] of [
    ['locked', env, '(unreadable)', /cannot be had: it is locked/],
    ['open', headless, '(unreadable)', /cannot be had: there is no D-Bus session/],
    ['open', env, '(stored)', null],
  ] as const) {
    await restart(mood);
    await stop(env);
    await startDaemon(here, { 'secrets.keyStore': 'auto' });
    t.match(await client.get('/secrets'), { secrets: [{ name: 'github', secret }] });
    const status = await client.get('/daemon/status');
    t.match(status, { key_place: 'keychain', key_problem: problem });
    const setting = client.post('/secrets', registry);
    if (problem === null) await t.resolves(setting);
    else await t.rejects(setting, { code: 'SALLYPORT_VAULT_UNREADABLE', message: problem });
  }
});

/** Ends the daemon of this environment. */
async function stop(env: Env): Promise<void> {
  const client = new ControlClient(resolvePaths(env).socket);
  await client.post('/daemon/stop', { drain_timeout_ms: 0 }).finally(() => client.close());
  if (!waitUntilStopped(resolvePaths(env), 10_000)) throw new Error('the daemon goes on');
}

/** Restarts, and looks whether all is said that there is to say. */
async function unreadable(t: Test, cli: Cli, why: string): Promise<void> {
  t.match(await cli.ok('daemon', 'restart'), 'Daemon started');
  const { key_place: place, key_problem: problem } = await statusOf(cli);
  t.equal(place, 'keychain');
  t.match(problem, `cannot be had: ${why}; open the keychain and run`);
  const listed = await cli.run('secret', 'ls');
  t.match(listed, { code: 0, out: /\(unreadable\)/, err: `WARNING: ${problem}\n` });
  const refused = await cli.pipe(TOKEN, 'secret', 'set', 'github');
  t.not(refused.code, 0);
  t.match(refused.err, problem ?? '');
  t.match(readFileSync(resolvePaths(cli.env).daemonLog, 'utf8'), `cannot be had: ${why}; open`);
}
