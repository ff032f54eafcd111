import t from 'tap';
import { referenceMatcher } from '../../src/policy/reference.ts';
import { policyFiles, readPolicyFile, verdictOf } from '../helpers/policytest.ts';

const files = policyFiles();

t.test('the golden files are all there', async (t) => {
  const count = files.reduce((sum, { cases }) => sum + cases.length, 0);
  t.ok(files.length >= 40, `${files.length} files`);
  t.ok(count >= 200, `${count} cases`);
});

for (const file of files) {
  t.test(file.name, async (t) => {
    const matcher = referenceMatcher(file.rules, 7);
    for (const expected of file.cases) {
      const { action, rule, kind, generation } = verdictOf(matcher, file, expected);
      t.strictSame(
        { action, rule },
        { action: expected.action, rule: expected.rule },
        expected.name,
      );
      t.equal(kind, rule === null ? 'implicit' : 'explicit', expected.name);
      t.equal(generation, 7, expected.name);
    }
  });
}

t.test('a file that cannot be read says where', async (t) => {
  const broken: [text: string, message: RegExp][] = [
    ['rules\n  a allow x.com\n', /^f: has no requests/],
    ['rules\n  a permit x.com\n', /^f:2: allow or deny/],
    ['rules\n  a allow now x.com\n', /^f:2: what is now/],
    ['rules\n  a allow x.com\nrequests\n  x.com:1 => allow b\n', /^f:4: there is no rule b/],
    ['rules\n  a allow x.com\nrequests\n  x.com:1 => maybe a\n', /^f:4: allow or deny/],
    ['rules\n  a allow x.com\nrequests\n  x.com => allow a\n', /^f:4: not HOST:PORT/],
    ['rules\n  a allow x.com\nrequests\n  x.com:1 later => allow a\n', /^f:4: what is later/],
    ['x.com:1 => allow a\n', /^f:1: neither/],
    ['guard none\n', /^f:1: guard is/],
  ];
  for (const [text, message] of broken) t.throws(() => readPolicyFile('f', text), { message });
});
