// Explanations against what is enforced: the compiled image in Wasm, asked as the workers ask it.
// Covers src/policy/remedy.ts too.
import fc from 'fast-check';
import t from 'tap';
import { WORKERS_MAX } from '../../src/base/limits.ts';
import { Lane } from '../../src/matcher/lane.ts';
import { Publisher } from '../../src/matcher/publish.ts';
import { parseAddress } from '../../src/policy/address.ts';
import { type Asked, explain, judgeBy, touches } from '../../src/policy/explain.ts';
import { normalizeHost } from '../../src/policy/host.ts';
import { parseHttpMatch } from '../../src/policy/http.ts';
import { type AddressGuard, judgeTarget } from '../../src/policy/judge.ts';
import { applySteps, commandOf, remedyOf } from '../../src/policy/remedy.ts';
import type { Rule } from '../../src/policy/rule.ts';
import { paths, questions, ruleLists } from '../helpers/arbitraries.ts';
import { rulesOf } from '../helpers/rules.ts';

const LISTED_MAX = 1_000;

/** Odd paths are among them: they have several readings, or none that is safe. */
const targets = fc.oneof(
  paths,
  fc.constantFrom('/a//b', '/a%2Fb', '/a;x/b', '/a;x%2Fy/b', '/../b', '/a/', '*'),
);
const requests = fc.record({
  method: fc.constantFrom('GET', 'POST', 'BREW', 'get', 'CONNECT'),
  target: targets,
});

const askedAbout: fc.Arbitrary<Asked> = fc
  .record({
    question: questions,
    guard: fc.constantFrom<AddressGuard>('strict', 'docker'),
    request: fc.option(requests, { nil: undefined }),
  })
  .map(({ question: { scope, host, port, protocol }, ...rest }) => ({
    ...rest,
    question: { scope, host, port, protocol },
  }));

function explained(rules: readonly Rule[], asked: Asked): ReturnType<typeof explain> {
  const touching = rules.filter((rule) => touches(rule, asked.question) !== null);
  return explain(touching, asked, LISTED_MAX);
}

t.test('the verdict is the one that the image gives, and its rule decides', async (t) => {
  const publisher = await Publisher.create();
  const lane = new Lane(publisher.memory, publisher.module, WORKERS_MAX);
  await fc.assert(
    fc.asyncProperty(
      ruleLists,
      fc.array(askedAbout, { minLength: 1, maxLength: 8 }),
      async (rules, list) => {
        await publisher.publish(rules);
        for (const asked of list) {
          const { question, guard, request } = asked;
          const enforced = judgeTarget(lane, question, guard, request);
          const { verdict, considered } = explained(rules, asked);
          t.strictSame({ ...verdict, generation: 0 }, { ...enforced, generation: 0 });
          const deciding = considered.filter(({ standing }) => standing === 'decides');
          t.strictSame(
            deciding.map(({ rule }) => rule.id),
            verdict.rule === null ? [] : [verdict.rule],
          );
        }
      },
    ),
    { numRuns: 800 },
  );
});

t.test('a rule that is not listed can go without a trace', async (t) => {
  fc.assert(
    fc.property(ruleLists, askedAbout, (rules, asked) => {
      const { verdict, considered } = explained(rules, asked);
      const listed = new Set(considered.map(({ rule }) => rule.id));
      const less = judgeBy(
        rules.filter(({ id }) => listed.has(id)),
        asked,
      );
      return less.action === verdict.action && less.rule === verdict.rule;
    }),
    { numRuns: 1_500 },
  );
  t.pass();
});

t.test('the way out turns the verdict around', async (t) => {
  let plans = 0;
  fc.assert(
    fc.property(ruleLists, askedAbout, (rules, asked) => {
      const touching = rules.filter((rule) => touches(rule, asked.question) !== null);
      const explanation = explain(touching, asked, LISTED_MAX);
      const steps = remedyOf(touching, explanation, asked);
      if (typeof steps === 'string') return steps !== '';
      plans++;
      const after = judgeBy(applySteps(rules, steps), asked);
      return steps.length > 0 && after.action !== explanation.verdict.action;
    }),
    { numRuns: 1_500 },
  );
  t.ok(plans > 500, `${plans} plans were tried`);
});

function about(host: string, more: Partial<Asked> & { scope?: number; port?: number } = {}): Asked {
  const { scope = 0, port = 443, ...rest } = more;
  const question = {
    scope,
    host: parseAddress(host) ?? normalizeHost(host),
    port,
    protocol: 'tcp',
  } as const;
  return { question, guard: 'strict', ...rest };
}

const READ = { http: parseHttpMatch(['GET'], ['/a/**']) };
const get = (target: string): Partial<Asked> => ({ request: { method: 'GET', target } });

t.test('what is said of each rule, and the commands that change it', async (t) => {
  const nameOf = (scope: number): string => `box-${scope}`;
  const cases: [
    rules: Rule[],
    asked: Asked,
    why: RegExp,
    standings: string,
    commands: string | readonly string[],
  ][] = [
    [
      rulesOf(['allow', '*.a.com'], ['deny', 'x.a.com'], ['deny', '**']),
      about('x.a.com'),
      /^local rule r1 \(x\.a\.com\) denies x\.a\.com:443; deny wins over what allows it$/,
      'r1 decides, r0 overruled, r2 agrees',
      ['policy rm network --id r1', 'policy rm network --id r2'],
    ],
    [
      rulesOf(['allow', '*.a.com'], ['deny', 'x.a.com,y.a.com', { scope: 3 }]),
      about('x.a.com', { scope: 3 }),
      /denies/,
      'r1 decides, r0 overruled',
      ['policy rm network --sandbox box-3 --resource x.a.com'],
    ],
    [
      rulesOf(['allow', '*.b.com']),
      about('x.a.com', { scope: 3, port: 80 }),
      /^no rule covers x\.a\.com:80/,
      '',
      ['policy allow network --sandbox box-3 x.a.com:80'],
    ],
    [
      rulesOf(['allow', '**']),
      about('10.0.0.1'),
      /^no rule names 10\.0\.0\.1:443/,
      'r0 unnamed',
      ['policy allow network 10.0.0.1:443'],
    ],
    [
      rulesOf(['allow', 'a.com', READ]),
      about('a.com', get('/b')),
      /^no rule allows it: No matching allow rule/,
      'r0 other-request',
      ['policy allow network a.com:443 --method GET --path /b'],
    ],
    [
      rulesOf(['allow', 'a.com', READ]),
      about('a.com', get('/a/../b')),
      /a segment \. or \.\./,
      'r0 other-request',
      'no rule for this target changes that',
    ],
    [
      rulesOf(['allow', 'a.com'], ['allow', '**']),
      about('a.com'),
      /^local rule r0 \(a\.com\) allows a\.com:443, and no rule denies it$/,
      'r0 decides, r1 agrees',
      ['policy deny network a.com:443'],
    ],
    [
      rulesOf(['allow', 'a.com'], ['deny', '**', { source: 'remote' }]),
      about('a.com'),
      /^remote rule r1/,
      'r1 decides, r0 overruled',
      'the rule is your organization\u2019s; only who manages its policy can change that',
    ],
    [
      rulesOf(['allow', '**']),
      about('0.0.0.0'),
      /^no rule names 0\.0\.0\.0:443/,
      'r0 unnamed',
      'no rule for this target changes that',
    ],
  ];
  for (const [rules, asked, why, standings, commands] of cases) {
    const touching = rules.filter((rule) => touches(rule, asked.question) !== null);
    const explanation = explain(touching, asked, LISTED_MAX);
    t.match(explanation.why, why);
    const said = explanation.considered.map(({ rule, standing }) => `${rule.id} ${standing}`);
    t.equal(said.join(', '), standings);
    const steps = remedyOf(touching, explanation, asked);
    const words = typeof steps === 'string' ? steps : steps.map((one) => commandOf(one, nameOf));
    t.strictSame(words, commands);
  }
});

t.test('no more are listed than asked for, the deciding one first', async (t) => {
  const rules = rulesOf(['allow', 'a.com'], ['allow', '**'], ['deny', '*.com'], ['deny', 'a.com']);
  const { considered } = explain(rules, about('a.com'), 2);
  t.strictSame(
    considered.map(({ rule }) => rule.id),
    ['r2', 'r0'],
  );
});
