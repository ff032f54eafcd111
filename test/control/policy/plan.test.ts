// A policy that is applied is what was wanted, and applying it again does nothing. Covers
// src/control/policy/apply.ts too.
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { SallyportError } from '../../../src/base/errors.ts';
import { APPLIED_CHANGES_MAX } from '../../../src/base/limits.ts';
import { applyPolicy } from '../../../src/control/policy/apply.ts';
import type { Wanted, WantedRule } from '../../../src/control/policy/plan.ts';
import type { PolicyService } from '../../../src/control/policy/policy.ts';
import { methodNames } from '../../../src/policy/http.ts';
import { PRESET_NAMES } from '../../../src/policy/presets.ts';
import { ruleFacts } from '../../../src/policy/rule-facts.ts';
import { ruleLists } from '../../helpers/arbitraries.ts';
import { scopesOf, startPolicy, wantedOf } from '../../helpers/policy.ts';

const NAMES = ['one', 'two', 'three'];

const setup = (t: Test) => startPolicy(t, scopesOf(NAMES));

const wantedRules: fc.Arbitrary<WantedRule[]> = ruleLists.map((rules) =>
  rules.flatMap(({ decision, protocols, resources, http, scope, id }): WantedRule[] => {
    const rule: WantedRule = {
      decision,
      resources: resources.map(({ text }) => text),
      ...(http ? { methods: methodNames(http), paths: http.paths } : { protocols }),
      ...(scope !== 0 && { sandbox: NAMES[scope % 2] }),
      ...(id < 'r2' && { id }),
    };
    try {
      ruleFacts(rule);
      return [rule];
    } catch {
      return []; // Some of what is generated is no rule for users.
    }
  }),
);

/** What local rules say, in no order. */
function sayingOf(policy: PolicyService): string[] {
  return policy.rules
    .filter(({ source, createdVia }) => source === 'local' && createdVia !== 'default')
    .map(({ id, decision, scope, protocols, resources, http }) =>
      JSON.stringify([
        ...[decision, scope, protocols, http, resources.map(({ text }) => text).sort()],
        id.length < 36 && id,
      ]),
    )
    .sort();
}

t.test('from any policy to any other, and then there is nothing to do', async (t) => {
  const { store, policy } = await setup(t);
  const kit = {
    id: 'kit-1',
    name: 'kit-1',
    decision: 'allow' as const,
    protocols: ['tcp'] as const,
  };
  await policy.provision(1, [
    { ...kit, resources: ruleFacts({ decision: 'allow', resources: ['k.com'] }).resources },
  ]);
  const wanteds = fc.record({
    preset: fc.constantFrom(...PRESET_NAMES),
    presetRules: fc.constantFrom(null, [], [{ id: 'default-a', resources: ['a.com', 'b.com'] }]),
    rules: wantedRules,
    sandboxes: fc.constant(['one', 'two', 'three'].map((name) => ({ name }))),
  });
  await fc.assert(
    fc.asyncProperty(wanteds, async (facts) => {
      const wanted = wantedOf(facts);
      const before = JSON.stringify(policy.rules);
      const generation = policy.generation;
      const dry = await policy.apply(wanted, true);
      t.equal(JSON.stringify(policy.rules), before, 'a dry run changes nothing');
      t.equal(policy.generation, generation);
      const plan = await policy.apply(wanted, false);
      t.strictSame(plan, dry);
      t.equal(policy.preset, wanted.preset);
      t.ok(policy.rules.some(({ id }) => id === 'kit-1'));
      t.strictSame(store.rules(), policy.rules);
      // The wanted ones, put into an empty policy, say what this one does now.
      const fresh = await setup(t);
      await fresh.policy.apply(wanted, false);
      t.strictSame(sayingOf(policy), sayingOf(fresh.policy));
      const published = policy.generation;
      t.strictSame((await policy.apply(wanted, false)).changes, []);
      t.equal(policy.generation, published, 'nothing is published for nothing');
      const added = await policy.apply(
        { ...wanted, mode: 'add', preset: null, presetRules: null },
        false,
      );
      t.strictSame(added.changes, [], 'adding what is there does nothing');
    }),
    { numRuns: 40 },
  );
});

const allow = (resources: string, more: Partial<WantedRule> = {}): WantedRule => ({
  decision: 'allow',
  resources: [resources],
  ...more,
});

t.test('what a file does not speak of stays', async (t) => {
  const { policy, services } = await setup(t);
  await policy.initialize('balanced');
  await policy.add([
    allow('a.com'),
    allow('b.com', { sandbox: 'one' }),
    allow('c.com', { sandbox: 'two' }),
  ]);
  const ids = () => Object.fromEntries(policy.rules.map(({ resources: [r], id }) => [r?.text, id]));
  const before = ids();
  const wanted = wantedOf({
    preset: 'balanced',
    rules: [allow('d.com', { id: 'd' }), allow('a.com')],
    sandboxes: [{ name: 'one' }],
  });
  const result = await applyPolicy(services, wanted, false);
  t.match(result, {
    applied: true,
    added: 1,
    removed: 1,
    changed: 0,
    preset: { before: 'balanced' },
  });
  t.match(result.changes, [
    { op: 'add', rule: { id: 'd', scope: 'global', resources: ['d.com'] } },
    { op: 'remove', rule: { scope: 'sandbox:one', resources: ['b.com'] } },
  ]);
  t.equal(ids()['a.com'], before['a.com'], 'what stays is the same rule');
  t.equal(ids()['c.com'], before['c.com'], 'another sandbox is not spoken of');
  t.equal(ids()['d.com'], 'd');

  const changed = wantedOf({
    preset: 'balanced',
    rules: [allow('e.com', { id: 'd' }), allow('a.com')],
  });
  const { changes } = await applyPolicy(services, changed, false);
  t.match(changes, [
    { op: 'change', rule: { id: 'd', resources: ['e.com'] }, before: { resources: ['d.com'] } },
  ]);
  t.strictSame(
    policy.rules
      .filter(({ createdVia }) => createdVia === 'added')
      .map(({ resources: [r] }) => r?.text),
    ['a.com', 'c.com', 'e.com'],
    'a changed rule keeps its place',
  );
});

t.test('a preset is what its rules are', async (t) => {
  const { policy, services } = await setup(t);
  const first = await applyPolicy(services, wantedOf({ preset: 'allow-all' }), false);
  t.match(first, { added: 1, preset: { before: null, after: 'allow-all' } });
  t.match(policy.rules, [{ id: 'default-allow-all', createdVia: 'default', protocols: ['tcp'] }]);
  const own = [{ id: 'default-mine', resources: ['m.com'] }];
  await applyPolicy(services, wantedOf({ preset: 'balanced', presetRules: own }), false);
  t.match(policy.rules, [{ id: 'default-mine', createdVia: 'default' }]);
  t.equal(policy.rules.length, 1);
  await policy.reset();
  await policy.initialize('balanced');
  t.match(await policy.apply(wantedOf({ preset: 'balanced' }), false), { changes: [] });
});

t.test('refused whole, with every fault and its place', async (t) => {
  const { policy } = await setup(t);
  await t.rejects(policy.apply(wantedOf({ mode: 'add', preset: null }), false), {
    code: 'SALLYPORT_POLICY_UNINITIALIZED',
  });
  await policy.initialize('deny-all');
  const resources = ruleFacts({ decision: 'deny', resources: ['r.com'] }).resources;
  const given = { decision: 'deny', resources, protocols: ['tcp'] } as const;
  await policy.govern(null, [{ id: 'theirs', name: 'theirs', ...given }]);
  await policy.add([allow('a.com', { sandbox: 'one' })]);
  await policy.apply(
    wantedOf({ mode: 'add', preset: null, rules: [allow('b.com', { id: 'b' })] }),
    false,
  );
  await policy.apply(
    wantedOf({ mode: 'add', preset: null, rules: [allow('c.com', { id: 'c', sandbox: 'two' })] }),
    false,
  );
  const before = JSON.stringify(policy.rules);
  for (const [facts, faults] of [
    [{ preset: null }, ['it names no preset']],
    [{ preset: 'lax' }, ['there is no preset "lax"']],
    [{ mode: 'add', preset: 'balanced' }, ['the preset is deny-all, not balanced']],
    [{ mode: 'add', preset: null, presetRules: [] }, ['the rules of the preset are not added to']],
    [{ sandboxes: [{ name: 'gone', at: 'p:9:1' }] }, ['p:9:1: sandbox "gone" not found']],
    [
      {
        rules: [
          allow('*', { at: 'p:1:1' }),
          allow('x.com', { at: 'p:2:1', id: 'theirs' }),
          allow('x.com', { at: 'p:3:1', id: 'c' }),
          allow('x.com', { at: 'p:4:1', id: 'n' }),
          allow('x.com', { at: 'p:5:1', id: 'n' }),
          allow('x.com', { at: 'p:6:1', sandbox: 'gone' }),
        ],
      },
      [
        'p:1:1: element 1 "*": a lone * is ambiguous',
        'p:2:1: the id "theirs" is that of another rule',
        'p:3:1: the id "c" is that of another rule',
        'p:5:1: the id "n" stands twice',
        'p:6:1: sandbox "gone" not found',
      ],
    ],
    [
      { mode: 'add', preset: null, rules: [allow('x.com', { at: 'p:2:1', id: 'b' })] },
      ['p:2:1: the rule "b" is there, and says something else'],
    ],
  ] as [Partial<Wanted>, string[]][]) {
    const error = await policy.apply(wantedOf(facts), false).then(
      () => null,
      (error: SallyportError) => error,
    );
    t.equal(error?.code, 'SALLYPORT_POLICY_INVALID');
    const lines = error?.message.split('\n') ?? [];
    t.equal(lines.length, faults.length);
    for (const fault of faults)
      t.ok(
        lines.some((line) => line.startsWith(fault)),
        `${fault}: ${lines}`,
      );
  }
  t.equal(JSON.stringify(policy.rules), before);
  await policy.setSemantics({ conflicts: 'refuse' });
  const both = [allow('a.com'), { ...allow('a.com'), decision: 'deny' as const }];
  await t.rejects(policy.apply(wantedOf({ rules: both }), false), {
    code: 'SALLYPORT_CONFLICT',
    message: /"a\.com" conflicts with existing deny rule/,
  });
  const gone = wantedOf({ rules: [{ ...allow('b.com'), decision: 'deny' }] });
  t.match(await policy.apply(gone, false), { kept: 0 }, 'what goes is in nobody\u2019s way');
});

t.test('a long list of changes is cut, and counted', async (t) => {
  const { services } = await setup(t);
  const rules = Array.from({ length: APPLIED_CHANGES_MAX + 5 }, (_, i) => allow(`h${i}.com`));
  const result = await applyPolicy(services, wantedOf({ rules }), true);
  t.match(result, { applied: false, added: rules.length });
  t.equal(result.changes.length, APPLIED_CHANGES_MAX);
});
