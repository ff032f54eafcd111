import t from 'tap';
import { printable } from '../../src/base/printable.ts';

t.test('what ends lines, moves cursors or turns text around is told, not done', async (t) => {
  t.equal(printable('a b/ü…'), 'a b/ü…');
  t.equal(printable('a\nb\r\u0085\u2028\u2029'), 'a\\u{a}b\\u{d}\\u{85}\\u{2028}\\u{2029}');
  t.equal(printable('\u001b[2J\u202e\u0000'), '\\u{1b}[2J\\u{202e}\\u{0}');
});
