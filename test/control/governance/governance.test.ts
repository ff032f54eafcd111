// Who decides: local rules, kits, an organisation. What counts is enforced, listed with its status and
// told by checks; src/policy/precedence.ts has the rule, src/control/policy/changes.ts puts it in force, and
// src/control/policy/inspect.ts, src/control/governance/status.ts and src/cli/policy-layouts.ts tell of it.
import t from 'tap';
import type { GivenRule } from '../../../src/control/policy/policy.ts';
import type { Governance } from '../../../src/policy/precedence.ts';
import { parseResources } from '../../../src/policy/resource.ts';
import type { Decision } from '../../../src/policy/rule.ts';
import { say } from '../../cli/session.ts';
import { startWorld, type World } from '../../helpers/control.ts';

const ORG: Governance = {
  organization: 'my-org',
  delegates: [],
  available: true,
  supportMessage: null,
};

function orgRule(name: string, decision: Decision, resources: string): GivenRule {
  return {
    id: `rule_${name.replaceAll(' ', '-')}`,
    name,
    decision,
    resources: parseResources(resources),
    protocols: ['tcp'],
    policy: { id: 'pol_1', name: 'default network' },
  };
}

function policyOf(world: World) {
  return world.instance.policy;
}

async function checked(world: World, target: string, sandbox?: string): Promise<string> {
  const words = ['policy', 'check', 'network', target, '--json'];
  if (sandbox !== undefined) words.push('--sandbox', sandbox);
  const { allowed, reason, deny_kind: kind } = JSON.parse((await say(world, words)).out);
  return allowed ? 'allowed' : `${kind}: ${reason}`;
}

t.test('while an organisation governs, its rules decide', async (t) => {
  const world = await startWorld(t, { preset: 'deny-all' });
  const policy = policyOf(world);
  await policy.add([
    { decision: 'allow', resources: ['local.test,both.test'] },
    { decision: 'deny', resources: ['denied-here.test'] },
  ]);
  t.equal(await checked(world, 'local.test'), 'allowed');
  await policy.govern(ORG, [
    orgRule('allow AI services', 'allow', 'ai.test,both.test,denied-here.test'),
    orgRule('deny', 'deny', 'bad.ai.test'),
  ]);
  t.match(await checked(world, 'local.test'), 'implicit: No matching allow rule');
  t.equal(await checked(world, 'ai.test'), 'allowed');
  t.equal(await checked(world, 'denied-here.test'), 'allowed', 'as the older versions have it');
  t.equal(await checked(world, 'bad.ai.test'), 'explicit: Denied by organization policy');
  await policy.setSemantics({ localDenies: 'active' });
  t.equal(await checked(world, 'denied-here.test'), 'explicit: Denied by local rule', 'the newest');
  await policy.govern({ ...ORG, delegates: ['network'] }, [orgRule('ai', 'allow', 'ai.test')]);
  t.equal(await checked(world, 'local.test'), 'allowed', 'left to local policy');
  await policy.govern({ ...ORG, delegates: ['filesystem'] }, [orgRule('ai', 'allow', 'ai.test')]);
  t.match(await checked(world, 'local.test'), 'implicit');
  await policy.govern(null);
  t.equal(await checked(world, 'local.test'), 'allowed');
  t.match(await checked(world, 'ai.test'), 'implicit');
});

t.test('an organisation that cannot be reached grants nothing, and its denies stay', async (t) => {
  const world = await startWorld(t, { preset: 'allow-all' });
  const policy = policyOf(world);
  await policy.govern(ORG, [orgRule('a', 'allow', 'ai.test'), orgRule('d', 'deny', 'bad.test')]);
  await policy.setAvailable(false);
  t.match(await checked(world, 'ai.test'), 'implicit');
  t.match(await checked(world, 'any.test'), 'implicit', 'nor do local rules');
  t.match(await checked(world, 'bad.test'), 'explicit');
  await policy.setAvailable(true);
  t.equal(await checked(world, 'ai.test'), 'allowed');
});

t.test('a listing shows what counts, and what does not with its reason', async (t) => {
  const world = await startWorld(t, { preset: 'balanced' });
  await say(world, ['sandbox', 'add', 'docs']);
  const policy = policyOf(world);
  await policy.provision(1, [
    {
      id: 'kit-1',
      name: 'kit:docs',
      decision: 'allow',
      resources: parseResources('api.github.com,registry.test'),
      protocols: ['tcp'],
    },
  ]);
  const kit = (await say(world, ['policy', 'ls', '--source', 'kit'])).out;
  t.match(
    kit,
    /^PROVENANCE +APPLIES_TO +POLICY\/RULE +TYPE +DECISION +RESOURCES\nkit +sandbox:docs +kit:docs +network +allow +api\.github\.com\n +registry\.test\n$/,
  );
  await policy.govern(ORG, [orgRule('allow AI services', 'allow', 'ai.test')]);
  const { out } = await say(world, ['policy', 'ls']);
  t.match(
    out,
    /^Policy rules\n-{12}\nGovernance +Managed by my-org\nSync +OK\nHidden +9 inactive rules\. Show with: sbx policy ls --include-inactive\n\n/,
  );
  t.match(out, /\nremote +all +default network \/ allow AI services +network +allow +ai\.test\n$/);
  t.notMatch(out, 'default-ai-services');
  const all = (await say(world, ['policy', 'ls', '--include-inactive'])).out;
  t.notMatch(all, 'Hidden');
  t.match(all, /STATUS/);
  t.match(all, 'inactive — corporate policy');
  for (const word of ['takes precedence', 'delegate', 'local policy.']) t.match(all, word);
  const json = JSON.parse((await say(world, ['policy', 'ls', '--include-inactive', '--json'])).out);
  t.match(
    json.rules.find(({ id }: { id: string }) => id === 'default-fs-read-allow-all'),
    { status: 'inactive', inactive_reason: /does not delegate this rule type to local policy\./ },
  );
  const words = ['policy', 'check', 'network', 'x.test'];
  t.match((await say(world, words)).out, 'Governance: Managed by my-org\n');
});

t.test('layouts', async (t) => {
  const world = await startWorld(t, { preset: 'deny-all' });
  await say(world, ['policy', 'allow', 'network', 'a.com,b.com']);
  await say(world, ['policy', 'deny', 'network', 'a.com', '--method', 'POST']);
  const overview = (await say(world, ['policy', 'ls', '--layout', 'overview'])).out;
  t.match(overview, /^POLICY +SOURCE +APPLIES TO +SUMMARY\n/);
  t.match(
    overview,
    /network: 2 allow \(L4\), 1 deny \(L4\), 1 deny \(L7\); filesystem read: 1 allow; filesystem write: 1 allow\n/,
  );
  const wide = (await say(world, ['policy', 'ls', '--wide'])).out;
  t.match(
    wide,
    /^SOURCE +APPLIES TO +POLICY +POLICY_ID +RULE +RULE_ID +TYPE +DECISION +RESOURCES +METHOD +PATH\n/,
  );
  const origin = (await say(world, ['policy', 'ls', '--layout', 'origin'])).out;
  t.match(origin, /^NAME +TYPE +ORIGIN +DECISION +STATUS +RESOURCES/);
});

t.test('inspect: a rule, a policy, and what fits several', async (t) => {
  const world = await startWorld(t, { preset: 'balanced' });
  const policy = policyOf(world);
  const [own] = await policy.add([{ decision: 'allow', resources: ['a.com,b.com'] }]);
  const found = (await say(world, ['policy', 'inspect', `local:${own?.id}`])).out;
  t.match(found, /Resources:\n +a\.com\n +b\.com\n/);
  t.match(found, `Remove:     sbx policy rm network --id ${own?.id}`);
  t.match(
    (await say(world, ['policy', 'inspect', 'default-ai-services'])).out,
    'Read-only:  it belongs to the default policy',
  );
  await policy.govern(ORG, [
    orgRule('default network', 'allow', 'x.com'),
    orgRule('two', 'deny', 'y.com'),
  ]);
  const ambiguous = await say(world, ['policy', 'inspect', 'default network']);
  t.match(ambiguous, {
    code: 1,
    err: /^ERROR: ambiguous policy or rule selector "default network"; candidates:\n {2}rule:rule_default-network\n {2}policy:pol_1\n/,
  });
  const whole = JSON.parse((await say(world, ['policy', 'inspect', 'policy:pol_1', '--json'])).out);
  t.match(whole, {
    policy: { name: 'default network', source: 'org' },
    rules: [{ editable: false }, { name: 'two' }],
  });
  t.match(await say(world, ['policy', 'inspect', 'nothing']), {
    code: 1,
    err: /no rule or policy "nothing" found/,
  });
});

t.test('what belongs to others cannot be removed', async (t) => {
  const world = await startWorld(t, { preset: 'balanced' });
  await say(world, ['sandbox', 'add', 'docs']);
  const policy = policyOf(world);
  await policy.govern(ORG, [orgRule('one', 'allow', 'x.com')]);
  await policy.provision(1, [
    {
      id: 'kit-1',
      name: 'kit:docs',
      decision: 'allow',
      resources: parseResources('k.com'),
      protocols: ['tcp'],
    },
  ]);
  for (const [id, reason] of [
    ['rule_one', 'it is a rule of the organization'],
    ['kit-1', 'it comes with the kit of its sandbox'],
    ['default-ai-services', 'it belongs to the default policy'],
  ] as const) {
    t.match(await say(world, ['policy', 'rm', 'network', '--id', id]), { code: 1, err: reason });
  }
  await say(world, ['policy', 'allow', 'network', 'pypi.org:443']);
  const own = await say(world, ['policy', 'rm', 'network', '--resource', 'pypi.org:443']);
  t.equal(
    own.out,
    'Rule removed from policy local: resources=pypi.org:443\n',
    'not the preset\u2019s',
  );
  const preset = await say(world, ['policy', 'rm', 'network', '--resource', 'pypi.org:443']);
  t.match(preset, { code: 1, err: /"default-package-managers" cannot be removed/ });
  await policy.reset();
  t.strictSame(
    policy.rules.map(({ id }) => id),
    ['rule_one', 'kit-1'],
    'a reset is of local rules',
  );
  await say(world, ['sandbox', 'rm', 'docs']);
  t.strictSame(
    policy.rules.map(({ id }) => id),
    ['rule_one'],
  );
});

t.test('an allow and a deny for the same resource', async (t) => {
  const world = await startWorld(t, { preset: 'deny-all' });
  const policy = policyOf(world);
  const [allow] = await policy.add([{ decision: 'allow', resources: ['a.com'] }]);
  await policy.setSemantics({ conflicts: 'refuse' });
  const refused = await say(world, ['policy', 'deny', 'network', 'b.com,a.com']);
  t.match(
    refused.err,
    `deny network rule: deny: "a.com" conflicts with existing allow rule "${allow?.id}"`,
  );
  t.equal(policy.rules.length, 1, 'nothing is stored');
  await policy.setSemantics({ conflicts: 'store' });
  t.equal((await say(world, ['policy', 'deny', 'network', 'a.com'])).code, 0);
  t.match(await checked(world, 'a.com'), 'explicit');
});

t.test('what an organisation said survives a restart', async (t) => {
  const world = await startWorld(t, { preset: 'allow-all' });
  await policyOf(world).govern({ ...ORG, supportMessage: 'ask us' }, [
    orgRule('one', 'deny', 'x.com'),
  ]);
  await policyOf(world).setSemantics({ localDenies: 'active' });
  await world.instance.stop(0);
  const again = await startWorld(t, { preset: undefined }, world.env);
  t.match(policyOf(again).governance, { organization: 'my-org', supportMessage: 'ask us' });
  t.equal(policyOf(again).semantics.localDenies, 'active');
  t.match(policyOf(again).rules.at(-1), { source: 'remote', policy: { name: 'default network' } });
  t.match(await checked(again, 'other.com'), 'implicit');
  t.match(await checked(again, 'x.com'), 'explicit');
});
