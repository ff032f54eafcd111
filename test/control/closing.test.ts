import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type Closing, closeAll } from '../../src/control/closing.ts';
import { createDaemonLog } from '../../src/control/daemon-log.ts';
import { startWorld, temporaryFolder } from '../helpers/control.ts';

t.test('each part is closed, the last first, and each failure is told once', async (t) => {
  const file = join(temporaryFolder(t), 'log');
  const closed: string[] = [];
  const twice = async () => {
    closed.push('twice');
    throw failure;
  };
  const failure = new Error('the second fails');
  const closing: Closing = [
    () => closed.push('first'),
    twice,
    () => {
      throw new Error('the third fails');
    },
    twice,
    () => closed.push('last'),
  ];
  t.equal(await closeAll(closing, createDaemonLog(file, 'info')), false);
  t.strictSame(closed, ['last', 'twice', 'twice', 'first']);
  const log = readFileSync(file, 'utf8');
  for (const which of ['second', 'third']) {
    t.equal(log.split(`Error: the ${which} fails`).length, 2, which);
  }
  t.equal(await closeAll([() => {}], createDaemonLog(file, 'info')), true);
});

t.test('a part of an instance that cannot be closed keeps no other open', async (t) => {
  const { instance, paths } = await startWorld(t);
  t.ok(existsSync(`${paths.policyDatabase}-wal`), 'the store is open');
  instance.policy.settled = async () => {
    throw new Error('a change hangs');
  };
  t.equal(await instance.stop(0), false);
  t.notOk(existsSync(`${paths.policyDatabase}-wal`), 'it is closed, as is all before it');
  t.match(readFileSync(join(paths.state, 'test.log'), 'utf8'), 'a change hangs');
});
