import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import t from 'tap';
import { governanceOf, withGovernanceOptions } from '../../src/cli/governance-options.ts';
import { temporaryFolder } from '../helpers/control.ts';

function read(...words: string[]) {
  const command = withGovernanceOptions(new Command('start')).exitOverride();
  command.configureOutput({ writeErr: () => {} });
  return governanceOf(command.parse(words, { from: 'user' }).opts());
}

const URL = 'https://example.com/v2/orgs/my-org';

t.test('who governs, as it is typed', async (t) => {
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
  t.throws(() => read('--governance-team', 'a'), { code: 'SALLYPORT_USAGE' });
  t.throws(() => read('--governance', 'x', '--governance-key', '/nowhere'), /cannot be read/);
  t.throws(() => read('--governance', URL, '--governance-interval', '10ms'), /From 1s to 1h/);
  t.throws(() => read('--governance', URL, '--governance-interval', '2h'), /From 1s to 1h/);
});
