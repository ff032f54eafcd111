import t from 'tap';
import { parseSize } from '../../src/base/size.ts';

t.test('a number with a binary unit is a size, and nothing else is', async (t) => {
  t.equal(parseSize('1KiB'), 1_024);
  t.equal(parseSize('200MiB'), 209_715_200);
  t.equal(parseSize('2GiB'), 2_147_483_648);
  t.equal(parseSize('3TiB'), 3 * 2 ** 40);
  for (const text of ['', '2', 'GiB', '2GB', '2 GiB', '-2GiB', '1.5GiB', '1234567GiB', '2gib']) {
    t.equal(parseSize(text), null, `"${text}"`);
  }
});
