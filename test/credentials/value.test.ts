import t from 'tap';
import { SECRET_VALUE_BYTES_MAX } from '../../src/base/limits.ts';
import { faultOfValue, masked, preview } from '../../src/credentials/value.ts';

t.test('a value can stand in a header field', async (t) => {
  for (const value of ['x', 'a b', '~!"', 'x'.repeat(SECRET_VALUE_BYTES_MAX)]) {
    t.equal(faultOfValue(value), null);
  }
  for (const [value, fault] of [
    ['', 'empty'],
    ['x'.repeat(SECRET_VALUE_BYTES_MAX + 1), 'more than 65536 bytes'],
    ['KEY\n', 'white space at an end'],
    [' KEY', 'white space at an end'],
    ['KEY\r\nX-Other: y', 'line ends'],
    ['KEY\0', 'visible ASCII'],
    ['schlüssel', 'visible ASCII'],
  ] as const) {
    t.match(faultOfValue(value), fault);
    t.notMatch(faultOfValue(value), /KEY|schl/, 'no letter of it is told');
  }
});

t.test('masked as sbx masks', async (t) => {
  for (const [value, shown] of [
    ['abc', '***'],
    ['abcdef', '******'],
    ['abcdefg', 'abcdef*'],
    ['abcdefghijklmnopqrs', 'abcdef*************'],
    ['abcdefghijklmnopqrst', 'abcdef****qrst'],
    ['x'.repeat(1_000), 'xxxxxx****xxxx'],
  ] as const) {
    t.equal(masked(value), shown);
  }
  t.strictSame(['abcdefghijk', 'abcdefghijkl'].map(preview), ['****', '****ijkl']);
});
