// A witness is proof: the two policies do decide it differently, and the statement covers it. Covers
// src/policy/witness.ts and src/policy/neighbours.ts too.
import fc from 'fast-check';
import t from 'tap';
import { type Change, differences } from '../../src/policy/difference.ts';
import { touches } from '../../src/policy/explain.ts';
import { parseHttpMatch } from '../../src/policy/http.ts';
import {
  type AddressGuard,
  isExplicitDeny,
  judgeAddresses,
  judgeTarget,
} from '../../src/policy/judge.ts';
import { referenceMatcher } from '../../src/policy/reference.ts';
import type { Rule } from '../../src/policy/rule.ts';
import type { Judged, Witness } from '../../src/policy/witness.ts';
import { addresses, paths, questions, ruleLists } from '../helpers/arbitraries.ts';
import { rulesOf, type Written } from '../helpers/rules.ts';

const judged = (rules: readonly Rule[]): Judged => ({ rules, matcher: referenceMatcher(rules) });
const guards = fc.constantFrom<AddressGuard>('strict', 'docker');

/** The verdict, by the functions that enforcement calls. */
function decide(
  rules: readonly Rule[],
  probe: Omit<Witness, 'before' | 'after'>,
  guard: AddressGuard,
) {
  const { scope, host, port, protocol, request, address } = probe;
  const question = { scope, host, port, protocol };
  const verdict = judgeTarget(referenceMatcher(rules), question, guard, request ?? undefined);
  const isOpen = request === null && verdict.http && !isExplicitDeny(verdict);
  if (isOpen || verdict.action === 'deny' || address === null)
    return isOpen ? 'open' : verdict.action;
  const { checked } = judgeAddresses(referenceMatcher(rules), question, [address], guard);
  return checked.length > 0 ? 'allow' : 'deny';
}

function covered(statement: Rule, { scope, host, port, protocol }: Witness): boolean {
  return touches(statement, { scope, host, port, protocol }) !== null;
}

/** An HTTP rule is for tcp. */
const policies = ruleLists.map((rules) =>
  rules.map((rule): Rule => (rule.http === undefined ? rule : { ...rule, protocols: ['tcp'] })),
);

/** Two policies that have most in common. */
const pairs = fc
  .tuple(
    policies,
    fc.array(fc.constantFrom('keep', 'keep', 'keep', 'drop', 'new'), {
      minLength: 12,
      maxLength: 12,
    }),
    policies,
  )
  .map(([before, fates, others]) => {
    const after = before.flatMap((rule, i) => {
      const fate = fates[i];
      if (fate === 'drop') return [];
      const other = others[i];
      return fate === 'new' && other !== undefined ? [{ ...other, id: `n${i}` }] : [rule];
    });
    return [before, after] as const;
  });

t.test('a witness is decided as it is said, and the statement covers it', async (t) => {
  let [witnesses, changes] = [0, 0];
  fc.assert(
    fc.property(pairs, guards, ([before, after], guard) => {
      for (const { op, statement, witness } of differences(judged(before), judged(after), guard)) {
        changes++;
        if (witness === null) continue;
        witnesses++;
        const opens = (op === 'add') === (statement.decision === 'allow');
        t.strictSame(
          [witness.before, witness.after],
          opens ? ['deny', 'allow'] : ['allow', 'deny'],
        );
        t.equal(decide(before, witness, guard), witness.before);
        t.equal(decide(after, witness, guard), witness.after);
        if (witness.address === null) t.ok(covered(statement, witness));
      }
    }),
    { numRuns: 200, seed: 1 },
  );
  t.ok(witnesses > 300, `${witnesses} witnesses for ${changes} changes`);
});

t.test('where a request is decided otherwise, some change has a witness', async (t) => {
  const about = fc.record({
    question: questions,
    found: fc.option(addresses),
    request: fc.option(
      fc.record({ method: fc.constantFrom('GET', 'POST', 'BREW'), target: paths }),
    ),
  });
  const lists = fc.array(about, { minLength: 30, maxLength: 30 });
  let [differing, missed] = [0, 0];
  fc.assert(
    fc.property(pairs, guards, lists, ([before, after], guard, asked) => {
      const probes = asked.map(({ question: { scope, host, port, protocol }, found, request }) => ({
        ...{ scope, host, port, protocol, request },
        address: host.includes('.') && !/[\d:]$/.test(host) ? found : null,
      }));
      const verdicts = probes.map((probe) => [
        decide(before, probe, guard),
        decide(after, probe, guard),
      ]);
      const differs = verdicts.some(([a, b]) => a !== b && a !== 'open' && b !== 'open');
      if (!differs) return;
      differing++;
      const changes = differences(judged(before), judged(after), guard);
      if (changes.every(({ witness }) => witness === null)) missed++;
    }),
    { numRuns: 600, seed: 2 },
  );
  t.ok(differing > 100, `${differing} pairs differ`);
  t.equal(missed, 0, `${missed} of ${differing} have no witness`);
});

function told({
  op,
  statement: { decision, resources, http, protocols },
  witness,
}: Change): string {
  const what = [op, decision, resources[0]?.text, protocols, http?.paths].filter(Boolean).join(' ');
  if (witness === null) return `${what}: none`;
  const { scope, protocol, host, port, request, address, before, after } = witness;
  const asked = request === null ? '' : ` ${request.method} ${request.target}`;
  const where = `${host}:${port}/${protocol}${address === null ? '' : ` at ${address}`}`;
  return `${what}: ${scope} ${where}${asked} ${before} ${after}`;
}

const http = (methods: string[], ...patterns: string[]): Partial<Rule> => ({
  http: parseHttpMatch(methods, patterns),
});

t.test('what is said, for each kind of change', async (t) => {
  for (const [before, after, expected] of [
    [rulesOf(), rulesOf(), []],
    [rulesOf(['allow', 'a.com,b.com']), rulesOf(['allow', 'b.com'], ['allow', 'a.com']), []],
    [rulesOf(['allow', 'a.com'], ['allow', 'a.com']), rulesOf(['allow', 'a.com']), []],
    [
      rulesOf(),
      rulesOf(['allow', '*.a.com:22']),
      ['add allow *.a.com:22 tcp: 0 witness.a.com:22/tcp deny allow'],
    ],
    [
      rulesOf(['allow', 'a.com'], ['allow', '**.b.com']),
      rulesOf(['allow', '**.b.com']),
      ['remove allow a.com tcp: 0 a.com:443/tcp allow deny'],
    ],
    [
      rulesOf(['allow', 'x.b.com'], ['allow', '**.b.com']),
      rulesOf(['allow', '**.b.com']),
      ['remove allow x.b.com tcp: none'],
    ],
    [
      rulesOf(['allow', 'x.b.com:8080', { scope: 7 }]),
      rulesOf(['allow', 'x.b.com:8080', { scope: 7 }], ['deny', '**.b.com']),
      ['add deny **.b.com tcp,udp: 7 x.b.com:8080/tcp allow deny'],
    ],
    [
      rulesOf(['allow', 'a.com', { protocols: ['tcp'] }]),
      rulesOf(['allow', 'a.com', { protocols: ['tcp', 'udp'] }]),
      ['add allow a.com udp: 0 a.com:443/udp deny allow'],
    ],
    [
      rulesOf(['allow', 'a.com', http(['GET'], '/x/**', '/y')]),
      rulesOf(['allow', 'a.com', http(['GET'], '/x/**')]),
      ['remove allow a.com tcp /y: 0 a.com:443/tcp GET /y allow deny'],
    ],
    [
      rulesOf(['allow', 'a.com', http(['GET'], '/x')]),
      rulesOf(['allow', 'a.com', http(['GET', 'POST'], '/x')]),
      [
        'remove allow a.com tcp /x: none',
        'add allow a.com tcp /x: 0 a.com:443/tcp POST /x deny allow',
      ],
    ],
    [
      rulesOf(['allow', 'a.com']),
      rulesOf(['allow', 'a.com'], ['deny', '8.8.8.0/24']),
      ['add deny 8.8.8.0/24 tcp,udp: 0 a.com:443/tcp at 8.8.8.0 allow deny'],
    ],
    [
      rulesOf(),
      rulesOf(['allow', '10.0.0.0/8']),
      ['add allow 10.0.0.0/8 tcp: 0 10.0.0.0:443/tcp deny allow'],
    ],
    [
      rulesOf(['allow', '**']),
      rulesOf(),
      ['remove allow ** tcp: 0 witness.example:443/tcp allow deny'],
    ],
    [
      rulesOf(['allow', 'crl*.[ab].com'], ['deny', '**.a.com']),
      rulesOf(['deny', '**.a.com']),
      ['remove allow crl*.[ab].com tcp: 0 crl.b.com:443/tcp allow deny'],
    ],
    [
      rulesOf(['allow', 'localhost:80']),
      rulesOf(['allow', 'localhost:80'], ['deny', '127.0.0.1']),
      ['add deny 127.0.0.1 tcp,udp: 0 127.0.0.1:80/tcp allow deny'],
    ],
  ] as const) {
    t.strictSame(differences(judged(before), judged(after), 'strict').map(told), expected);
  }
});

t.test('a few changes of a long list are found in no time', async (t) => {
  const many = Array.from(
    { length: 20_000 },
    (_, i): Written => ['allow', `h${i}.x${i % 97}.com:443`],
  );
  const before = rulesOf(...many, ['allow', '*.x5.com']);
  const after = rulesOf(...many, ['deny', '**.x7.com']);
  const found = differences(judged(before), judged(after), 'strict');
  t.strictSame(found.map(told), [
    'remove allow *.x5.com tcp: 0 witness.x5.com:443/tcp allow deny',
    'add deny **.x7.com tcp,udp: 0 h7.x7.com:443/tcp allow deny',
  ]);
});
