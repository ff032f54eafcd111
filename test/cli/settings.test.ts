// `settings`, with a daemon in this process and without one; src/cli/daemon-options.ts hands the options of
// a start over as settings.
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import t from 'tap';
import { givenOptions, givenSettings, withStartOptions } from '../../src/cli/daemon-options.ts';
import { resolvePaths } from '../../src/control/paths.ts';
import { SETTING_KEYS, SETTINGS } from '../../src/control/settings/keys.ts';
import { startWorld, temporaryEnv } from '../helpers/control.ts';
import { say } from './session.ts';

const COLUMNS = /^KEY +VALUE +TYPE +SOURCE +RESTART +DESCRIPTION\n/;

t.test('list, get, set and unset through a daemon', async (t) => {
  const world = await startWorld(t);
  const listing = await say(world, ['settings', 'list']);
  t.equal(listing.code, 0);
  t.match(listing.out, COLUMNS);
  for (const key of SETTING_KEYS) t.match(listing.out, `\n${key} `);
  t.match(listing.out, /\ndaemon\.listen +127\.0\.0\.1:3128 +string +default +yes +HOST:PORT/);
  t.match(listing.out, 'use --no-trunc or --json');
  const records = JSON.parse((await say(world, ['settings', 'ls', '--json'])).out);
  t.match(
    records.find(({ key }: { key: string }) => key === 'daemon.listen'),
    {
      key: 'daemon.listen',
      value: '127.0.0.1:3128',
      default: '127.0.0.1:3128',
      source: 'default',
      type: 'string',
      env_var: 'SALLYPORT_DAEMON_LISTEN',
      requires_restart: true,
      description: String,
    },
  );
  const blocks = (await say(world, ['settings', 'list', '--no-trunc'])).out;
  t.match(
    blocks,
    /\nnetwork\.via\n {2}Value: +false\n {2}Default: +false\n {2}Type: +bool\n {2}Source: +default\n/,
  );

  const set = await say(world, ['settings', 'set', 'network.bypass', 'a.com, *.b.com']);
  t.strictSame(set, { code: 0, out: 'network.bypass set to ["a.com","*.b.com"]\n', err: '' });
  t.equal((await say(world, ['settings', 'get', 'network.bypass'])).out, '["a.com","*.b.com"]\n');
  t.match((await say(world, ['policy', 'ls'])).out, '\nNever intercepted: a.com, *.b.com\n');
  const json = await say(world, ['settings', 'get', '--json', 'network.bypass']);
  t.match(JSON.parse(json.out), { source: 'override', restart_pending: false });

  const waits = await say(world, ['settings', 'set', 'daemon.workers', '2']);
  t.match(waits.out, 'It takes effect at the next start: sbx daemon restart\n');
  const pending = (await say(world, ['settings', 'list'])).out;
  t.match(pending, /\ndaemon\.workers +2 +int +override +pending /);
  t.match(pending, 'RESTART=pending');
  const back = await say(world, ['settings', 'unset', 'daemon.workers']);
  t.strictSame(back.out, `daemon.workers is not set in ${world.paths.settings}\n`);
  t.equal((await say(world, ['settings', 'get', 'daemon.workers'])).out, '0\n');
});

t.test('what is wrong is named, with the nearest key', async (t) => {
  const world = await startWorld(t);
  for (const [words, fault] of [
    [['get', 'daemon.listn'], /there is no setting "daemon\.listn"; is daemon\.listen meant\?/],
    [['set', 'network.vai', 'true'], /is network\.via meant\?/],
    [['unset', 'policy.default'], /is policy\.defaults meant\?/],
    [['set', 'daemon.workers', 'many'], /daemon\.workers: write a whole number from 0 to 63/],
    [['set', 'network.via', 'yes'], /network\.via: write true or false/],
    [['set', 'policy.preset', 'open'], /policy\.preset: .*"balanced"/],
  ] as const) {
    const said = await say(world, ['settings', ...words]);
    t.equal(said.code, 1, words.join(' '));
    t.match(said.err, fault);
    t.equal(said.out, '');
  }
  t.throws(() => readFileSync(world.paths.settings), { code: 'ENOENT' }, 'nothing is written');
});

t.test('without a daemon it is the file that is changed', async (t) => {
  const paths = resolvePaths(temporaryEnv(t));
  const words = (...more: string[]) => say({ paths }, ['settings', ...more]);
  t.match((await words('list')).out, COLUMNS);
  t.match(await words('set', 'daemon.listen', '127.0.0.1:8080'), { code: 0 });
  t.match(await words('set', 'daemon.apiTokenFile', 'token'), { code: 0 });
  t.strictSame(JSON.parse(readFileSync(paths.settings, 'utf8')), {
    'daemon.listen': '127.0.0.1:8080',
    'daemon.apiTokenFile': resolve('token'),
  });
  const shadowed = await say({ paths }, ['settings', 'set', 'network.via', 'true'], null, {
    env: { SALLYPORT_NETWORK_VIA: 'false' },
  });
  t.equal(
    shadowed.out,
    'network.via set to true\nIt has no effect: SALLYPORT_NETWORK_VIA wins, with false\n',
  );
  writeFileSync(paths.settings, '{"daemon.listn":1,"network.via":true}');
  t.match(await words('list'), { code: 1, err: /daemon\.listn: .* is daemon\.listen meant\?/ });
  t.match(await words('unset', 'daemon.listn'), { code: 0 });
  t.equal((await words('get', 'network.via')).out, 'true\n');
});

t.test('the schema is printed', async (t) => {
  const paths = resolvePaths(temporaryEnv(t));
  const { out } = await say({ paths }, ['settings', 'schema']);
  t.strictSame(JSON.parse(out), JSON.parse(readFileSync('docs/settings.schema.json', 'utf8')));
});

t.test('each option of a start is a setting, and the other way round', async (t) => {
  const command = withStartOptions(new Command('start'));
  command.parse(
    [
      '--via',
      '--bypass',
      'a.com,b.com',
      '--bypass',
      'c.com',
      '--upstream-ca',
      'ca.pem',
      '-d',
    ].concat(['--workers', '2', '--drain-timeout', '5s']),
    { from: 'user' },
  );
  t.strictSame(givenSettings(command.opts()), {
    'daemon.workers': 2,
    'daemon.drainTimeout': '5s',
    'network.via': true,
    'network.bypass': ['a.com', 'b.com', 'c.com'],
    'network.upstreamCa': [resolve('ca.pem')],
  });
  t.strictSame(givenOptions(command), [
    ['--workers', '2'],
    ['--drain-timeout', '5s'],
    ['--via'],
    ['--bypass', 'a.com'],
    ['--bypass', 'b.com'],
    ['--bypass', 'c.com'],
    ['--upstream-ca', resolve('ca.pem')],
  ]);
  const flags = command.options.map(({ long }) => long ?? '');
  const named = SETTING_KEYS.map((key) => SETTINGS[key].option).filter((flag) => flag !== '');
  t.strictSame([...named, '--detach', '--log-to-file'].sort(), flags.sort());
});
