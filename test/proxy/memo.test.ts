// What is fetched once is not fetched again before its time.
import t from 'tap';
import { Memo } from '../../src/proxy/memo.ts';

t.test('one fetch for all who ask, until it is too old', async (t) => {
  let now = 0;
  let fetched = 0;
  const memo = new Memo<number>(8, () => 0);
  const get = (key = 'a') =>
    memo.get(
      key,
      () => now,
      async () => ({ value: ++fetched, forMs: 10 }),
    );
  t.strictSame(await Promise.all([get(), get(), get('b')]), [1, 1, 2]);
  now = 9;
  t.equal(await get(), 1);
  now = 10;
  t.equal(await get(), 3);
  memo.forget('a');
  t.equal(await get(), 4);
});

t.test('a failure is remembered as long as is said', async (t) => {
  let now = 0;
  let fetched = 0;
  const memo = new Memo<number>(8, (error) => (error instanceof RangeError ? 5 : 0));
  const get = (error: Error) =>
    memo.get(
      'a',
      () => now,
      async () => {
        fetched++;
        throw error;
      },
    );
  await t.rejects(get(new TypeError()), TypeError);
  await t.rejects(get(new RangeError()), RangeError);
  await t.rejects(get(new TypeError()), RangeError);
  t.equal(fetched, 2);
  now = 5;
  await t.rejects(get(new TypeError()), TypeError);
  t.equal(fetched, 3);
});

t.test('the number of answers is bounded', async (t) => {
  let fetched = 0;
  const memo = new Memo<number>(2, () => 0);
  const get = (key: string) =>
    memo.get(
      key,
      () => 0,
      async () => ({ value: ++fetched, forMs: 10 }),
    );
  for (const key of ['a', 'b', 'c', 'a']) await get(key);
  t.equal(fetched, 4, 'a made room for c');
});
