import t from 'tap';
import { isGlob, readGlob } from '../../src/policy/glob.ts';

t.test('what is a pattern, and what is wrong with one', async (t) => {
  t.notOk(isGlob('plain-label'));
  for (const label of ['*', 'a*', '?', '[ab]', '[!a-c]x']) {
    t.ok(isGlob(label), label);
    t.ok(Array.isArray(readGlob(label)), label);
  }
  for (const label of ['[', '[]', '[!]', '[c-a]', 'a]', '[a', 'a_*']) {
    t.equal(typeof readGlob(label), 'string', `${label} is refused in words`);
  }
});
