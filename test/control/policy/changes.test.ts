// Changes that fail half-way: what was refused, and what the disk or a stuck lane kept from being
// whole, by a real store whose tables refuse.
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t, { type Test } from 'tap';
import { SallyportError } from '../../../src/base/errors.ts';
import { FILE_PATTERNS_MAX, RULES_MAX } from '../../../src/base/limits.ts';
import type { GivenPathRule } from '../../../src/control/policy/path-rules.ts';
import { type GivenRule, PolicyService } from '../../../src/control/policy/policy.ts';
import { Store } from '../../../src/control/store.ts';
import { parsePathPatterns } from '../../../src/policy/file-pattern.ts';
import { parseResources } from '../../../src/policy/resource.ts';
import type { Rule } from '../../../src/policy/rule.ts';
import { temporaryFolder } from '../../helpers/control.ts';

const GOVERNANCE = {
  organization: 'my-org',
  delegates: ['network'] as const,
  available: true,
  supportMessage: null,
};
const NAMED = { id: 'rule_a', name: 'a', decision: 'allow' } as const;
const RULE: GivenRule = { ...NAMED, resources: parseResources('a.test'), protocols: ['tcp'] };
const PATHS: GivenPathRule = {
  ...{ ...NAMED, id: 'rule_p', access: 'read' },
  patterns: parsePathPatterns(['/data/**']),
};

async function setup(t: Test, preset: string | null = 'deny-all') {
  const path = join(temporaryFolder(t), 'policy.db');
  const store = Store.open(path);
  t.teardown(() => store.close());
  const state = { generation: 0, sticking: false, failing: false, inForce: [] as string[] };
  const publisher = {
    get generation() {
      return state.generation;
    },
    prepare: (rules: readonly Rule[]) => rules.map(({ id }) => id),
    commit: async (ids: string[]) => {
      if (state.failing) throw new SallyportError('SALLYPORT_PUBLISH_TIMEOUT', 'nothing changed');
      state.generation++;
      state.inForce = ids;
      if (state.sticking) throw new SallyportError('SALLYPORT_PUBLISH_TIMEOUT', 'a lane is stuck');
    },
  };
  const clock = { wallMs: () => 1_000, monotonicMs: () => 0 };
  const start = () =>
    PolicyService.start(store, publisher, { numberOf: () => 1, nameOf: () => 'box' }, clock);
  const policy = await start();
  if (preset !== null) await policy.initialize(preset);
  /** A full disk, to one of its tables. */
  const refusing = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    const disk = new DatabaseSync(path);
    disk.exec(`CREATE TRIGGER full BEFORE ${what} BEGIN SELECT RAISE(ABORT, 'disk full'); END`);
    await work().finally(() => disk.exec('DROP TRIGGER full'));
    disk.close();
  };
  return { store, state, policy, start, refusing };
}

t.test('what has ended ends also while the disk refuses', async (t) => {
  const { policy, state, store, start, refusing } = await setup(t);
  const approved = { expiresAtMs: 999 };
  const [rule] = await policy.add([{ decision: 'allow', resources: ['a.test'], approved }]);
  const id = rule?.id ?? '';
  await refusing('DELETE ON rules', async () => {
    await t.rejects(policy.remove({ id }), /disk full/, 'a person is told');
    t.strictSame(state.inForce, [id]);
    await policy.end([id]);
  });
  t.strictSame([state.inForce, policy.rules, store.rules().length], [[], [], 1]);
  const [next] = await policy.add([{ decision: 'allow', resources: ['b.test'] }]);
  t.strictSame(
    store.rules().map(({ id }) => id),
    [next?.id],
    'it goes with the next change',
  );
  await start();
  t.strictSame(state.inForce, [next?.id]);
});

t.test('grants of an organization end also while the disk refuses', async (t) => {
  const { policy, state, store, refusing } = await setup(t);
  await policy.govern(GOVERNANCE, [RULE]);
  t.strictSame(state.inForce, ['rule_a']);
  await refusing('INSERT ON settings', async () => {
    await policy.setAvailable(false);
    t.strictSame([state.inForce, policy.governance?.available], [[], false]);
    await t.rejects(policy.setAvailable(true), /disk full/, 'but do not come back');
    t.strictSame(state.inForce, []);
  });
  await policy.setAvailable(true);
  t.strictSame([state.inForce, store.policySettings().governance?.available], [['rule_a'], true]);
});

t.test('what stands in spite of a stuck lane is not done twice', async (t) => {
  const { policy, state, store } = await setup(t);
  state.sticking = true;
  const names = ['a.test', 'b.test', 'c.test'];
  const results = await Promise.allSettled(
    names.map((name) => policy.add([{ decision: 'allow', resources: [name] }])),
  );
  t.ok(results.every(({ status }) => status === 'rejected'));
  const texts = policy.rules.map(({ resources }) => resources.map(({ text }) => text).join());
  t.strictSame(texts, names);
  t.strictSame(store.rules(), policy.rules);
});

t.test('what cannot be taken off the disk again is the next thing that is', async (t) => {
  const { policy, state, store, start, refusing } = await setup(t);
  const unwritable = { code: 'SALLYPORT_STORE_UNWRITABLE', message: /not in force.*next start/ };
  const add = (host: string) => policy.add([{ decision: 'allow', resources: [host] }]);
  await refusing('DELETE ON rules', async () => {
    state.failing = true;
    await t.rejects(add('failed.test'), unwritable);
    state.failing = false;
    t.strictSame([state.inForce, policy.rules, store.rules().length], [[], [], 1]);
    await t.rejects(add('a.test'), unwritable);
    await Promise.all([t.rejects(add('b.test'), unwritable), t.rejects(add('c.test'), unwritable)]);
    await t.rejects(policy.settled(), unwritable, 'nor does it end in silence');
    t.strictSame([state.inForce, policy.rules, store.rules().length], [[], [], 1]);
  });
  const [rule] = await add('d.test');
  t.strictSame([state.inForce, store.rules()], [[rule?.id], policy.rules]);

  await refusing('DELETE ON rules', async () => {
    state.failing = true;
    await t.rejects(add('failed.test'), unwritable);
    state.failing = false;
    await policy.end([rule?.id ?? '']); // What is due ends all the same.
    t.strictSame([state.inForce, store.rules().length], [[], 2]);
  });
  await policy.settled();
  await add('e.test');
  t.strictSame(store.rules(), policy.rules);
  await start();
  t.strictSame(state.inForce, [policy.rules[0]?.id]);
});

t.test('a sandbox has lost its rules, stuck lane or not', async (t) => {
  const { policy, state } = await setup(t);
  await policy.add([{ decision: 'deny', resources: ['a.test'], sandbox: 'box' }]);
  state.sticking = true;
  await policy.dropScope(1);
  t.strictSame([policy.rules, state.inForce], [[], []]);
});

t.test('of what is refused nothing is done', async (t) => {
  const { policy, state, store } = await setup(t, null);
  const full = Array.from({ length: FILE_PATTERNS_MAX }, (_, i) => ({ ...PATHS, id: `rule_${i}` }));
  const tooLarge = { code: 'SALLYPORT_POLICY_TOO_LARGE' };
  await policy.govern(GOVERNANCE, [RULE], full);
  await t.rejects(policy.initialize('allow-all'), tooLarge, 'no room for the default rules');
  t.strictSame([state.inForce, policy.preset], [['rule_a'], null]);
  const rules = Array.from({ length: RULES_MAX + 1 }, () => RULE);
  await t.rejects(policy.govern(GOVERNANCE, rules, [PATHS]), tooLarge);
  t.equal(policy.pathRules.length, FILE_PATTERNS_MAX);
  t.strictSame(store.pathRules.all(), policy.pathRules);
});
