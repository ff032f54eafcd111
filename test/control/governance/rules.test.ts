// Rules of the Governance API, read into rules of ours, and what they then decide.
import t from 'tap';
import { AllowlistPolicy } from '../../../src/control/governance/api.ts';
import { checkRule, domainOf, givenRules } from '../../../src/control/governance/rules.ts';
import { judgeTarget } from '../../../src/policy/judge.ts';
import { referenceMatcher } from '../../../src/policy/reference.ts';
import { GLOBAL_SCOPE } from '../../../src/policy/rule.ts';
import { parseTarget } from '../../../src/policy/target.ts';
import { policyOf } from '../../helpers/organization.ts';

type Rules = Parameters<typeof policyOf>[1];

function read(rules: Rules, domain = 'network') {
  return given(rules, domain).rules;
}

function given(rules: Rules, domain: string) {
  const policy = policyOf(1, rules);
  const list = { ...(policy.allowlist_v0 as object), domain };
  return givenRules(AllowlistPolicy.parse({ ...policy, allowlist_v0: list }));
}

/** What these rules say to `GET https://...`, or to a connection. */
function decision(rules: Rules, target: string, method?: string): string {
  const matcher = referenceMatcher(
    read(rules).map((rule) => ({ ...rule, source: 'remote', scope: GLOBAL_SCOPE })),
  );
  const { host, port, path } = parseTarget(target);
  const asked = method === undefined ? undefined : { method, target: path ?? '/' };
  const question = { scope: GLOBAL_SCOPE, host, port, protocol: 'tcp' } as const;
  return judgeTarget(matcher, question, 'strict', asked).action;
}

t.test('connections', async (t) => {
  const rules: Rules = [
    { decision: 'allow', resources: ['**.a.test', '10.0.0.0/8', '[2001:db8::1]:443'] },
    { decision: 'deny', resources: ['x.a.test:443'], actions: ['connect:udp', 'connect:tcp'] },
  ];
  t.match(read(rules), [
    { id: 'rule_1_1', protocols: ['tcp'], resources: { length: 3 }, http: undefined },
    { id: 'rule_1_2', protocols: ['tcp', 'udp'], decision: 'deny' },
  ]);
  t.equal(decision(rules, 'b.a.test'), 'allow');
  t.equal(decision(rules, 'x.a.test'), 'deny');
  t.equal(decision(rules, '10.1.2.3:22'), 'allow');
});

t.test('requests: hosts with their paths, never with those of others', async (t) => {
  const rules: Rules = [
    {
      decision: 'allow',
      actions: ['request:get', 'request:head'],
      http_resources: [
        { host: 'api.test', port: 443, path: '/repos/**' },
        { host: 'other.test', port: 443, path: '/repos/**' },
        { host: 'api.test', port: 443, path: '/users' },
        { host: '192.0.2.7', path: '/x' },
        { host: '2001:db8::7', port: 443, path: '/y' },
      ],
    },
  ];
  const parts = read(rules);
  t.strictSame(
    parts.map(({ id, resources, http }) => [id, resources.map(({ text }) => text), http?.paths]),
    [
      ['rule_1_1', ['api.test:443', 'other.test:443'], ['/repos/**']],
      ['rule_1_1.2', ['api.test:443'], ['/users']],
      ['rule_1_1.3', ['192.0.2.7'], ['/x']],
      ['rule_1_1.4', ['[2001:db8::7]:443'], ['/y']],
    ],
  );
  for (const [target, method, expected] of [
    ['https://api.test/repos/a/b', 'GET', 'allow'],
    ['https://api.test/repos', 'HEAD', 'allow'],
    ['https://api.test/repos/a', 'POST', 'deny'],
    ['https://api.test/users', 'GET', 'allow'],
    ['https://other.test/users', 'GET', 'deny'],
    ['https://api.test:8443/users', 'GET', 'deny'],
    ['https://192.0.2.7/x', 'GET', 'allow'],
    ['https://192.0.2.7/x', 'POST', 'deny'],
    ['https://[2001:db8::7]/y', 'GET', 'allow'],
    ['https://[2001:db8::7]/x', 'GET', 'deny'],
  ] as const) {
    t.equal(decision(rules, target, method), expected, `${method} ${target}`);
  }
  const paths = Array.from({ length: 100 }, (_, i) => ({ host: 'a.test', path: `/p${i}` }));
  const many = read([{ decision: 'deny', actions: ['request:get'], http_resources: paths }]);
  t.strictSame(
    many.map(({ http }) => http?.paths.length),
    [64, 36],
  );
});

t.test('what cannot be enforced as it is written', async (t) => {
  const pair = { host: 'a.test', path: '/' };
  const cases: [Rules[number], RegExp][] = [
    [{ decision: 'allow', actions: ['connect:sctp'], resources: ['a.test'] }, /connect:sctp/],
    [{ decision: 'allow', actions: ['request:any'], http_resources: [pair] }, /request:any/],
    [{ decision: 'allow', actions: ['request:brew'], http_resources: [pair] }, /BREW/],
    [{ decision: 'allow', actions: ['read'], resources: ['/a'] }, /filesystem in a policy for/],
    [{ decision: 'allow', actions: ['connect:tcp', 'request:get'] }, /several layers/],
    [{ decision: 'allow' }, /no resources/],
    [{ decision: 'allow', resources: ['a.test'], http_resources: [pair] }, /for requests alone/],
    [{ decision: 'allow', actions: ['request:get'] }, /no http_resources/],
    [{ decision: 'allow', actions: ['request:get'], resources: ['a.test'] }, /not to resources/],
    [{ decision: 'allow', resources: ['localhost'] }, /localhost:PORT/],
    [{ decision: 'allow', resources: ['*'] }, /lone \*/],
    ...['10.0.0.0/8', 'a.test:443:80', 'a b'].map((host): [Rules[number], RegExp] => [
      {
        decision: 'deny',
        actions: ['request:get'],
        http_resources: [{ host, port: 80, path: '/' }],
      },
      /rule "rule 1" \(rule_1_1\)/,
    ]),
    [
      {
        decision: 'deny',
        actions: ['request:get'],
        http_resources: [{ host: 'a.test', path: '/%2e' }],
      },
      /percent-encoding/,
    ],
  ];
  for (const [rule, message] of cases) {
    t.throws(() => read([rule]), { code: 'SALLYPORT_POLICY_INVALID', message });
  }
});

t.test('paths: a rule for each access', async (t) => {
  const mount: Rules[number] = {
    decision: 'deny',
    actions: ['write', 'read'],
    resources: ['~/**', 'C:\\data\\**'],
  };
  t.strictSame(read([mount], 'filesystem'), []);
  t.match(given([mount, { ...mount, actions: ['read'] }], 'filesystem').pathRules, [
    { id: 'rule_1_1', access: 'read', patterns: [{ text: '~/**' }, { text: 'C:\\data\\**' }] },
    { id: 'rule_1_1.2', access: 'write', decision: 'deny', policy: { id: 'pol_1' } },
    { id: 'rule_1_2', access: 'read' },
  ]);
  const many = Array.from({ length: 300 }, (_, i) => `/p${i}`);
  t.strictSame(
    given([{ ...mount, actions: ['read'], resources: many }], 'filesystem').pathRules.map(
      ({ patterns }) => patterns.length,
    ),
    [256, 44],
  );
  t.throws(() => read([{ ...mount, resources: ['$HOME/**'] }], 'filesystem'), /begins with/);
  t.throws(
    () => read([{ ...mount, actions: ['execute'] }], 'filesystem'),
    /"execute" is no action/,
  );
  t.throws(() => read([{ ...mount, resources: ['/a\n'] }], 'filesystem'), /control character/);
  t.throws(
    () => read([{ decision: 'allow', resources: ['a.test'] }], 'filesystem'),
    /network in a/,
  );
  t.equal(domainOf({ actions: ['read'] }), 'filesystem');
  t.equal(domainOf({ actions: ['request:get'] }), 'network');
  const rule = { name: 'one', decision: 'deny' as const, actions: ['read'], resources: ['/a'] };
  checkRule(rule, 'filesystem');
  t.throws(() => checkRule(rule, 'network'), /filesystem in a policy for network/);
});
