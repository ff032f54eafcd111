import t from 'tap';
import { systemClock } from '../../src/base/clock.ts';

t.test('monotonic time does not go back, wall time is after 2025', async (t) => {
  const before = systemClock.monotonicMs();
  t.ok(systemClock.monotonicMs() >= before);
  t.ok(systemClock.wallMs() > Date.UTC(2025, 0, 1));
});
