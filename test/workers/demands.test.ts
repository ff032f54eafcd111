// Asking for secrets that are fetched when they are needed.
import t from 'tap';
import { SECRET_DEMAND_MS } from '../../src/base/limits.ts';
import { Demands } from '../../src/workers/demands.ts';

t.test('once at a time, and not while the answer is young', async (t) => {
  let nowMs = 0;
  const posted: [number, string][] = [];
  const clock = { wallMs: () => 0, monotonicMs: () => nowMs };
  const demands = new Demands(clock, (number, id) => posted.push([number, id]));
  const both = Promise.all([demands.ask(['a', 'b']), demands.ask(['a'])]);
  t.same(posted, [
    [1, 'a'],
    [2, 'b'],
  ]);
  demands.answer(2, null);
  demands.answer(1, null);
  await both;
  await demands.ask(['a', 'b']);
  t.equal(posted.length, 2);
  nowMs += SECRET_DEMAND_MS;
  const again = demands.ask(['a']);
  t.same(posted.at(-1), [3, 'a']);
  demands.answer(3, 'the command failed');
  await t.rejects(again, {
    code: 'SALLYPORT_CREDENTIAL_UNAVAILABLE',
    message: 'the command failed',
  });
  const third = demands.ask(['a']);
  t.same(posted.at(-1), [4, 'a'], 'a failure is no answer to keep');
  demands.answer(4, null);
  demands.answer(99, null);
  await third;
  demands.forget(['b', 'a']);
  const fifth = demands.ask(['a']);
  t.same(posted.at(-1), [5, 'a'], 'its value is gone');
  demands.answer(5, null);
  await fifth;
});
