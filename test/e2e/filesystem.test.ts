// A runtime asks a real daemon before it mounts: real links, the home of the user, a restart.
import { mkdirSync, realpathSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ControlClient } from '../../src/control/api/client.ts';
import { resolvePaths } from '../../src/control/paths.ts';
import { isolatedCli } from '../helpers/cli.ts';

t.test('mounts by rules that outlive the daemon', async (t) => {
  const cli = isolatedCli(t);
  const home = realpathSync(cli.folder);
  for (const folder of ['src/project', '.ssh']) mkdirSync(join(home, folder), { recursive: true });
  symlinkSync('../../.ssh', join(home, 'src/project/keys'));
  await cli.start('--policy', 'balanced');
  await cli.ok('sandbox', 'add', 'box');
  await cli.ok('policy', 'deny', 'filesystem', '~/.ssh/**');
  await cli.ok('policy', 'deny', 'filesystem', '--write', '--sandbox', 'box', '~/src/project');
  await cli.run('daemon', 'stop', '--drain-timeout', '0s');
  await cli.start();
  const client = new ControlClient(resolvePaths(cli.env).socket);
  t.teardown(() => client.close());
  const mount = (path: string, writable = false) =>
    client.post('/policy/filesystem/mount', { path, writable, sandbox_id: 'box' });
  t.match(await mount(join(home, 'src/project')), { allowed: true, found: { directory: true } });
  const keys = join(home, 'src/project/keys');
  const denied = `403 Forbidden: mount policy denied: ${home}/.ssh: fs:mount:read denied: rule "local:`;
  await t.rejects(mount(keys), { code: 'SALLYPORT_MOUNT_DENIED', message: denied });
  await t.rejects(mount('~/src/project', true), { message: /fs:mount:write denied: rule "local:/ });
  await t.rejects(mount('~'), { message: /the keys or the socket of the proxy are there/ });
  const log = await cli.ok('policy', 'log', 'box', '--type', 'filesystem');
  t.match(
    log,
    new RegExp(
      `^Blocked requests:\n.*\n(?:.*\n)*box +filesystem +${home}/.ssh +mount:read +denied: rule`,
    ),
  );
  t.match(log, /\nAllowed requests:\n/);
  const checked = await cli.run('policy', 'check', 'filesystem', '--sandbox', 'box', keys);
  t.match(checked, { code: 1, out: `Denied: ${home}/.ssh\n` });
});
