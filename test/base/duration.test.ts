import t from 'tap';
import { parseAge, parseDuration, parseKeep } from '../../src/base/duration.ts';

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

t.test('an age may be in days, and what is kept may be so for ever', async (t) => {
  t.equal(parseAge('7d'), 604_800_000);
  t.equal(parseAge('90m'), 5_400_000);
  t.equal(parseKeep('1d'), 86_400_000);
  t.equal(parseKeep('forever'), Number.POSITIVE_INFINITY);
  for (const text of ['', 'd', '1.5d', '-1d', '100000d', 'forever ', '7']) {
    t.equal(parseAge(text), null, `"${text}"`);
    t.equal(parseKeep(text), null, `"${text}"`);
  }
});
