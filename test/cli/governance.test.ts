// `governance serve`: what it says at its start, and how it ends.
import { join } from 'node:path';
import t from 'tap';
import { resolvePaths } from '../../src/control/paths.ts';
import { temporaryEnv, temporaryFolder } from '../helpers/control.ts';
import { say } from './session.ts';

t.test('the first token is for the policies that are served, wherever these are', async (t) => {
  const world = { paths: resolvePaths(temporaryEnv(t)) };
  const serve = ['governance', 'serve', '--org', 'my-org', '--listen', '127.0.0.1:0'];
  const folder = join(temporaryFolder(t), 'two words');
  for (const [more, next] of [
    [[], 'sbx governance token add NAME --role admin\n'],
    [['--data', folder], `sbx governance token add NAME --role admin --data '${folder}'\n`],
  ] as const) {
    const first = await say(world, [...serve, ...more], null, { interrupt: 130 });
    t.equal(first.code, 0, first.err);
    t.ok(first.out.endsWith(`Nobody may ask it yet: ${next}`), first.out);
    const add = ['governance', 'token', 'add', 'ann', '--role', 'admin', ...more];
    t.match(await say(world, add), { code: 0, out: /^spg_\S+\n$/ });
    const second = await say(world, [...serve, ...more], null, { interrupt: 130 });
    t.notMatch(second.out, 'Nobody may ask');
  }
});
