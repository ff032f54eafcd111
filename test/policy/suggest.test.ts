// With what is suggested, what was asked for is allowed; without any part of it, it is not. Covers
// src/policy/collapse.ts too.
import fc from 'fast-check';
import t from 'tap';
import { collapseHosts, collapsePaths } from '../../src/policy/collapse.ts';
import { parseHost } from '../../src/policy/host.ts';
import { parseHttpMatch } from '../../src/policy/http.ts';
import type { AddressGuard } from '../../src/policy/judge.ts';
import { judgeProbe } from '../../src/policy/probe.ts';
import { referenceMatcher, resourceMatches } from '../../src/policy/reference.ts';
import { parseResources } from '../../src/policy/resource.ts';
import type { Rule } from '../../src/policy/rule.ts';
import { type Seen, suggest } from '../../src/policy/suggest.ts';
import type { Judged } from '../../src/policy/witness.ts';
import { paths, questions, ruleLists } from '../helpers/arbitraries.ts';
import { rulesOf } from '../helpers/rules.ts';

const judged = (rules: readonly Rule[]): Judged => ({ rules, matcher: referenceMatcher(rules) });

function isAllowed(rules: readonly Rule[], seen: Seen, guard: AddressGuard): boolean {
  const probe = { ...seen, protocol: 'tcp', address: null } as const;
  return judgeProbe(referenceMatcher(rules), probe, guard).action === 'allow';
}

/** HTTP rules are for tcp. */
const policies = ruleLists.map((rules) =>
  rules.map((rule): Rule => (rule.http === undefined ? rule : { ...rule, protocols: ['tcp'] })),
);

const seens = fc
  .array(
    fc.tuple(
      questions,
      fc.option(fc.record({ method: fc.constantFrom('GET', 'POST', 'BREW'), target: paths })),
    ),
    { minLength: 5, maxLength: 40 },
  )
  .map((list) => {
    // Whoever asks is a sandbox; `localhost:PORT` opens the loopback addresses, too.
    const asked = list.filter(([{ scope, host }]) => scope > 0 && !/^(127\.|::1$)/.test(host));
    const all = asked.map(
      ([{ scope, host, port }, request]): Seen => ({ scope, host, port, request }),
    );
    return [...new Map(all.map((seen) => [JSON.stringify(seen), seen])).values()];
  });

t.test('all is allowed that was not refused, and nothing is there for nothing', async (t) => {
  let [parts, refusals] = [0, 0];
  fc.assert(
    fc.property(
      policies,
      seens,
      fc.constantFrom<AddressGuard>('strict', 'docker'),
      fc.constantFrom(0, 2, 3),
      fc.boolean(),
      (base, list, guard, collapseMin, global) => {
        const { suggested, refused } = suggest(judged(base), list, { guard, collapseMin, global });
        const not = new Set(refused.map(({ seen }) => JSON.stringify({ ...seen, scope: 0 })));
        const wanted = list.filter((seen) => !not.has(JSON.stringify({ ...seen, scope: 0 })));
        const rules = suggested.map(({ rule }) => rule);
        const denied = wanted.filter((seen) => !isAllowed([...base, ...rules], seen, guard));
        if (denied.length > 0) throw new Error(`denied still: ${JSON.stringify(denied)}`);
        refusals += refused.length;
        for (const one of suggested) {
          t.strictSame(
            one.rule.resources,
            one.parts.map(({ resource }) => resource),
          );
          for (const part of one.parts) {
            parts++;
            const others = rules.map((rule) => ({
              ...rule,
              resources: rule.resources.filter(
                (resource) => rule !== one.rule || resource !== part.resource,
              ),
            }));
            const missed = part.seen.filter(
              (seen) => !isAllowed([...base, ...others], seen, guard),
            );
            if (missed.length === 0) throw new Error(`${part.resource.text} is not needed`);
          }
        }
      },
    ),
    { numRuns: 150 },
  );
  t.ok(parts > 300, `${parts} resources`);
  t.ok(refusals > 50, `${refusals} refusals`);
});

/** `a.com`, `a.com:80`, `GET a.com/path`, `1: a.com` for a sandbox. */
function seenOf(text: string): Seen {
  const [, scope = '0', method, host = '', port = '443', target] =
    /^(?:(\d+): )?(?:([A-Z]+) )?([a-z0-9.-]+|\[.*\])(?::(\d+))?(\/.*)?$/.exec(text) ?? [];
  const request = method === undefined ? null : { method, target: target ?? '/' };
  return { scope: Number(scope), host: parseHost(host), port: Number(port), request };
}

function told(rules: readonly Rule[], texts: readonly string[], more: object = {}): string[] {
  const options = { guard: 'strict', collapseMin: 3, global: false, ...more } as const;
  const { suggested, refused } = suggest(judged(rules), texts.map(seenOf), options);
  return [
    ...suggested.map(({ rule: { scope, resources, http } }) => {
      const asked = http === undefined ? '' : ` ${http.methods} ${http.paths}`;
      return `${scope === 0 ? '' : `${scope}: `}${resources.map(({ text }) => text).join(' ')}${asked}`;
    }),
    ...refused.map(({ seen: { host }, why }) => `${host}! ${why}`),
  ];
}

const http = (methods: string[], ...patterns: string[]): Partial<Rule> => ({
  http: parseHttpMatch(methods, patterns),
});

t.test('what is suggested for what', async (t) => {
  const api = rulesOf(['allow', 'api.com', http(['GET'], '/a')]);
  const cases: [rules: Rule[], seen: string[], expected: string[]][] = [
    [rulesOf(), [], []],
    [rulesOf(['allow', 'a.com']), ['a.com'], []],
    [rulesOf(), ['a.com', 'a.com:80', 'b.com'], ['a.com:443 a.com:80', 'b.com:443']],
    [rulesOf(), ['x.a.com', 'y.a.com'], ['x.a.com:443 y.a.com:443']],
    [rulesOf(), ['x.a.com', 'y.a.com', 'z.a.com', 'a.com'], ['a.com:443 *.a.com:443']],
    [rulesOf(), ['x.a.com', 'y.a.com', 'z.b.a.com'], ['**.a.com:443']],
    [rulesOf(), ['a.com', 'b.com', 'c.com'], ['a.com:443', 'b.com:443', 'c.com:443']],
    [
      rulesOf(),
      ['a.co.uk', 'b.co.uk', 'c.co.uk', 'x.a.co.uk'],
      ['a.co.uk:443 x.a.co.uk:443', 'b.co.uk:443', 'c.co.uk:443'],
    ],
    [
      rulesOf(),
      ['a.github.io', 'b.github.io', 'c.github.io'],
      ['a.github.io:443 b.github.io:443 c.github.io:443'],
    ],
    [rulesOf(), ['1: a.com', '2: a.com'], ['1: a.com:443', '2: a.com:443']],
    [rulesOf(), ['10.1.2.3:22', '[2001:db8::1]'], ['10.1.2.3:22', '[2001:db8::1]:443']],
    [rulesOf(), ['localhost:8080'], ['localhost:8080']],
    [rulesOf(['deny', '*.a.com']), ['x.a.com'], ['x.a.com! rule r0 denies it, and deny wins']],
    [
      rulesOf(),
      ['169.254.169.254:80'],
      ['169.254.169.254! clouds hand out credentials there to whoever asks'],
    ],
    [rulesOf(), ['0.0.0.0:80'], [/^0\.0\.0\.0! .*the unspecified address/ as unknown as string]],
    [api, ['api.com'], ['api.com! HTTP rules cover it, and its requests were not seen']],
    [
      api,
      ['GET api.com/b', 'POST api.com/b', 'GET api.com/c?d=1', 'POST api.com/c'],
      ['api.com:443 GET,POST /b,/c'],
    ],
    [
      api,
      ['GET api.com/r/1', 'GET api.com/r/2/x', 'GET api.com/r/3', 'DELETE api.com/q'],
      ['api.com:443 GET /r/**', 'api.com:443 DELETE /q'],
    ],
    [api, ['GET api.com/x', 'GET api.com/y', 'GET api.com/z/z'], ['api.com:443 GET /**']],
    [api, ['BREW api.com/x'], ['api.com! its method is in no rule but ANY']],
    [api, ['GET api.com/a//b'], ['api.com! no rule is for its path alone']],
    [api, ['GET api.com/a*'], ['api.com! no rule is for its path alone']],
  ];
  for (const [rules, seen, expected] of cases) t.match(told(rules, seen), expected, seen.join(' '));
  const three = ['x.a.com', 'y.a.com', 'z.a.com'];
  t.strictSame(told(rulesOf(), three, { collapseMin: 0 }), ['x.a.com:443 y.a.com:443 z.a.com:443']);
  t.strictSame(told(rulesOf(), ['1: a.com', '2: a.com'], { global: true }), ['a.com:443']);
  const narrowed = rulesOf(['allow', 'z.a.com', { scope: 2, ...http(['GET'], '/x') }]);
  const inTwo = three
    .slice(0, 2)
    .concat('w.a.com')
    .map((host) => `2: ${host}`);
  t.strictSame(
    told(narrowed, [...inTwo, '2: POST z.a.com/y']),
    ['2: x.a.com:443 y.a.com:443 w.a.com:443', '2: z.a.com:443 POST /y'],
    'no wildcard opens what HTTP rules narrow',
  );
  t.strictSame(
    told(
      narrowed,
      inTwo.map((text) => text.replace('2', '1')),
    ),
    ['1: *.a.com:443'],
  );
  t.strictSame(
    told(narrowed, ['1: z.a.com', '3: GET z.a.com/y', '1: b.com'], { global: true }),
    [
      'b.com:443',
      'z.a.com:443 GET /y',
      'z.a.com! HTTP rules cover it, and its requests were not seen',
    ],
    'nor does a rule for all sandboxes',
  );
  const own = rulesOf(['allow', 'a.com', { scope: 1 }]);
  t.strictSame(told(own, ['1: a.com'], { global: true }), [], 'its sandbox may already');
});

t.test('what else it opens is told', async (t) => {
  const list = ['raw.githubusercontent.com', 'a.com'].map(seenOf);
  const options = { guard: 'strict', collapseMin: 3, global: false } as const;
  const { suggested } = suggest(judged([]), list, options);
  const warnings = suggested.flatMap(({ parts }) => parts.map(({ warning }) => warning));
  t.match(warnings, [/anybody can publish there/, null]);
});

t.test('names and paths collapse only where they may', async (t) => {
  const names = fc.uniqueArray(
    fc
      .array(fc.constantFrom('a', 'b', 'c', 'd'), { minLength: 1, maxLength: 4 })
      .map((labels) => [...labels, 'com'].join('.')),
    { minLength: 1, maxLength: 25 },
  );
  fc.assert(
    fc.property(names, fc.constantFrom(0, 2, 3, 5), fc.boolean(), (hosts, min, may) => {
      const found = collapseHosts(hosts, min, () => may);
      t.strictSame([...found.values()].flat().sort(), hosts.toSorted(), 'each name once');
      for (const [pattern, members] of found) {
        const isWild = pattern.startsWith('*');
        t.ok(!isWild || (may && min > 0 && members.length >= min), pattern);
        const covers = parseResources(pattern)[0];
        for (const host of members)
          t.ok(covers && resourceMatches(covers, host, 443), `${pattern} ${host}`);
      }
    }),
  );
  t.strictSame(collapsePaths(['/a', '/b'], 3), ['/a', '/b']);
  t.strictSame(collapsePaths(['/a', '/b', '/c'], 3), ['/**']);
  t.strictSame(collapsePaths(['/x/y/a', '/x/y/b', '/x/z'], 3), ['/x/**']);
  t.strictSame(collapsePaths(['/x/y', '/x/y/b', '/x/y/c'], 3), ['/x/**']);
});
