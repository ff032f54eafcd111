import t from 'tap';
import { parseDuration } from '../../src/base/duration.ts';

t.test('a number with a unit is a duration, and nothing else is', async (t) => {
  for (const [text, ms] of [
    ['0s', 0],
    ['500ms', 500],
    ['30s', 30_000],
    ['2m', 120_000],
    ['1h', 3_600_000],
  ] as const) {
    t.equal(parseDuration(text), ms, text);
  }
  for (const text of ['', '30', 's', '1d', '-1s', '1.5s', '30 s', '1s ', '1234567890s', '1H']) {
    t.equal(parseDuration(text), null, `"${text}"`);
  }
});
