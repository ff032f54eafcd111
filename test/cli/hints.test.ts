// The next step that an error names is one for this error, across the API and out of a daemon that
// does not start. Covers src/control/spawn.ts and src/cli/policy-setup.ts too.
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { join, resolve } from 'node:path';
import t from 'tap';
import { resolvePaths } from '../../src/control/paths.ts';
import { spawnDaemon } from '../../src/control/spawn.ts';
import { startWorld, temporaryEnv } from '../helpers/control.ts';
import { say } from './session.ts';

t.test('a policy that was chosen is not one to remove', async (t) => {
  const world = await startWorld(t);
  const { code, err } = await say(world, ['policy', 'init', 'allow-all']);
  t.equal(code, 1);
  t.match(err, /^ERROR: .*run `sbx policy reset` first\nOr keep it, and change single rules: `sbx/);
});

t.test('what cannot be removed is not one to remove first', async (t) => {
  const world = await startWorld(t, { preset: 'balanced' });
  const words = ['policy', 'rm', 'network', '--id', 'default-ai-services'];
  const { err } = await say(world, words);
  t.match(err, /cannot be removed: .*\nWhat can be done with it, `sbx policy inspect RULE` says/);
});

t.test('a sandbox whose listener cannot be opened', async (t) => {
  const world = await startWorld(t);
  const path = join('/nonexistent', 'x.sock');
  const { err } = await say(world, ['sandbox', 'add', 'box', '--unix', path]);
  t.match(err, /^ERROR: .*EACCES.*\nThe user of the daemon may not listen there/);
  t.notMatch(err, 'Remove the existing');
});

t.test('a daemon that cannot listen', async (t) => {
  const env = temporaryEnv(t);
  const taken = createServer().listen(0, '127.0.0.1');
  t.teardown(() => void taken.close());
  await once(taken, 'listening');
  const listen = `127.0.0.1:${(taken.address() as AddressInfo).port}`;
  const args = ['daemon', 'start', '--log-to-file', '--workers', '1', '--listen', listen];
  const started = spawnDaemon({
    command: process.execPath,
    args: [resolve('bin/sallyport.js'), ...args],
    env: { ...process.env, ...env },
    paths: resolvePaths(env),
  });
  await t.rejects(started, {
    code: 'SALLYPORT_CONFLICT',
    message: `cannot listen on ${listen}: EADDRINUSE`,
    hint: /^Something listens there already/,
  });
});
