// Changes of the policy against the real publisher and a real lane, and with it
// src/control/policy/draft.ts, src/control/policy/removal.ts and src/control/policy/listing.ts.
import { join } from 'node:path';
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { SallyportError } from '../../../src/base/errors.ts';
import { WORKERS_MAX } from '../../../src/base/limits.ts';
import { listRules } from '../../../src/control/policy/listing.ts';
import { PolicyService } from '../../../src/control/policy/policy.ts';
import { Store } from '../../../src/control/store.ts';
import { Lane } from '../../../src/matcher/lane.ts';
import { type Prepared, Publisher } from '../../../src/matcher/publish.ts';
import { parseTarget } from '../../../src/policy/target.ts';
import { temporaryFolder } from '../../helpers/control.ts';
import { scopesOf } from '../../helpers/policy.ts';

const scopes = scopesOf(['box']);

async function setup(t: Test, preset: string | null = 'deny-all') {
  const path = join(temporaryFolder(t), 'policy.db');
  const store = Store.open(path);
  t.teardown(() => store.close());
  const publisher = await Publisher.create();
  const policy = await PolicyService.start(store, publisher, scopes, systemClock);
  if (preset !== null) await policy.initialize(preset);
  const lane = new Lane(publisher.memory, publisher.module, WORKERS_MAX);
  const ask = (target: string, scope = 0): string => {
    const { action, rule } = lane.match({ scope, ...parseTarget(target), protocol: 'tcp' });
    return rule === null ? action : `${action} ${rule}`;
  };
  return { store, publisher, policy, ask };
}
type Test = Parameters<typeof temporaryFolder>[0];

t.test('a rule is enforced and stored when its change is answered', async (t) => {
  const { store, policy, ask } = await setup(t);
  t.equal(ask('a.example.com'), 'deny');
  const [rule] = await policy.add([
    { decision: 'allow', resources: ['a.example.com,b.example.com'] },
  ]);
  t.equal(ask('a.example.com'), `allow ${rule?.id}`);
  t.strictSame(store.rules(), policy.rules);
  t.equal(rule?.name, rule?.id);
  t.strictSame(rule?.protocols, ['tcp']);

  const [deny] = await policy.add([{ decision: 'deny', resources: ['a.example.com'] }]);
  t.equal(ask('a.example.com'), `deny ${deny?.id}`, 'both are kept, deny wins');
  t.strictSame(deny?.protocols, ['tcp', 'udp']);
  await policy.remove({ id: `local:${deny?.id}` });
  t.equal(ask('a.example.com'), `allow ${rule?.id}`);
});

t.test('resources are taken out of the rules of one scope, all or none', async (t) => {
  const { store, policy, ask } = await setup(t);
  const [global] = await policy.add([{ decision: 'allow', resources: ['a.test,b.test'] }]);
  const [own] = await policy.add([{ decision: 'allow', resources: ['a.test'], sandbox: 'box' }]);
  await t.rejects(policy.remove({ resources: ['a.test,c.test'] }), {
    code: 'SALLYPORT_NOT_FOUND',
    message: /"c\.test"/,
  });
  t.equal(ask('a.test'), `allow ${global?.id}`);
  const removed = await policy.remove({ resources: ['a.test'] });
  t.strictSame(
    removed.map(({ rule, resources }) => [rule.id, resources]),
    [[global?.id, ['a.test']]],
  );
  t.equal(ask('a.test'), 'deny');
  t.equal(ask('a.test', 1), `allow ${own?.id}`, 'the sandbox keeps its own');
  t.equal(ask('b.test'), `allow ${global?.id}`, 'the rest of the rule stays under its id');
  await policy.remove({ resources: ['b.test'] });
  t.strictSame(
    store.rules().map(({ id }) => id),
    [own?.id],
    'an empty rule goes',
  );
});

t.test('what cannot be is refused, and nothing is changed', async (t) => {
  const { store, policy, publisher } = await setup(t);
  const { generation } = publisher;
  const add = (resources: string, sandbox?: string) =>
    policy.add([
      { decision: 'allow', resources: ['fine.test'] },
      { decision: 'allow', resources: [resources], sandbox },
    ]);
  await t.rejects(add('fine.test,http://bad'), {
    code: 'SALLYPORT_POLICY_INVALID',
    message: /bad/,
  });
  await t.rejects(add('localhost'), { code: 'SALLYPORT_POLICY_INVALID' });
  await t.rejects(add('a.test', 'nope'), { message: 'sandbox "nope" not found' });
  await t.rejects(policy.remove({}), { code: 'SALLYPORT_USAGE', message: /--id or --resource/ });
  await t.rejects(policy.remove({ id: 'x' }), { message: 'rule "x" not found' });
  await t.rejects(policy.initialize('balanced'), { code: 'SALLYPORT_CONFLICT' });
  await t.rejects(policy.initialize('nope'), { code: 'SALLYPORT_USAGE' });
  t.strictSame(store.rules(), []);
  t.equal(publisher.generation, generation);
});

t.test('without a preset no rule is taken, and reset goes back there', async (t) => {
  const { policy, store, ask } = await setup(t, null);
  const uninitialized = {
    code: 'SALLYPORT_POLICY_UNINITIALIZED',
    message:
      /global network policy has not been initialized.*set-default allow-all\|balanced\|deny-all/,
  };
  await t.rejects(policy.add([{ decision: 'deny', resources: ['a.test'] }]), uninitialized);
  await t.rejects(policy.remove({ id: 'a' }), uninitialized);
  await policy.initialize('balanced');
  t.equal(policy.rules.length, 6);
  t.equal(ask('github.com'), 'allow default-code-and-containers');
  await t.rejects(policy.remove({ id: 'default-code-and-containers' }), {
    code: 'SALLYPORT_CONFLICT',
    message: /belongs to the default policy/,
  });
  await policy.setSemantics({ defaults: 'removable' });
  await policy.remove({ id: 'default-code-and-containers' });
  t.equal(ask('github.com'), 'deny', 'rules of a preset can be removed');
  await policy.add([{ decision: 'allow', resources: ['a.test'], sandbox: 'box' }]);
  await policy.reset();
  t.strictSame(store.rules(), []);
  t.equal(store.policySettings().preset, null);
  t.equal(ask('a.test', 1), 'deny');
  await policy.initialize('allow-all');
  t.equal(ask('a.test'), 'allow default-allow-all');
});

t.test('changes at the same time share a publication and are all kept', async (t) => {
  const { policy, store, publisher } = await setup(t);
  const before = publisher.generation;
  const names = Array.from({ length: 50 }, (_, i) => `h${i}.test`);
  const results = await Promise.allSettled([
    ...names.map((name) => policy.add([{ decision: 'allow', resources: [name] }])),
    policy.remove({ id: 'nope' }),
  ]);
  t.equal(results.filter(({ status }) => status === 'rejected').length, 1);
  t.strictSame(
    store.rules().flatMap(({ resources }) => resources.map(({ text }) => text)),
    names,
  );
  t.ok(publisher.generation - before <= 3, 'one for the first, one for those that waited');
  t.strictSame(store.rules(), policy.rules);
});

t.test('a policy that does not publish is taken back', async (t) => {
  const { store, publisher } = await setup(t);
  let failing = false;
  const faulty = {
    get generation() {
      return publisher.generation;
    },
    prepare: (rules: Parameters<Publisher['prepare']>[0]) => publisher.prepare(rules),
    commit: async (prepared: Prepared) => {
      if (failing) throw new SallyportError('SALLYPORT_PUBLISH_TIMEOUT', 'stuck');
      return publisher.commit(prepared);
    },
  };
  const policy = await PolicyService.start(store, faulty, scopes, systemClock);
  const [kept] = await policy.add([{ decision: 'allow', resources: ['kept.test'] }]);
  failing = true;
  const results = await Promise.allSettled([
    policy.add([{ decision: 'allow', resources: ['a.test'] }]),
    policy.remove({ id: kept?.id }),
    policy.add([{ decision: 'allow', resources: ['b.test'] }]),
  ]);
  t.strictSame(
    results.map(({ status }) => status),
    ['rejected', 'rejected', 'rejected'],
  );
  failing = false;
  t.strictSame(store.rules(), [kept]);
  t.strictSame(policy.rules, [kept]);
  await policy.remove({ id: kept?.id });
  t.strictSame(store.rules(), []);
});

t.test('one change that is too large does not take others with it', async (t) => {
  const { store, publisher } = await setup(t);
  const picky = {
    get generation() {
      return publisher.generation;
    },
    prepare: (rules: Parameters<Publisher['prepare']>[0]) => {
      const large = rules.some(({ resources }) =>
        resources.some(({ text }) => text === 'large.test'),
      );
      if (large) throw new SallyportError('SALLYPORT_POLICY_TOO_LARGE', 'too large');
      return publisher.prepare(rules);
    },
    commit: (prepared: Prepared) => publisher.commit(prepared),
  };
  const policy = await PolicyService.start(store, picky, scopes, systemClock);
  const add = (name: string) => policy.add([{ decision: 'allow', resources: [name] }]);
  const results = await Promise.allSettled(['a.test', 'b.test', 'large.test', 'c.test'].map(add));
  t.strictSame(
    results.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected', 'fulfilled'],
  );
  t.equal(store.rules().length, 3);
});

t.test('the rules of one scope go together', async (t) => {
  const { policy, store } = await setup(t);
  await policy.add([{ decision: 'allow', resources: ['a.test'], sandbox: 'box' }]);
  const [kept] = await policy.add([{ decision: 'allow', resources: ['b.test'] }]);
  await policy.dropScope(1);
  t.strictSame([store.rules(), policy.rules], [[kept], [kept]]);
});

t.test('listings have the fields that sbx clients read', async (t) => {
  const { policy } = await setup(t);
  const [rule] = await policy.add([{ decision: 'deny', resources: ['a.test'], sandbox: 'box' }]);
  const list = (type: 'all' | 'network' | 'filesystem', sandbox?: string) =>
    [...listRules(policy, scopes, { type, sandbox })].map(({ id }) => id);
  t.strictSame(list('network'), ['default-deny-all', rule?.id]);
  t.strictSame(list('filesystem'), ['default-fs-read-allow-all', 'default-fs-write-allow-all']);
  t.equal(list('all').length, 4);
  t.throws(() => list('all', 'nope'), { code: 'SALLYPORT_NOT_FOUND' });
  t.strictSame([...listRules(policy, scopes, { type: 'network', sandbox: 'box' })].at(-1), {
    id: rule?.id,
    name: rule?.id,
    policy_id: 'local-policy',
    scope: 'sandbox:box',
    applies_to: 'sandbox:box',
    sandbox_id: 'box',
    resource_type: 'network',
    decision: 'deny',
    resources: ['a.test'],
    origin: 'scoped',
    layer: 'local',
    status: 'active',
    editable: true,
    provenance: { created_via: 'added' },
    actions: ['net:connect:tcp', 'net:connect:udp'],
  });
});
