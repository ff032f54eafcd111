// `policy approval ls|inspect|respond` against a proxy that asks. Covers
// src/control/api/routes-approvals.ts and src/control/api/schemas-approvals.ts too.
import { DatabaseSync } from 'node:sqlite';
import t, { type Test } from 'tap';
import type { InstanceOptions } from '../../src/control/instance.ts';
import { recordsIn } from '../helpers/audit.ts';
import { startWorld, type World } from '../helpers/control.ts';
import { connectTo, say as sayTo, tcpOrigin, type Wire } from '../helpers/wire.ts';
import { say } from './session.ts';

async function ok(world: World, ...words: string[]): Promise<string> {
  const { code, out, err } = await say(world, words);
  if (code !== 0) throw new Error(`${words.join(' ')}: ${err}${out}`);
  return out;
}

function asking(t: Test, approvals: 'ask' | 'wait', more: Partial<InstanceOptions> = {}) {
  return startWorld(t, { defaultSandbox: 'box', approvals, ...more });
}

async function connect(t: Test, world: World, place: string): Promise<Wire> {
  const port = Number(world.instance.status().listen.split(':')[1]);
  const client = await sayTo(port, connectTo(place));
  t.teardown(() => client.socket.destroy());
  return client;
}

const status = async (t: Test, world: World, place: string): Promise<number> =>
  (await (await connect(t, world, place)).response('CONNECT')).status;

async function idOf(world: World): Promise<string> {
  for (;;) {
    const ids = (await ok(world, 'policy', 'approval', 'ls', '-q')).trim();
    if (ids !== '') return ids.split('\n')[0] ?? '';
  }
}

t.test('refused, answered, allowed; and what the answer made', async (t) => {
  const world = await asking(t, 'ask');
  const origin = await tcpOrigin((socket) => socket.end('hello'));
  t.teardown(() => origin.close());
  const place = `localhost:${origin.port}`;
  t.equal(await ok(world, 'policy', 'approvals', 'ls'), 'No approvals are waiting.\n');
  t.equal(await status(t, world, place), 403);
  t.equal(await status(t, world, place), 403);
  t.equal(await status(t, world, 'bad.test:443'), 403);
  const table = await ok(world, 'policy', 'approval', 'ls', 'box');
  t.match(
    table,
    /^APPROVAL +SANDBOX +TITLE +DETAIL\nnetwork:\S{22} +box +bad\.test:443 +TCP, asked once\n/,
  );
  t.match(table, new RegExp(`\nnetwork:\\S{22} +box +${place} +TCP, asked 2 times, a loopback`));
  const { approvals } = JSON.parse(await ok(world, 'policy', 'approval', 'ls', '--json'));
  t.match(approvals, [
    { title: 'bad.test:443', sandbox: 'box', options: [{ id: 'allow' }, {}, { id: 'dismiss' }] },
    { title: place, count: 2, waiting: 0 },
  ]);
  const [bad, local] = approvals.map(({ id }: { id: string }) => id);
  t.equal(
    await ok(world, 'policy', 'approval', 'inspect', local),
    `APPROVAL ${local}  (sandbox: box)\n  ${place}\n  Protocol: TCP\n  Resource type: domain\n` +
      '  TCP, asked 2 times, a loopback address\n  approval required by policy "local-policy"\n\n' +
      '  OPTION   LABEL\n  allow    Allow\n  once     Allow once\n  dismiss  Dismiss\n',
  );
  const respond = ['policy', 'approval', 'respond'];
  t.equal(await ok(world, ...respond, bad, '--option', 'dismiss'), 'Recorded: Dismiss\n');
  t.equal(await ok(world, ...respond, local, '--option', 'allow'), 'Recorded: Allow\n');
  const client = await connect(t, world, place);
  t.match(await client.toEnd(), /hello$/);
  const { rules } = JSON.parse(
    await ok(world, 'policy', 'ls', '--json', '--created-via', 'approval'),
  );
  t.match(rules, [
    { resources: [place], scope: 'sandbox:box', origin: 'scoped', actions: ['net:connect:tcp'] },
  ]);
  t.equal(await ok(world, 'policy', 'approval', 'ls', '-q'), '');
  await ok(world, 'policy', 'deny', 'network', 'bad.test');
  t.match(
    (await (await connect(t, world, 'bad.test:443')).response('CONNECT')).content,
    /^Blocked by network policy/,
  );
  t.equal(await ok(world, 'policy', 'approval', 'ls', '-q'), '', 'a deny never asks');
  await world.instance.stop(0);
  t.match(
    recordsIn(world.paths.audit).filter((one) => one.action_type === 'approval'),
    [
      { option: 'dismiss', host: 'bad.test', rule: null, sandbox: 'box' },
      { option: 'allow', host: 'localhost', rule: rules[0].id, expires_at: null },
    ],
  );
});

t.test('held until somebody answers', async (t) => {
  const world = await asking(t, 'wait');
  const origin = await tcpOrigin((socket) => socket.end('hello'));
  t.teardown(() => origin.close());
  const held = await connect(t, world, `localhost:${origin.port}`);
  const id = await idOf(world);
  t.match(JSON.parse(await ok(world, 'policy', 'approval', 'inspect', id, '--json')), {
    waiting: 1,
    detail: /1 held/,
  });
  const out = await ok(world, 'policy', 'approval', 'respond', id, '--option', 'once');
  t.equal(out, 'Recorded: Allow once\n');
  t.match(await held.toEnd(), /hello$/);
  const again = await connect(t, world, `localhost:${origin.port}`);
  await ok(world, 'policy', 'approval', 'respond', await idOf(world), '--option', 'dismiss');
  t.match(await again.response('CONNECT'), { status: 403 });
  const gone = await connect(t, world, 'a.test:443');
  const left = await idOf(world);
  gone.socket.resetAndDestroy();
  for (;;) {
    const { waiting } = JSON.parse(
      await ok(world, 'policy', 'approval', 'inspect', left, '--json'),
    );
    if (waiting === 0) break;
  }
  const last = await connect(t, world, 'b.test:443');
  while ((await idOf(world)) === left);
  await world.client.post('/daemon/reset');
  t.match(await last.response('CONNECT'), { status: 403 });
});

t.test('a rule for a time goes when it is over, over restarts too', async (t) => {
  const world = await asking(t, 'ask');
  for (const place of ['short.test:443', 'long.test:443']) await status(t, world, place);
  const { approvals } = JSON.parse(await ok(world, 'policy', 'approval', 'ls', '--json'));
  const [long, short] = approvals.map(({ id }: { id: string }) => id);
  const respond = ['policy', 'approval', 'respond'];
  t.match(
    await ok(world, ...respond, long, '--option', 'allow', '--for', '1h'),
    /^Recorded: Allow \(until 20.*Z\)\n$/,
  );
  await ok(world, ...respond, short, '--option', 'allow', '--for', '1s');
  const rules = () => world.instance.policy.rules.flatMap(({ resources }) => resources);
  t.equal(rules().length, 2);
  const exported = await ok(world, 'policy', 'export');
  t.notMatch(exported, 'long.test', 'a file says what stays');
  const keep = setInterval(() => {}, 100); // Its timer keeps no process alive.
  while (rules().length > 1) await world.client.get('/daemon/health');
  clearInterval(keep);
  t.match(rules(), [{ text: 'long.test:443' }]);
  const check = ['policy', 'check', 'network', '--sandbox', 'box'];
  t.equal((await say(world, [...check, 'short.test'])).code, 1);
  await world.client.close();
  await world.instance.stop(0);
  const restarted = await startWorld(t, { preset: undefined }, world.env);
  t.equal((await say(restarted, [...check, 'long.test'])).code, 0);
  const listed = JSON.parse(
    await ok(restarted, 'policy', 'ls', '--json', '--created-via', 'approval'),
  );
  t.match(listed.rules, [{ expires_at: /^20/ }]);
  await restarted.client.close();
  await restarted.instance.stop(0);
  const database = new DatabaseSync(world.paths.policyDatabase);
  database.exec('UPDATE rules SET expires_at_ms = 1'); // As if it had ended while nobody ran.
  database.close();
  const late = await startWorld(t, { preset: undefined }, world.env);
  t.equal(late.instance.policy.rules.length, 0);
  t.equal((await say(late, [...check, 'long.test'])).code, 1);
});

t.test('faults', async (t) => {
  const world = await asking(t, 'ask');
  for (const [words, fault] of [
    [['inspect', 'network:nope'], /there is no approval "network:nope"/],
    [['respond', 'network:nope', '--option', 'allow'], /there is no approval/],
    [['respond', 'network:nope'], /required option '--option/],
    [['respond', 'x', '--option', 'maybe'], /Allowed choices are allow, once, dismiss/],
    [['respond', 'x', '--option', 'once', '--for', '1h'], /--for is for --option allow alone/],
    [['respond', 'x', '--option', 'allow', '--for', 'soon'], /Write a time such as 30m/],
    [['respond', 'x', '--option', 'allow', '--for', '31d'], /from 1s to 30d/],
    [['ls', 'nobody'], /sandbox "nobody" not found/],
  ] as const) {
    const said = await say(world, ['policy', 'approval', ...words]);
    t.equal(said.code, 1, words.join(' '));
    t.match(said.err, fault);
  }
  await status(t, world, 'a.test:443');
  const path = `/policy/approvals/${encodeURIComponent(await idOf(world))}`;
  await t.rejects(world.client.post(path, { option: 'once', for_ms: 5_000 }), {
    code: 'SALLYPORT_USAGE',
  });
});
