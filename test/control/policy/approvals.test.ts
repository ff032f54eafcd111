// Questions and answers, without any proxy: who is asked, who waits, and what an answer makes.
import t from 'tap';
import {
  APPROVALS_PER_SANDBOX_MAX,
  APPROVALS_WAITING_PER_SANDBOX_MAX,
} from '../../../src/base/limits.ts';
import {
  type ApprovalMode,
  Approvals,
  type PendingApproval,
  type Responded,
} from '../../../src/control/policy/approvals.ts';
import type { NewRule } from '../../../src/control/policy/rule-input.ts';

const NOBODY = new AbortController().signal;

function bench(mode: ApprovalMode = 'wait', waitMs = 60_000) {
  const added: NewRule[] = [];
  const told: PendingApproval[] = [];
  const responses: Responded[] = [];
  const policy = { governance: null as object | null, preset: 'deny-all' as string | null };
  const state = { mode, nowMs: 1_000, disk: true, stuck: false, ending: 0 };
  const ended: string[] = [];
  const approvals = new Approvals({
    policy: {
      add: async (rules: readonly NewRule[]) => {
        added.push(...rules);
        if (state.stuck) throw new Error('a lane is stuck');
        return rules.map((_, i) => ({ id: `rule-${added.length + i}` }));
      },
      end: async (ids: readonly string[]) => void ended.push(...ids),
      get governance() {
        return policy.governance;
      },
      get preset() {
        return policy.preset;
      },
    } as never,
    scopes: {
      numberOf: (name) => {
        if (name === 'gone') throw new Error('not found');
        return name.length;
      },
    },
    clock: { wallMs: () => state.nowMs, monotonicMs: () => state.nowMs },
    mode: () => state.mode,
    waitMs: () => waitMs,
    onNew: (approval) => told.push(approval),
    onEnding: () => void state.ending++,
    onResponse: async (responded) => {
      if (!state.disk) throw new Error('the disk is full');
      responses.push(responded);
    },
  });
  const ask = (
    host: string,
    more: { sandbox?: string; wait?: boolean; signal?: AbortSignal } = {},
  ) =>
    approvals.ask(
      { sandbox: more.sandbox ?? 'box', host, port: 443, wait: more.wait ?? true },
      more.signal ?? NOBODY,
    );
  const idOf = (title: string): string =>
    approvals.list().find(({ host }) => host === title)?.id ?? '';
  return { approvals, ask, idOf, added, ended, told, responses, policy, state };
}

t.test('nobody is asked unless the own policy denies by default', async (t) => {
  const { ask, approvals, policy, state } = bench('off');
  t.equal(await ask('a.test'), 'off');
  state.mode = 'ask';
  t.equal(await ask('a.test', { sandbox: 'gone' }), 'off');
  for (const preset of [null, 'allow-all']) {
    policy.preset = preset;
    t.equal(await ask('a.test'), 'off', `${preset}`);
  }
  policy.preset = 'balanced';
  policy.governance = {};
  t.equal(await ask('a.test'), 'off', 'an organisation decides');
  policy.governance = null;
  t.strictSame(approvals.list(), []);
  t.equal(await ask('a.test'), 'refused', 'asked, and refused at once');
  t.match(approvals.list(), [{ host: 'a.test', count: 1, waiting: 0 }]);
});

t.test('repeats are one entry under one id, and told once', async (t) => {
  const { ask, approvals, told, state } = bench('ask');
  await ask('a.test');
  await ask('b.test');
  state.nowMs = 2_000;
  await ask('a.test');
  await ask('a.test', { sandbox: 'other' });
  t.match(approvals.list(), [
    { host: 'a.test', sandbox: 'other', count: 1 },
    { host: 'a.test', sandbox: 'box', count: 2, firstMs: 1_000, lastMs: 2_000 },
    { host: 'b.test' },
  ]);
  t.equal(told.length, 3);
  const ids = approvals.list().map(({ id }) => id);
  t.equal(new Set(ids).size, 3);
  for (const id of ids) t.match(id, /^network:[\w-]{22}$/);
  t.strictSame(
    approvals.list('box').map(({ host }) => host),
    ['a.test', 'b.test'],
  );
});

t.test('allow makes a rule for exactly that, and lets go all who wait', async (t) => {
  const { ask, approvals, idOf, added, responses, state } = bench();
  const held = [ask('a.test'), ask('a.test'), ask('b.test')];
  await null;
  t.match(approvals.list(), [
    { host: 'b.test', waiting: 1 },
    { host: 'a.test', waiting: 2 },
  ]);
  const id = idOf('a.test');
  t.match(await approvals.respond(id, 'allow', 3_600_000), { expiresAtMs: 3_601_000 });
  t.strictSame(added, [
    {
      decision: 'allow',
      resources: ['a.test:443'],
      sandbox: 'box',
      approved: { expiresAtMs: 3_601_000 },
    },
  ]);
  t.strictSame(await Promise.all(held.slice(0, 2)), ['rule', 'rule']);
  t.match(responses, [{ option: 'allow', rule: 'rule-1', approval: { host: 'a.test' } }]);
  t.throws(() => approvals.get(id), { code: 'SALLYPORT_NOT_FOUND' });
  await t.rejects(approvals.respond(id, 'allow'), { code: 'SALLYPORT_NOT_FOUND' });
  t.match(await approvals.respond(idOf('b.test'), 'allow'), { expiresAtMs: null });
  t.equal(await held[2], 'rule');
  state.mode = 'ask';
  await ask('::1');
  await approvals.respond(idOf('::1'), 'allow');
  t.strictSame(added.at(-1)?.resources, ['[::1]:443']);
});

t.test('an answer that cannot be recorded is none', async (t) => {
  const { ask, approvals, idOf, added, ended, state } = bench();
  const held = ask('a.test');
  await null;
  state.disk = false;
  for (const option of ['allow', 'once', 'dismiss'] as const) {
    await t.rejects(approvals.respond(idOf('a.test'), option), { message: 'the disk is full' });
    t.match(approvals.list(), [{ host: 'a.test', waiting: 1 }]);
  }
  t.equal(added.length, 1);
  t.strictSame(ended, ['rule-1'], 'the rule is gone again');
  state.disk = true;
  const first = approvals.respond(idOf('a.test'), 'once');
  await t.rejects(approvals.respond(idOf('a.test'), 'allow'), { code: 'SALLYPORT_CONFLICT' });
  await first;
  t.equal(await held, 'once');
});

t.test('dismiss writes nothing', async (t) => {
  const { ask, approvals, idOf, added, responses } = bench();
  const held = ask('a.test');
  await null;
  await approvals.respond(idOf('a.test'), 'dismiss');
  t.equal(await held, 'refused');
  t.strictSame([added.length, approvals.list().length], [0, 0]);
  t.match(responses, [{ option: 'dismiss', rule: null }]);
});

t.test('a rule that stands in spite of a stuck lane is seen to end, too', async (t) => {
  const { approvals, ask, idOf, responses, state } = bench('ask');
  await ask('a.test');
  state.stuck = true;
  await t.rejects(approvals.respond(idOf('a.test'), 'allow', 60_000), /stuck/);
  t.equal(state.ending, 1);
  await t.rejects(approvals.respond(idOf('a.test'), 'allow'), /stuck/);
  t.equal(state.ending, 1, 'nothing ends where it is for good');
  t.strictSame(responses, []);
});

t.test('leave for one request does not outlive a reset', async (t) => {
  const { approvals, ask } = bench('ask');
  await ask('a.test');
  const [{ id } = { id: '' }] = approvals.list();
  await approvals.respond(id, 'once');
  approvals.drop(null);
  t.equal(await ask('a.test'), 'refused');
});

t.test('once is for one: who waits longest, or the next that comes', async (t) => {
  const { ask, approvals, idOf, state } = bench();
  const held = [ask('a.test'), ask('a.test')];
  await null;
  await approvals.respond(idOf('a.test'), 'once');
  t.equal(await held[0], 'once');
  t.match(approvals.list(), [{ host: 'a.test', waiting: 1 }]);
  await approvals.respond(idOf('a.test'), 'once');
  t.equal(await held[1], 'once');
  t.strictSame(approvals.list(), []);
  state.mode = 'ask';
  t.equal(await ask('a.test'), 'refused');
  await approvals.respond(idOf('a.test'), 'once');
  t.equal(await ask('b.test'), 'refused');
  t.equal(await ask('a.test', { sandbox: 'other' }), 'refused');
  t.equal(await ask('a.test'), 'once');
  t.equal(await ask('a.test'), 'refused', 'and not twice');
  await approvals.respond(idOf('a.test'), 'once');
  state.nowMs += 300_001;
  t.equal(await ask('a.test'), 'refused', 'it does not wait for ever');
});

t.test('waits end: with time, with the client, with the sandbox', async (t) => {
  const { ask, approvals } = bench('wait', 20);
  t.equal(await ask('a.test'), 'refused', 'with time');
  t.match(approvals.list(), [{ host: 'a.test', waiting: 0 }], 'the question stays');
  const patient = bench();
  const client = new AbortController();
  const held = patient.ask('a.test', { signal: client.signal });
  await null;
  client.abort();
  t.equal(await held, 'refused');
  t.match(patient.approvals.list(), [{ waiting: 0 }]);
  t.equal(await patient.ask('a.test', { signal: client.signal }), 'refused');
  t.equal(await patient.ask('a.test', { wait: false }), 'refused');
  const other = patient.ask('a.test', { sandbox: 'other' });
  const own = patient.ask('a.test');
  await null;
  patient.approvals.drop('box'.length);
  t.equal(await own, 'refused');
  t.match(patient.approvals.list(), [{ sandbox: 'other', waiting: 1 }]);
  patient.approvals.drop(null);
  t.equal(await other, 'refused');
});

t.test('there are bounds, and one sandbox does not use up those of others', async (t) => {
  const { ask, approvals, state } = bench();
  const held = Array.from({ length: APPROVALS_WAITING_PER_SANDBOX_MAX }, (_, i) =>
    ask(`h${i}.test`),
  );
  await null;
  t.equal(await ask('one-more.test'), 'refused');
  const other = ask('a.test', { sandbox: 'other' });
  await null;
  t.match(approvals.list('other'), [{ waiting: 1 }]);
  state.mode = 'ask';
  for (let i = 0; i < 2 * APPROVALS_PER_SANDBOX_MAX; i++) await ask(`n${i}.test`);
  t.equal(approvals.list('box').length, APPROVALS_PER_SANDBOX_MAX);
  const kept = approvals.list('box').map(({ host }) => host);
  t.ok(kept.includes('h0.test'), 'what somebody waits for is not forgotten');
  t.ok(kept.includes('n199.test'));
  t.equal(approvals.list('other').length, 1);
  approvals.drop(null);
  await Promise.all([...held, other]);
});
