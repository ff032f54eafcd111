// Who governs, as it is typed, and what that comes to with all settings.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import t from 'tap';
import { givenSettings, withStartOptions } from '../../src/cli/daemon-options.ts';
import { withGovernanceOptions } from '../../src/cli/governance-options.ts';
import { resolvePaths } from '../../src/control/paths.ts';
import { instanceOptions } from '../../src/control/settings/effect.ts';
import { Settings } from '../../src/control/settings/settings.ts';
import { temporaryEnv, temporaryFolder } from '../helpers/control.ts';
import { say } from './session.ts';

function read(...words: string[]) {
  const command = withStartOptions(new Command('start')).exitOverride();
  command.configureOutput({ writeErr: () => {} });
  const given = givenSettings(command.parse(words, { from: 'user' }).opts());
  const settings = Settings.load({ path: '/nonexistent', env: {}, given });
  return instanceOptions(settings.values, Date.UTC(2026, 0, 1)).options.governance;
}

const URL = 'https://example.com/v2/orgs/my-org';

t.test('who governs, as it is typed', async (t) => {
  t.equal(withGovernanceOptions(new Command()).options.length, 7);
  t.equal(read(), undefined);
  t.equal(read('--governance', 'off'), 'off');
  t.equal(read('--governance', 'off', '--governance-team', 'a'), 'off', 'what is remembered');
  t.strictSame(read('--governance', URL, '--governance-token-file', '/run/token'), {
    source: URL,
    keys: [],
    teams: [],
    tokenFile: '/run/token',
    tokenCommand: undefined,
    intervalMs: 60_000,
    graceMs: 86_400_000,
  });
  const key = join(temporaryFolder(t), 'key.pem');
  writeFileSync(key, 'PEM');
  const words = ['--governance-key', key, '--governance-team', 'a', '--governance-team', 'b'];
  const times = ['--governance-interval', '5m', '--governance-grace', '2h'];
  t.match(read('--governance', 'here/x.json', ...words, ...times), {
    source: join(process.cwd(), 'here/x.json'),
    keys: ['PEM'],
    teams: ['a', 'b'],
    intervalMs: 300_000,
    graceMs: 7_200_000,
  });
  t.match(read('--governance', URL, '--governance-token-command', 'a b'), { tokenCommand: 'a b' });
});

t.test('what cannot be meant', async (t) => {
  t.throws(() => read('--governance', 'x', '--governance-key', '/nowhere'), /cannot be read/);
  t.throws(() => read('--governance', URL, '--governance-interval', '10ms'), /from 1s to 1h/);
  t.throws(() => read('--governance', URL, '--governance-interval', '2h'), /from 1s to 1h/);
  t.throws(() => read('--governance', URL), /needs governance\.tokenFile or governance\.token/);
  const paths = resolvePaths(temporaryEnv(t));
  const start = ['daemon', 'start', '-d', '--governance-team', 'a'];
  t.match(await say({ paths }, start), { code: 1, err: /need --governance URL or FILE/ });
});
