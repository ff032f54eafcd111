// The golden files once more, through the compiled image in Wasm: what test/policy/golden.test.ts
// asks of the obvious matcher, the real one answers alike.
import t from 'tap';
import { WORKERS_MAX } from '../../src/base/limits.ts';
import { Lane } from '../../src/matcher/lane.ts';
import { Publisher } from '../../src/matcher/publish.ts';
import { policyFiles, verdictOf } from '../helpers/policytest.ts';

const publisher = await Publisher.create();
const lane = new Lane(publisher.memory, publisher.module, WORKERS_MAX);

for (const file of policyFiles()) {
  t.test(file.name, async (t) => {
    const { generation } = await publisher.publish(file.rules);
    for (const expected of file.cases) {
      const verdict = verdictOf(lane, file, expected);
      const { action, rule } = expected;
      t.match(verdict, { action, rule, generation }, expected.name);
    }
  });
}
