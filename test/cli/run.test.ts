// `run` without its command; with one, it is in test/e2e/run.test.ts.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { startWorld, temporaryFolder } from '../helpers/control.ts';
import { say } from './session.ts';

t.test('a signal that comes before the command leaves neither it nor a sandbox', async (t) => {
  const world = await startWorld(t);
  const file = join(temporaryFolder(t), 'touched');
  const words = ['run', '--quiet', 'touch', file];
  const ran = await say(world, words, null, { interrupt: 143 });
  t.strictSame(ran, { code: 143, out: '', err: '' });
  t.notOk(existsSync(file));
  t.match(await world.client.get('/sandbox'), { sandboxes: { length: 0 } });
  t.equal((await say(world, words)).code, 0);
  t.ok(existsSync(file), 'it would have');
});

t.test('without a policy nothing is begun', async (t) => {
  const world = await startWorld(t, { preset: undefined });
  const file = join(temporaryFolder(t), 'touched');
  const ran = await say(world, ['run', 'touch', file]);
  t.match(ran, { code: 125, err: /has not been initialized/ });
  t.notOk(existsSync(file));
  t.match(await world.client.get('/sandbox'), { sandboxes: { length: 0 } });
});
