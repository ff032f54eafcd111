// A daemon in a process of its own goes by options, variables and a file; a restart takes over what
// waited for it.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { isolatedCli } from '../helpers/cli.ts';

t.test('option, variable, file, default', async (t) => {
  const cli = isolatedCli(t, { SALLYPORT_NETWORK_DENY: 'inside', SALLYPORT_NETWORK_VIA: 'true' });
  await cli.ok('settings', 'set', 'network.via', 'false'); // Also makes the folder.
  const file = join(cli.env.XDG_CONFIG_HOME ?? '', 'sallyport', 'settings.json');
  writeFileSync(
    file,
    JSON.stringify({
      'policy.preset': 'deny-all',
      'network.via': false,
      'network.addressGuard': 'docker',
    }),
  );
  await cli.start('--workers', '1', '--deny', 'connect');
  const records: { key: string }[] = JSON.parse(await cli.ok('settings', 'list', '--json'));
  const told = (key: string) => records.find((record) => record.key === key);
  t.match(told('network.deny'), { value: 'connect', source: 'option' });
  t.match(told('network.via'), { value: true, source: 'envvar' });
  t.match(told('network.addressGuard'), { value: 'docker', source: 'override' });
  t.match(told('policy.conflicts'), { value: 'store', source: 'default' });
  t.match(await cli.ok('policy', 'ls'), 'default-deny-all', 'the preset of the file was chosen');
  t.match(
    await cli.ok('settings', 'set', 'daemon.workers', '2'),
    'It has no effect: --workers of the last start wins, with 1',
  );

  writeFileSync(file, '{"network.vai":true}');
  const refused = await cli.run('daemon', 'restart');
  t.match(refused, { code: 1, out: '', err: /settings\.json: network\.vai: .*network\.via meant/ });
  writeFileSync(file, '{"daemon.logLevel":"warn"}');
  await cli.ok('daemon', 'restart');
  t.match(await cli.ok('daemon', 'log-level'), 'general: warn\nproxy: warn\n');
});
