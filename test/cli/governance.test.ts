// `governance serve`: what it says at its start, and how it ends.
import { join } from 'node:path';
import t from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import { resolvePaths } from '../../src/control/paths.ts';
import { GovernanceStore } from '../../src/governance/store.ts';
import { issueToken } from '../../src/governance/tokens.ts';
import { temporaryEnv, temporaryFolder } from '../helpers/control.ts';
import { callerOf, serveProcess } from '../helpers/governance.ts';
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

t.test('--keep-audit bounds what is kept of who changed what', async (t) => {
  const folder = temporaryFolder(t);
  const store = GovernanceStore.open(join(folder, 'governance.db'));
  t.teardown(() => store.close());
  const token = issueToken(store, 'ann', 'admin', systemClock);
  const facts = { actor: 'ann', action: 'x', policy: null, rule: null, before: null, after: null };
  store.transaction(() => {
    for (let timeMs = 0; timeMs < 1_200; timeMs++) store.addAudit({ timeMs, ...facts }, 9_999);
  });
  const env = { PATH: process.env.PATH ?? '', HOME: folder };
  const options = ['--org', 'my-org', '--data', folder, '--keep-audit', '1000'];
  const { url, child } = await serveProcess(env, ...options);
  t.teardown(() => child.kill('SIGKILL'));
  t.equal((await callerOf(url, token)('POST', '/policies', { name: 'one' })).status, 201);
  const kept = store.audit(null, 9_999);
  t.strictSame([kept.length, kept.at(0)?.action, kept.at(-1)?.seq], [1_000, 'policy.create', 202]);
});
