import t from 'tap';
import {
  HEADER_LENGTH,
  HEADER_MAGIC,
  HEADER_RULE_COUNT,
  HEADER_SCOPE_COUNT,
  HEADER_SLOT_MASK,
  IMAGE_MAGIC,
} from '../../assembly/layout.ts';
import { RULES_MAX } from '../../src/base/limits.ts';
import { type CompiledImage, compile } from '../../src/policy/compile.ts';
import { Scratch } from '../../src/policy/compile-scratch.ts';
import type { Rule } from '../../src/policy/rule.ts';
import { ruleOf, rulesOf, type Written } from '../helpers/rules.ts';

function bytesOf({ parts }: CompiledImage): Buffer {
  return Buffer.concat(parts);
}

t.test('the header tells what is there', async (t) => {
  const image = compile(rulesOf(['allow', 'x.com,*.y.com', { scope: 3 }], ['allow', '10.0.0.0/8']));
  const bytes = bytesOf(image);
  t.equal(bytes.length, image.bytes);
  t.equal(bytes.readUInt32LE(HEADER_MAGIC), IMAGE_MAGIC);
  t.equal(bytes.readUInt32LE(HEADER_LENGTH), image.bytes);
  t.equal(bytes.readUInt32LE(HEADER_RULE_COUNT), 2);
  t.equal(bytes.readUInt32LE(HEADER_SCOPE_COUNT), 2);
  t.ok(bytes.includes('y.com'.slice(0, 1)) && bytes.includes('com'));
});

t.test('no rules make a small image, not none', async (t) => {
  const image = compile([]);
  t.ok(image.bytes > 0 && image.bytes < 1_024);
  t.equal(image.rules, 0);
});

t.test('the hash table is at most half full', async (t) => {
  for (const count of [1, 100, 5_000]) {
    const list = Array.from(
      { length: count },
      (_, i): Written => ['allow', `a${i}.b${i}.c${i}.com`],
    );
    const slots = bytesOf(compile(rulesOf(...list))).readUInt32LE(HEADER_SLOT_MASK) + 1;
    t.ok(slots >= 2 * (3 * count + 1), `${slots} slots for ${3 * count + 1} nodes`);
  }
});

t.test('a policy over a bound is refused with its size', async (t) => {
  t.throws(() => compile(new Array<Rule>(RULES_MAX + 1)), {
    code: 'SALLYPORT_POLICY_TOO_LARGE',
    message: /1048576 rules/,
  });
  const rules = [ruleOf('allow', 'x.com')];
  const { bytes } = compile(rules);
  t.equal(compile(rules, { bytesMax: bytes }).bytes, bytes, 'at the bound');
  t.throws(() => compile(rules, { bytesMax: bytes - 1 }), {
    code: 'SALLYPORT_POLICY_TOO_LARGE',
    message: new RegExp(`${bytes} bytes; at most ${bytes - 1} `),
  });
});

t.test('the same rules and seed make the same image, whatever was compiled before', async (t) => {
  const list = Array.from(
    { length: 500 },
    (_, i): Written => ['allow', `a${i}.com,*.b${i}.net:80`],
  );
  const rules = rulesOf(...list);
  const scratch = new Scratch();
  const first = bytesOf(compile(rules, { seed: 5, scratch }));
  bytesOf(compile([ruleOf('allow', `${'l'.repeat(63)}.com`)], { seed: 9, scratch }));
  const again = bytesOf(compile(rules, { seed: 5, scratch }));
  t.equal(again.length, first.length);
  t.not(Buffer.compare(bytesOf(compile(rules, { seed: 6 })), first), 0, 'another seed');
});
