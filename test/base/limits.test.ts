import t from 'tap';
import * as limits from '../../src/base/limits.ts';

t.test('every bound is a positive number whose name says its unit or what it counts', async (t) => {
  for (const [name, value] of Object.entries(limits)) {
    t.ok(Number.isSafeInteger(value) && value > 0, name);
    t.match(name, /_(MS|BYTES|MAX|MIN)(_MAX|_MIN)?$/, name);
  }
});

t.test('bounds that depend on each other agree', async (t) => {
  t.ok(limits.TARGET_BYTES_MAX < limits.HEAD_BYTES_MAX);
  t.ok(limits.OUTCOME_BATCH_MS + limits.AUDIT_FLUSH_MS <= 100, 'kill -9 loses at most 100 ms');
  t.ok(limits.TUNNEL_READ_BYTES_MIN < limits.TUNNEL_READ_BYTES_MAX);
});
