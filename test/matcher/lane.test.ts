import fc from 'fast-check';
import t from 'tap';
import { IMAGES_BASE, LANE_BYTES, LANE_TAGS_COUNT, LANES_BASE } from '../../assembly/layout.ts';
import { Lane } from '../../src/matcher/lane.ts';
import { Publisher } from '../../src/matcher/publish.ts';
import { hashLabel, mix } from '../../src/policy/compile-hosts.ts';
import type { Matcher, Question } from '../../src/policy/decision.ts';
import { referenceMatcher } from '../../src/policy/reference.ts';
import type { Decision, Rule } from '../../src/policy/rule.ts';
import { ask, rule } from './rules.ts';

const LANE = 63;

async function matcherOf(rules: readonly Rule[], seed?: number): Promise<Matcher> {
  const publisher = await Publisher.create(seed === undefined ? {} : { seed });
  await publisher.publish(rules);
  return new Lane(publisher.memory, publisher.module, LANE);
}

t.test('before the first publication everything is denied', async (t) => {
  const { memory, module } = await Publisher.create();
  t.strictSame(new Lane(memory, module, LANE).match(ask('example.com')), {
    action: 'deny',
    kind: 'implicit',
    http: false,
    rule: null,
    source: null,
    generation: 0,
  });
});

t.test('a verdict names the rule, its source and the generation', async (t) => {
  const lane = await matcherOf([{ ...rule('from-kit', 'allow', 'example.com'), source: 'kit' }]);
  const expected = {
    action: 'allow',
    kind: 'explicit',
    http: false,
    rule: 'from-kit',
    source: 'kit',
    generation: 1,
  };
  t.strictSame(lane.match(ask('example.com')), expected, 'the first time, from the image');
  t.strictSame(lane.match(ask('example.com')), expected, 'again, from what the lane kept');
});

// rules; host; port; expected action and rule
const CASES: [rules: Rule[], host: string, port: number, expected: string, why: string][] = [
  [[rule('a', 'allow', '*.x.com')], 'y.x.com', 1, 'allow a', 'one label more'],
  [[rule('a', 'allow', '*.x.com')], 'x.com', 1, 'deny null', 'not the name it hangs from'],
  [[rule('a', 'allow', '*.x.com')], 'z.y.x.com', 1, 'deny null', 'not two labels'],
  [[rule('a', 'allow', '**.x.com')], 'z.y.x.com', 1, 'allow a', 'one label or more'],
  [[rule('a', 'allow', '**.x.com')], 'x.com', 1, 'deny null', 'but not none'],
  [[rule('a', 'allow', 'x.com')], 'evilx.com', 1, 'deny null', 'labels are whole'],
  [[rule('a', 'allow', 'x.com:80')], 'x.com', 443, 'deny null', 'another port'],
  [[rule('a', 'allow', '**'), rule('d', 'deny', 'x.com')], 'x.com', 1, 'deny d', 'deny wins'],
  [[rule('a', 'allow', 'x.com'), rule('b', 'allow', '**')], 'x.com', 1, 'allow a', 'first named'],
  [[rule('b', 'allow', '**'), rule('a', 'allow', 'x.com')], 'x.com', 1, 'allow b', 'first named'],
  [[rule('a', 'allow', 'crl*.x.com')], 'crl3.x.com', 1, 'allow a', 'a star in a label'],
  [[rule('a', 'allow', 'crl*.x.com')], 'crl.3.x.com', 1, 'deny null', 'never over a dot'],
  [[rule('a', 'allow', 'a*a*a*b.com')], `${'a'.repeat(63)}.com`, 1, 'deny null', 'quickly'],
  [[rule('a', 'allow', '*ab.com')], 'aab.com', 1, 'allow a', 'a star tries every place'],
  [[rule('a', 'allow', 'api[!1].x.com')], 'api2.x.com', 1, 'allow a', 'none of a class'],
  [[rule('a', 'allow', '10.0.0.0/8')], '10.9.8.7', 1, 'allow a', 'in the range'],
  [[rule('a', 'allow', '10.0.0.0/8')], '11.0.0.0', 1, 'deny null', 'beside it'],
  [[rule('a', 'allow', '2001:db8::/33')], '2001:db8:7fff::1', 1, 'allow a', 'in the range'],
  [[rule('a', 'allow', '2001:db8::/33')], '2001:db8:8000::', 1, 'deny null', 'beside it'],
  [[rule('a', 'allow', '**.com')], '10.0.0.1', 1, 'deny null', 'names only'],
];
t.test('patterns', async (t) => {
  for (const [rules, host, port, expected, why] of CASES) {
    const { action, rule } = (await matcherOf(rules)).match(ask(host, port));
    t.equal(`${action} ${rule}`, expected, `${rules[0]?.resources[0]?.text} ${host}: ${why}`);
  }
});

t.test('a scope sees global rules and its own', async (t) => {
  const rules = [7, 3, 100_000].map((scope) => rule(`s${scope}`, 'allow', 'x.com', { scope }));
  const lane = await matcherOf([...rules, rule('g', 'deny', 'y.com')]);
  for (const scope of [3, 7, 100_000]) {
    t.equal(lane.match(ask('x.com', 443, { scope })).rule, `s${scope}`);
    t.equal(lane.match(ask('y.com', 443, { scope })).rule, 'g');
  }
  t.equal(lane.match(ask('x.com')).kind, 'implicit', 'global alone');
  t.equal(lane.match(ask('x.com', 443, { scope: 4 })).kind, 'implicit', 'an unknown scope');
});

t.test('equal hashes do not make equal names', async (t) => {
  const seed = 1;
  const [a, b] = collision(seed);
  t.not(a, b);
  const lane = await matcherOf([rule('a', 'allow', a)], seed);
  t.equal(lane.match(ask(a)).rule, 'a');
  t.equal(lane.match(ask(b)).kind, 'implicit', `${b} has the hash of ${a} and other bytes`);
  const both = await matcherOf([rule('a', 'allow', a), rule('b', 'deny', b)], seed);
  t.strictSame([both.match(ask(a)).rule, both.match(ask(b)).rule], ['a', 'b']);
});

/** Two one-label names with one 32-bit hash in the global scope; by chance after some 80 000. */
function collision(seed: number): [string, string] {
  const seen = new Map<number, string>();
  for (let i = 0; ; i++) {
    const name = `n${i.toString(36)}x`;
    const hash = hashLabel(mix(seed), name);
    const other = seen.get(hash);
    if (other !== undefined) return [other, name];
    seen.set(hash, name);
  }
}

t.test('more rules than a lane keeps ids of', async (t) => {
  const count = 2 * LANE_TAGS_COUNT + 1;
  const rules = Array.from({ length: count }, (_, i) => rule(`r${i}`, 'allow', `h${i}.com`));
  const lane = await matcherOf(rules);
  for (let round = 0; round < 2; round++) {
    const wrong = rules.filter(({ id }, i) => lane.match(ask(`h${i}.com`)).rule !== id);
    t.strictSame(wrong, [], 'each names its own rule');
  }
});

t.test('a damaged image is refused, and the next publication heals', async (t) => {
  const publisher = await Publisher.create();
  const rules = [rule('a', 'allow', '*.x.com,a*.y.com,10.0.0.0/8'), rule('b', 'deny', 'x.com')];
  const { bytes } = await publisher.publish(rules);
  const lane = new Lane(publisher.memory, publisher.module, LANE);
  const image = new Uint8Array(publisher.memory.buffer, IMAGES_BASE, bytes);
  const intact = image.slice();
  const epoch = new Int32Array(publisher.memory.buffer, LANES_BASE + LANE * LANE_BYTES, 1);
  let refused = 0;
  for (let at = 0; at < bytes; at++) {
    image[at] = (image[at] ?? 0) ^ 0xff;
    for (const question of [ask('a.x.com'), ask('ab.y.com'), ask('10.1.1.1', 80)]) {
      try {
        lane.match(question);
      } catch (error) {
        refused++;
        if ((error as { code?: string }).code !== 'SALLYPORT_INTERNAL') throw error;
      }
    }
    image.set(intact);
  }
  t.ok(refused > 10, `${refused} refusals with a code, the rest answered`);
  t.equal((Atomics.load(epoch, 0) & 1) === 0, true, 'the lane is not left inside a match');
  await publisher.publish(rules);
  t.equal(lane.match(ask('a.x.com')).rule, 'a');
});

t.test('a lane that does not exist, and a host that is none', async (t) => {
  const { memory, module } = await Publisher.create();
  for (const lane of [-1, 64, 1.5]) {
    t.throws(() => new Lane(memory, module, lane), { code: 'SALLYPORT_INTERNAL' });
  }
  const lane = new Lane(memory, module, 0);
  for (const host of ['a'.repeat(254), ':::'] as Question['host'][]) {
    t.throws(() => lane.match({ ...ask('x.com'), host }), { code: 'SALLYPORT_INTERNAL' });
  }
});

// Few labels and few addresses, so that rules and questions meet.
const label = fc.constantFrom('a', 'b', 'ab', 'a1', 'a-1');
const glob = fc.constantFrom('a*', '?', 'a[1b]', '*', 'a[!1]', '*1', '[a-b]*[0-9]');
const port = fc.constantFrom(0, 0, 80, 443);
const dotted = (labels: string[]): string => labels.join('.');
const hostText = fc.array(label, { minLength: 1, maxLength: 4 }).map(dotted);
const addressText = fc.constantFrom(
  '10.0.0.1',
  '10.0.0.2',
  '10.128.0.1',
  '::1',
  '2001:db8::1',
  '2001:db8::8000:1',
);
const pattern = fc.oneof(
  hostText,
  fc.array(fc.oneof(label, glob), { minLength: 1, maxLength: 3 }).map((l) => `${dotted(l)}.b`),
  hostText.map((text) => `*.${text}`),
  hostText.map((text) => `**.${text}`),
  fc.constant('**'),
);
const range = fc.constantFrom(
  '10.0.0.1',
  '10.0.0.0/8',
  '10.0.0.0/9',
  '0.0.0.0/1',
  '2001:db8::/32',
  '2001:db8::/127',
  '::/2',
);
const resources = fc
  .oneof(
    fc.tuple(pattern, port).map(([text, port]) => (port === 0 ? text : `${text}:${port}`)),
    range,
    fc.constantFrom('10.0.0.1:80', '[2001:db8::1]:443'),
  )
  .chain((one) =>
    fc.oneof(
      fc.constant(one),
      pattern.map((other) => `${one},${other}`),
    ),
  );
const rulesOf = fc.array(
  fc.record({
    decision: fc.constantFrom<Decision>('allow', 'allow', 'deny'),
    resources,
    scope: fc.constantFrom(0, 0, 1, 2),
    protocols: fc.constantFrom(['tcp'] as const, ['udp'] as const, ['tcp', 'udp'] as const),
  }),
  { maxLength: 12 },
);
const questions = fc.array(
  fc.record({
    host: fc.oneof({ weight: 3, arbitrary: hostText }, { weight: 1, arbitrary: addressText }),
    port: fc.constantFrom(80, 443, 8080),
    scope: fc.constantFrom(0, 1, 2, 3),
    protocol: fc.constantFrom('tcp' as const, 'udp' as const),
    namedOnly: fc.boolean(),
  }),
  { minLength: 1, maxLength: 30 },
);

t.test('agrees with the reference on generated rules and questions', async (t) => {
  const publisher = await Publisher.create();
  const lane = new Lane(publisher.memory, publisher.module, LANE);
  const property = fc.asyncProperty(rulesOf, questions, async (specs, asked) => {
    const rules = specs.map(({ decision, resources, ...rest }, i) =>
      rule(`r${i}`, decision, resources, rest),
    );
    const { generation } = await publisher.publish(rules);
    const reference = referenceMatcher(rules, generation);
    for (const { host, port, ...rest } of asked) {
      const question = ask(host, port, rest);
      const [ours, theirs] = [lane.match(question), reference.match(question)];
      if (JSON.stringify(ours) !== JSON.stringify(theirs)) {
        throw new Error(`${JSON.stringify(question)}: ${JSON.stringify([ours, theirs])}`);
      }
    }
  });
  await t.resolves(fc.assert(property, { numRuns: 2_000 }));
});

t.test('adding a deny or removing an allow never widens', async (t) => {
  const publisher = await Publisher.create();
  const lane = new Lane(publisher.memory, publisher.module, LANE);
  const property = fc.asyncProperty(rulesOf, questions, fc.nat(), async (specs, asked, pick) => {
    const rules = specs.map(({ decision, resources, ...rest }, i) =>
      rule(`r${i}`, decision, resources, rest),
    );
    const allows = rules.filter(({ decision }) => decision === 'allow');
    const less = rules.filter((one) => one !== allows[pick % Math.max(1, allows.length)]);
    const denied = rules.map((one, i) => ({ ...one, id: `d${i}`, decision: 'deny' as const }));
    const more = denied.slice(pick % (denied.length + 1), (pick % (denied.length + 1)) + 1);
    const allowed = await allowedBy(rules);
    for (const narrower of [less, [...rules, ...more], [...more, ...rules]]) {
      const still = await allowedBy(narrower);
      const widened = asked.find((_, i) => still[i] === true && allowed[i] === false);
      if (widened !== undefined) throw new Error(JSON.stringify(widened));
    }

    async function allowedBy(policy: readonly Rule[]): Promise<boolean[]> {
      await publisher.publish(policy);
      return asked.map(
        ({ host, port, ...rest }) => lane.match(ask(host, port, rest)).action === 'allow',
      );
    }
  });
  await t.resolves(fc.assert(property, { numRuns: 1_000 }));
});
