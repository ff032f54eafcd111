import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { rememberedStart, rememberStart, withRemembered } from '../../src/cli/start-options.ts';
import { resolvePaths } from '../../src/control/paths.ts';
import { temporaryEnv } from '../helpers/control.ts';

t.test('what was remembered comes back, but for the choice of a policy', async (t) => {
  const paths = resolvePaths(temporaryEnv(t));
  t.strictSame(rememberedStart(paths), [], 'nothing yet, not even the folder');
  mkdirSync(paths.state, { recursive: true });
  rememberStart(paths, [['--listen', '127.0.0.1:0'], ['--policy', 'balanced'], ['--via']]);
  t.strictSame(rememberedStart(paths), [['--listen', '127.0.0.1:0'], ['--via']]);
  t.strictSame(readdirSync(paths.state), ['start.json'], 'no draft is left');
  t.equal(statSync(join(paths.state, 'start.json')).mode & 0o777, 0o600);
  for (const damaged of ['', '{"a":1}', '[["--listen",1]]', '[[]]', '[["--listen",']) {
    writeFileSync(join(paths.state, 'start.json'), damaged);
    t.strictSame(rememberedStart(paths), [], damaged);
  }
});

t.test('an option given now replaces the remembered one, all of its uses', async (t) => {
  const merged = withRemembered(
    [['--listen', 'a:1'], ['--dns-server', '1.1.1.1'], ['--dns-server', '2.2.2.2'], ['--via']],
    [
      ['--dns-server', '3.3.3.3'],
      ['--workers', '2'],
    ],
  );
  t.strictSame(merged, [
    ['--listen', 'a:1'],
    ['--via'],
    ['--dns-server', '3.3.3.3'],
    ['--workers', '2'],
  ]);
});
