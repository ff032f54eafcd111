// Values that commands write: real shells, real time-outs. Covers src/credentials/child.ts too.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import type { Clock } from '../../src/base/clock.ts';
import { SECRET_COMMAND_RETRY_MS, SECRET_ON_DEMAND_MS } from '../../src/base/limits.ts';
import { CommandSource, ON_DEMAND_MS, outputOf } from '../../src/credentials/sources.ts';
import { temporaryFolder } from '../helpers/control.ts';

const UNAVAILABLE = { code: 'SALLYPORT_CREDENTIAL_UNAVAILABLE' };

t.test('what a command writes is the value', async (t) => {
  t.equal(await outputOf('echo token'), 'token');
  t.equal(await outputOf(`printf 'token\\r\\n'`), 'token');
  t.equal(await outputOf(`printf '%s' "a b"; echo noise >&2`), 'a b');
  const folder = await outputOf('pwd');
  t.notOk(existsSync(folder), 'its folder is gone');
  t.equal(await outputOf('ls -A | wc -l | tr -d " "'), '0', 'and was empty');
  t.equal(await outputOf('cat; echo no-input'), 'no-input');
});

t.test('a failure is told without a letter of the output', async (t) => {
  for (const [command, why] of [
    ['echo LEAKED; echo LEAKED >&2; exit 3', 'ended with 3'],
    ['true', 'the value is empty'],
    ['printf "LEAKED\\nLEAKED"', 'line ends'],
    ['printf "LEAKED\\n\\n"', 'white space'],
    ['kill -9 $$', 'ended with SIGKILL'],
    ['head -c 70000 /dev/zero | tr "\\0" L; sleep 60', 'wrote more than 65536 bytes'],
  ] as const) {
    const error = await outputOf(command).catch((error: Error) => error);
    t.match(error, { ...UNAVAILABLE, message: why }, command);
    t.notMatch(String(error), 'LEAKED');
  }
});

t.test('one that takes too long is ended, with all that it has started', async (t) => {
  const folder = temporaryFolder(t);
  const pids = join(folder, 'pids');
  const command = `sleep 60 & echo $! >> ${pids}; echo $$ >> ${pids}; wait`;
  await t.rejects(outputOf(command, { timeoutMs: 300 }), {
    ...UNAVAILABLE,
    message: 'the command of the secret took more than 300 ms',
  });
  const stop = new AbortController();
  const running = outputOf(command, { signal: stop.signal });
  stop.abort();
  await t.rejects(running, { ...UNAVAILABLE, message: /was stopped/ });
  await t.rejects(outputOf(command, { signal: stop.signal }), UNAVAILABLE, 'before it begins, too');
  const started = readFileSync(pids, 'utf8').trim().split('\n').map(Number);
  t.ok(started.length >= 2);
  for (const pid of started) while (isRunning(pid)) await nextTurn(); // SIGKILL takes its moment.
});

t.test('one run at a time; a value serves as long as it is fresh', async (t) => {
  const folder = temporaryFolder(t);
  const runs = join(folder, 'runs');
  const clock = { nowMs: 1_000_000, wallMs: () => 0, monotonicMs: () => clock.nowMs };
  const count = (): number => readFileSync(runs, 'utf8').length;
  const source = sourceOf(`printf x >> ${runs}; cat ${folder}/value`, 60_000, clock);
  writeFileSync(join(folder, 'value'), 'first');
  t.equal(source.last, null);
  const together = await Promise.all([source.value(), source.fetch(), source.value()]);
  t.strictSame([together, count()], [['first', 'first', 'first'], 1]);
  writeFileSync(join(folder, 'value'), 'second');
  clock.nowMs += 59_000;
  t.strictSame([await source.value(), count()], ['first', 1]);
  clock.nowMs += 2_000;
  t.strictSame([await source.value(), count()], ['second', 2]);
  writeFileSync(join(folder, 'value'), '');
  await t.rejects(source.fetch(), UNAVAILABLE);
  t.equal(source.last, 'second', 'what it gave before stays');

  writeFileSync(join(folder, 'value'), 'third');
  const onDemand = sourceOf(`cat ${folder}/value`, ON_DEMAND_MS, clock);
  t.equal(await onDemand.value(), 'third');
  writeFileSync(join(folder, 'value'), 'fourth');
  t.equal(await onDemand.value(), 'third');
  clock.nowMs += SECRET_ON_DEMAND_MS;
  t.equal(await onDemand.value(), 'fourth');
});

t.test(
  'a command that failed is left alone for a moment, however often it is wanted',
  async (t) => {
    const folder = temporaryFolder(t);
    const runs = join(folder, 'runs');
    const clock = { nowMs: 1_000_000, wallMs: () => 0, monotonicMs: () => clock.nowMs };
    const source = sourceOf(`printf x >> ${runs}; cat ${folder}/value`, ON_DEMAND_MS, clock);
    const error = await source.value().catch((error: Error) => error);
    t.match(error, UNAVAILABLE);
    clock.nowMs += SECRET_COMMAND_RETRY_MS - 1;
    t.equal(await source.value().catch((error: Error) => error), error);
    t.equal(readFileSync(runs, 'utf8'), 'x');
    writeFileSync(join(folder, 'value'), 'there');
    clock.nowMs += 1;
    t.equal(await source.value(), 'there');
    clock.nowMs += SECRET_ON_DEMAND_MS;
    writeFileSync(join(folder, 'value'), '');
    await t.rejects(source.value(), UNAVAILABLE);
    writeFileSync(join(folder, 'value'), 'again');
    t.equal(await source.fetch(), 'again', 'who sets it anew need not wait');
    t.equal(await source.value(), 'again');
  },
);

function sourceOf(command: string, refreshMs: number, clock: Clock): CommandSource {
  return new CommandSource({ command, refreshMs, clock, signal: new AbortController().signal });
}

function isRunning(pid: number): boolean {
  try {
    const state = readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[2];
    return state !== 'Z'; // Ended; nobody has looked at it yet.
  } catch {
    return false;
  }
}
