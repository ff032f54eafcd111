// Whatever the rules and the question: the compiled image in Wasm answers as the obvious matcher.
import fc from 'fast-check';
import t from 'tap';
import { WORKERS_MAX } from '../../src/base/limits.ts';
import { Lane } from '../../src/matcher/lane.ts';
import { Publisher } from '../../src/matcher/publish.ts';
import { referenceMatcher } from '../../src/policy/reference.ts';
import { questions, ruleLists } from '../helpers/arbitraries.ts';

t.test('action, kind, rule and source agree', async (t) => {
  const publisher = await Publisher.create();
  const lane = new Lane(publisher.memory, publisher.module, WORKERS_MAX);
  const asked = fc.array(questions, { minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(ruleLists, asked, async (rules, list) => {
      const { generation } = await publisher.publish(rules);
      const reference = referenceMatcher(rules, generation);
      for (const question of list) {
        t.strictSame(lane.match(question), reference.match(question), JSON.stringify(question));
      }
    }),
    { numRuns: 1_500 },
  );
});
