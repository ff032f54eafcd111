// Beside the daemon, the same is decided by the same rules, whatever they are called.
import fc from 'fast-check';
import t from 'tap';
import { offlineMatcher } from '../../src/matcher/offline.ts';
import { referenceMatcher } from '../../src/policy/reference.ts';
import { questions, ruleLists } from '../helpers/arbitraries.ts';

t.test('it agrees with the reference, and names the rule as its owner does', async (t) => {
  await fc.assert(
    fc.asyncProperty(ruleLists, fc.array(questions, { minLength: 20 }), async (list, asked) => {
      const rules = list.map((rule, i) => ({
        ...rule,
        id: `/a/path/${'é'.repeat(80)}.yaml:${i}:1`,
      }));
      const [matcher, reference] = [await offlineMatcher(rules), referenceMatcher(rules)];
      for (const question of asked)
        t.strictSame(matcher.match(question), reference.match(question));
    }),
    { numRuns: 30 },
  );
});
