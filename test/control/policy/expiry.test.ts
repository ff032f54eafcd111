// Rules that end, with a clock of the test.
import t from 'tap';
import { Expiry } from '../../../src/control/policy/expiry.ts';

t.test('each goes when its time has come, and not before', async (t) => {
  let nowMs = 1_000;
  const removed = Promise.withResolvers<readonly string[]>();
  const expiry = new Expiry(
    { wallMs: () => nowMs },
    async (ids) => removed.resolve(ids),
    (error) => removed.reject(error),
  );
  t.teardown(() => expiry.close());
  expiry.watch([
    { id: 'later', expiresAtMs: 1e12 },
    { id: 'never' },
    { id: 'soon', expiresAtMs: 1_020 },
    { id: 'sooner', expiresAtMs: 1_005 },
  ]);
  nowMs = 1_030; // The clock was set: what is over is over.
  const keep = setTimeout(() => {}, 5_000);
  t.strictSame([...(await removed.promise)].sort(), ['soon', 'sooner']);
  clearTimeout(keep);
});

t.test('a removal that fails is told, and tried again', async (t) => {
  const reported = Promise.withResolvers<unknown>();
  let nowMs = 10;
  let tries = 0;
  const done = Promise.withResolvers<void>();
  const expiry = new Expiry(
    { wallMs: () => nowMs },
    async () => {
      if (++tries === 1) throw new Error('disk full');
      done.resolve();
    },
    (error) => {
      nowMs += 60_000;
      reported.resolve(error);
    },
  );
  t.teardown(() => expiry.close());
  const keep = setTimeout(() => {}, 10_000);
  expiry.watch([{ id: 'a', expiresAtMs: 1 }]);
  t.match(await reported.promise, { message: 'disk full' });
  await done.promise;
  clearTimeout(keep);
  t.equal(tries, 2);
});
