// Asking for secrets that are fetched when they are needed.
import t from 'tap';
import { SECRET_DEMAND_MS } from '../../src/base/limits.ts';
import type { SignedIn } from '../../src/credentials/token-exchange.ts';
import { Demands } from '../../src/workers/demands.ts';

const SIGNED_IN: SignedIn = {
  id: 'a',
  scope: 1,
  request: {
    refreshToken: null,
    clientId: 'app',
    clientSecret: null,
    clientAuth: 'post',
    format: 'form',
  },
  tokens: { accessToken: 'access', refreshToken: null, lifeMs: null },
};

t.test('once at a time, and not while the answer is young', async (t) => {
  let nowMs = 0;
  const posted: (string | number)[][] = [];
  const clock = { wallMs: () => 0, monotonicMs: () => nowMs };
  const demands = new Demands(clock, (question) => {
    const { number, type } = question;
    const what = type === 'demand' ? question.id + (question.renew ? ' anew' : '') : type;
    posted.push([number, what]);
  });
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

  const [renewed, kept] = [demands.renew('a'), demands.keep(SIGNED_IN)];
  t.same(posted.slice(-2), [
    [6, 'a anew'],
    [7, 'keep'],
  ]);
  demands.answer(6, null);
  demands.answer(7, 'nobody may sign in there');
  await renewed;
  await t.rejects(kept, { message: 'nobody may sign in there' });
});
