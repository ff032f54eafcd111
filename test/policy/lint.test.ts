// A finding that a rule has no effect is a proof: without it, nothing is decided otherwise. Covers
// src/policy/broad.ts too.
import fc from 'fast-check';
import t from 'tap';
import { isAddress } from '../../src/policy/address.ts';
import { parseHttpMatch } from '../../src/policy/http.ts';
import { type AddressGuard, judgeAddresses, judgeTarget } from '../../src/policy/judge.ts';
import { lint } from '../../src/policy/lint.ts';
import { referenceMatcher } from '../../src/policy/reference.ts';
import type { Rule } from '../../src/policy/rule.ts';
import { addresses, paths, questions, ruleLists } from '../helpers/arbitraries.ts';
import { rulesOf, type Written } from '../helpers/rules.ts';

const all = (): boolean => true;
const NO_EFFECT = new Set(['contradictory', 'unreachable', 'duplicate', 'shadowed']);

t.test('what has no effect can go, and nothing is decided otherwise', async (t) => {
  let gone = 0;
  const target = fc.oneof(paths, fc.constantFrom('/a//b', '/a%2Fb', '/../b'));
  const about = fc.record({
    question: questions,
    guard: fc.constantFrom<AddressGuard>('strict', 'docker'),
    found: fc.array(addresses, { maxLength: 3 }),
    request: fc.option(fc.record({ method: fc.constantFrom('GET', 'POST', 'BREW'), target })),
  });
  type About = typeof about extends fc.Arbitrary<infer T> ? T : never;
  const decided = (rules: readonly Rule[], { question, guard, found, request }: About): string => {
    const { scope, host, port, protocol } = question;
    const plain = { scope, host, port, protocol };
    const matcher = referenceMatcher(rules);
    const { action } = judgeTarget(matcher, plain, guard, request ?? undefined);
    if (isAddress(host)) return action;
    return `${action} ${judgeAddresses(matcher, plain, found, guard).checked}`;
  };
  fc.assert(
    fc.property(ruleLists, fc.array(about, { minLength: 10, maxLength: 10 }), (rules, list) =>
      lint(rules, all)
        .findings.filter(({ kind }) => NO_EFFECT.has(kind))
        .every(({ rule, resource }) => {
          gone++;
          const less = rules
            .map((one) =>
              one === rule
                ? { ...one, resources: one.resources.filter((r) => r !== resource) }
                : one,
            )
            .filter(({ resources }) => resources.length > 0);
          return list.every((one) => decided(rules, one) === decided(less, one));
        }),
    ),
    { numRuns: 800 },
  );
  t.ok(gone > 400, `${gone} resources were taken out`);
});

const only = (path: string): Partial<Rule> => ({ http: parseHttpMatch(['GET'], [path]) });

t.test('each kind of finding, and what is none', async (t) => {
  const cases: [rules: Rule[], findings: string[]][] = [
    [rulesOf(['allow', 'a.com'], ['deny', 'a.com']), ['contradictory r0 a.com r1']],
    [rulesOf(['allow', 'x.a.com,b.com'], ['deny', '**.a.com']), ['unreachable r0 x.a.com r1']],
    [rulesOf(['allow', 'a.com'], ['allow', 'b.com,a.com']), ['duplicate r1 a.com r0']],
    [rulesOf(['allow', 'x.a.com:443'], ['allow', '*.a.com']), ['shadowed r0 x.a.com:443 r1']],
    [rulesOf(['deny', '10.0.0.0/8'], ['deny', '10.1.0.0/16']), ['shadowed r1 10.1.0.0/16 r0']],
    [rulesOf(['allow', 'a.com,*.b.com,x.b.com']), ['shadowed r0 x.b.com r0']],
    [rulesOf(['allow', 'a.com', only('/x')], ['allow', 'a.com']), ['ineffective r0 a.com r1']],
    [
      rulesOf(['allow', '**.a.com:443'], ['allow', 'x.a.com', only('/x')]),
      ['ineffective r1 x.a.com r0'],
    ],
    [rulesOf(['allow', 'a.com:80'], ['allow', 'a.com', only('/x')]), []],
    [rulesOf(['allow', 'a.com:443'], ['allow', 'a.com:8443', only('/x')]), []],
    [
      rulesOf(['allow', 'a.com', only('/x/**')], ['allow', 'a.com', only('/x/y')]),
      ['shadowed r1 a.com r0'],
    ],
    [rulesOf(['allow', 'a.com', { scope: 3 }], ['allow', 'a.com']), ['shadowed r0 a.com r1']],
    [rulesOf(['allow', 'a.com', { scope: 3 }], ['deny', 'a.com']), ['unreachable r0 a.com r1']],
    [rulesOf(['allow', 'a.com'], ['deny', 'a.com', { scope: 3 }]), []],
    [rulesOf(['allow', '*.a.com'], ['deny', 'x.a.com']), []],
    [rulesOf(['allow', 'a.com'], ['deny', 'a.com:25']), []],
    [rulesOf(['allow', '*.a.com'], ['allow', '10.0.0.1']), []],
    [rulesOf(['allow', 'a.com', { scope: 3 }], ['allow', 'a.com', { scope: 4 }]), []],
  ];
  for (const [rules, expected] of cases) {
    const { findings, complete } = lint(rules, all);
    t.strictSame(
      findings.map(
        ({ kind, rule, resource, by }) => `${kind} ${rule.id} ${resource.text} ${by?.rule.id}`,
      ),
      expected,
    );
    t.ok(complete);
  }
});

t.test('over-broad, with the reason; narrower ones are not', async (t) => {
  for (const [resource, reason] of [
    ['**', 'every host'],
    ['**:443', 'every host'],
    ['**.com', 'top-level domain, com'],
    ['*.co.uk', 'under co.uk'],
    ['**.amazonaws.com', '*.amazonaws.com'],
    ['*.s3.amazonaws.com:443', '*.s3.amazonaws.com'],
    ['**.googleapis.com', '*.googleapis.com'],
    ['**.windows.net', '*.blob.core.windows.net'],
    ['*.blob.core.windows.net', 'anybody can have a name there'],
    ['*.github.io', '*.github.io'],
    ['**.githubusercontent.com', '*.githubusercontent.com'],
    ['raw.githubusercontent.com', '--path'],
    ['*.cloudfront.net', 'any of its customers'],
    ['128.0.0.0/1', 'larger than any one network'],
    ['169.254.0.0/16', 'clouds hand out credentials'],
  ] as const) {
    const { findings } = lint(rulesOf(['allow', resource]), all);
    t.match(findings, [{ kind: 'over-broad' }], resource);
    t.match(findings[0]?.reason, reason);
    t.strictSame(
      lint(rulesOf(['deny', resource]), all).findings,
      [],
      'a deny may be as broad as it likes',
    );
  }
  for (const resource of [
    '*.a.com',
    'bucket.s3.amazonaws.com',
    'me.github.io',
    '10.0.0.0/8',
    'localhost:80',
  ]) {
    t.strictSame(lint(rulesOf(['allow', resource]), all).findings, [], resource);
  }
  const raw = 'raw.githubusercontent.com';
  t.strictSame(lint(rulesOf(['allow', raw, only('/me/**')]), all).findings, [], 'narrowed by path');
});

t.test('only subjects are found fault with', async (t) => {
  const rules = rulesOf(['allow', '**'], ['allow', 'a.com']);
  const { findings } = lint(rules, ({ id }) => id === 'r1');
  t.match(findings, [{ kind: 'shadowed', rule: { id: 'r1' }, by: { rule: { id: 'r0' } } }]);
  t.equal(findings.length, 1);
});

t.test('many rules are linted in the time that a person waits', async (t) => {
  const many = Array.from(
    { length: 20_000 },
    (_, i): Written => ['allow', `h${i}.x${i % 97}.com:443`],
  );
  const { findings, complete } = lint(
    rulesOf(...many, ['allow', '*.x5.com'], ['deny', 'h7.x7.com']),
    all,
  );
  t.ok(complete);
  const counts = Object.groupBy(findings, ({ kind }) => kind);
  t.equal(counts.shadowed?.length, Math.ceil((20_000 - 5) / 97));
  t.equal(counts.unreachable?.length, 1);
});
