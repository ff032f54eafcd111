// The golden files, through the obvious matcher and through the compiled image in Wasm.
import t from 'tap';
import { WORKERS_MAX } from '../../src/base/limits.ts';
import { Lane } from '../../src/matcher/lane.ts';
import { Publisher } from '../../src/matcher/publish.ts';
import { referenceMatcher } from '../../src/policy/reference.ts';
import { readPolicyTests } from '../helpers/policytest.ts';

const CASES_MIN = 150;

const tests = readPolicyTests();
const publisher = await Publisher.create();
const lane = new Lane(publisher.memory, publisher.module, WORKERS_MAX);

t.ok(tests.reduce((sum, { cases }) => sum + cases.length, 0) >= CASES_MIN, 'there are enough cases');

for (const { name, rules, cases } of tests) {
  t.test(name, async (t) => {
    await publisher.publish(rules);
    const reference = referenceMatcher(rules);
    for (const { line, question, action, rule } of cases) {
      const wanted = { action, rule, kind: rule === null ? 'implicit' : 'explicit' };
      t.match(reference.match(question), wanted, `reference: ${line}`);
      t.match(lane.match(question), wanted, `wasm: ${line}`);
    }
  });
}
