import t from 'tap';
import { SOURCE_REMOTE } from '../../assembly/layout.ts';
import { longestId, RuleTable } from '../../src/policy/compile-rules.ts';
import { Scratch } from '../../src/policy/compile-scratch.ts';
import type { Rule } from '../../src/policy/rule.ts';

function rule(id: string): Rule {
  return { id, source: 'remote', decision: 'deny', scope: 0, protocols: ['tcp'], resources: [] };
}

t.test('records are as long as the longest id needs', async (t) => {
  const rules = [rule('a'), rule('long-id'), rule('bc')];
  const table = new RuleTable(3, longestId(rules), new Scratch());
  for (const one of rules) table.add(one);
  t.equal(table.count, 3);
  t.equal(table.recordBytes, 9);
  t.equal(table.records.length, 27);
  const second = Buffer.from(table.records.subarray(9, 18));
  t.strictSame([second[0], second[1], second.toString('latin1', 2)], [SOURCE_REMOTE, 7, 'long-id']);
});

t.test('ids that are none', async (t) => {
  for (const id of ['', 'x'.repeat(65)]) {
    t.throws(() => longestId([rule(id)]), { code: 'SALLYPORT_POLICY_INVALID' });
  }
  const table = new RuleTable(1, 64, new Scratch());
  t.throws(() => table.add(rule('é')), { code: 'SALLYPORT_POLICY_INVALID' });
  t.equal(longestId([rule('x'.repeat(64))]), 64);
});
