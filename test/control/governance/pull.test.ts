// A daemon under an organisation, from its start to what a refused client reads: real HTTP to the
// server, real requests through the proxy, the commands of people. src/control/governance/governance.ts puts it
// together.
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { GovernanceOptions } from '../../../src/control/governance/governance.ts';
import { say } from '../../cli/session.ts';
import { startWorld, temporaryFolder, type World } from '../../helpers/control.ts';
import { organizationServer, policyOf } from '../../helpers/organization.ts';

function optionsFor(t: Test, source: string, more: Partial<GovernanceOptions> = {}) {
  const tokenFile = join(temporaryFolder(t), 'token');
  writeFileSync(tokenFile, 'TOKEN\n', { mode: 0o600 });
  const common = { keys: [], teams: [], intervalMs: 60_000, graceMs: 3_600_000 };
  return { governance: { ...common, source, tokenFile, ...more } };
}

async function checked(world: World, target: string, ...more: string[]): Promise<string> {
  const { out } = await say(world, ['policy', 'check', 'network', target, '--json', ...more]);
  const { allowed, reason } = JSON.parse(out);
  return allowed ? 'allowed' : reason;
}

/** A request through the proxy that is refused. @returns its content */
async function refusal(world: World, host: string, accept: string): Promise<string> {
  const port = Number(world.instance.status().listen.split(':')[1]);
  const headers = { host, accept };
  const asked = request({ host: '127.0.0.1', port, path: `http://${host}/`, headers });
  asked.end();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  let text = JSON.stringify(answer.headers);
  for await (const piece of answer) text += String(piece);
  return text;
}

const RULES = [
  { decision: 'allow' as const, resources: ['good.test'] },
  { decision: 'deny' as const, resources: ['**.bad.test'], name: 'SECRET-NAME' },
];

t.test('from the server to the sandbox', async (t) => {
  const server = await organizationServer(t);
  server.policies = [policyOf(1, RULES, { name: 'SECRET-POLICY' })];
  server.settings = { support_message: 'ask security@my-org.test', delegates: [] };
  const world = await startWorld(t, {
    preset: 'allow-all',
    defaultSandbox: 'box',
    ...optionsFor(t, server.url),
  });
  t.equal(await checked(world, 'good.test'), 'allowed', 'the first word is there at the start');
  t.match(await checked(world, 'other.test'), 'No matching allow rule');
  t.equal(await checked(world, 'x.bad.test'), 'Denied by organization policy');
  const { out } = await say(world, ['policy', 'ls']);
  t.match(out, /Governance +Managed by my-org\nSync +OK, last synced \d\d:\d\d:\d\d\n/);
  t.match(out, /remote +all +SECRET-POLICY \/ rule 1 +network +allow +good\.test/);

  for (const accept of ['*/*', 'application/json']) {
    for (const host of ['x.bad.test', 'other.test']) {
      const told = await refusal(world, host, accept);
      t.match(told, 'ask security@my-org.test', `${host} for ${accept}`);
      t.notMatch(told, /SECRET|rule_1|pol_1|\*\*/);
    }
  }

  server.policies = [policyOf(1, [{ decision: 'allow', resources: ['new.test'] }])];
  server.settings = { support_message: 'or ask them', delegates: ['network'] };
  t.match(await say(world, ['policy', 'refresh']), {
    code: 0,
    out: 'Policy of my-org refreshed\n',
  });
  t.equal(await checked(world, 'new.test'), 'allowed');
  t.equal(await checked(world, 'good.test'), 'allowed', 'by local policy, which may decide now');
  t.notMatch((await say(world, ['policy', 'ls'])).out, 'bad.test');
  await say(world, ['policy', 'deny', 'network', 'local.test']);
  t.notMatch(await refusal(world, 'local.test', '*/*'), 'or ask them', 'a rule of the user');
});

t.test('requests by an organisation', async (t) => {
  const server = await organizationServer(t);
  const pairs = [
    { host: 'api.test', port: 443, path: '/repos/**' },
    { host: '192.0.2.7', path: '/x' },
  ];
  const rule = { decision: 'allow' as const, actions: ['request:get'], http_resources: pairs };
  server.policies = [policyOf(1, [rule])];
  const world = await startWorld(t, { preset: 'allow-all', ...optionsFor(t, server.url) });
  for (const [url, method, expected] of [
    ['https://api.test/repos/a', 'GET', /allowed/],
    ['https://api.test/repos/a', 'POST', /No matching/],
    ['https://api.test/x', 'GET', /No matching/],
    ['https://192.0.2.7/x', 'GET', /allowed/],
    ['https://192.0.2.7/repos/a', 'GET', /No matching/],
  ] as const) {
    t.match(await checked(world, url, '--method', method), expected, `${method} ${url}`);
  }
});

t.test('a server that is gone, and a daemon that is started without it', async (t) => {
  const server = await organizationServer(t);
  server.policies = [policyOf(1, RULES)];
  const options = { preset: 'allow-all', ...optionsFor(t, server.url) };
  const world = await startWorld(t, options);
  await server.stop();
  const refreshed = await say(world, ['policy', 'refresh']);
  t.match(refreshed, { code: 1, err: /^ERROR: the server cannot be asked: ECONNREFUSED\n/ });
  t.match(
    (await say(world, ['policy', 'ls'])).out,
    /Sync +failed, last synced [\d:]+ \(the server cannot be asked: ECONNREFUSED\)\n/,
  );
  t.match(await world.client.get('/policy/governance'), {
    active: true,
    organization: 'my-org',
    last_synced_status: 'failed',
    last_synced_message: 'the server cannot be asked: ECONNREFUSED',
    last_synced_at: /^\d{4}-/,
  });
  t.equal(await checked(world, 'good.test'), 'allowed', 'what was said last holds');
  await world.instance.stop(0);

  const again = await startWorld(t, options, world.env);
  t.equal(await checked(again, 'good.test'), 'allowed');
  t.equal(await checked(again, 'x.bad.test'), 'Denied by organization policy');
  await again.instance.stop(0);

  const forgotten = await startWorld(t, { preset: 'allow-all' }, world.env);
  t.match(await checked(forgotten, 'other.test'), 'No matching', 'still governed');
  t.match((await say(forgotten, ['policy', 'refresh'])).err, 'no source is given any more');
  await forgotten.instance.stop(0);

  const patience = optionsFor(t, server.url, { graceMs: 1 });
  const strict = await startWorld(t, { preset: 'allow-all', ...patience }, world.env);
  t.match(await checked(strict, 'good.test'), 'No matching', 'the grace is over');
  t.equal(await checked(strict, 'x.bad.test'), 'Denied by organization policy');
  t.match(await strict.client.get('/policy/governance'), { organization_unavailable: true });
  t.match((await say(strict, ['policy', 'ls'])).out, /Sync +unavailable, last synced/);
  await strict.instance.stop(0);

  const free = await startWorld(t, { preset: 'allow-all', governance: 'off' }, world.env);
  t.strictSame(await free.client.get('/policy/governance'), { active: false });
  t.equal(await checked(free, 'x.bad.test'), 'allowed');
  t.match(await say(free, ['policy', 'refresh']), {
    code: 0,
    out: 'No organization governs this daemon\n',
  });
});

t.test('a server that never answered', async (t) => {
  const server = await organizationServer(t);
  server.tokens.clear();
  const world = await startWorld(t, { preset: 'allow-all', ...optionsFor(t, server.url) });
  t.match(await checked(world, 'any.test'), 'No matching');
  t.match(
    (await say(world, ['policy', 'ls'])).out,
    /Managed by my-org\nSync +unavailable \(the server answered 401 \(unauthenticated\)\)\n/,
  );
  server.tokens.add('TOKEN');
  server.policies = [policyOf(1, RULES)];
  await say(world, ['policy', 'refresh']);
  t.equal(await checked(world, 'good.test'), 'allowed');
});

t.test('a reset asks the organisation anew', async (t) => {
  const server = await organizationServer(t);
  server.policies = [policyOf(1, RULES)];
  const options = { preset: 'allow-all', ...optionsFor(t, server.url) };
  const world = await startWorld(t, options);
  await world.client.post('/daemon/reset');
  await say(world, ['policy', 'init', 'deny-all']);
  t.equal(await checked(world, 'good.test'), 'allowed', 'its rules are not local');
  await world.instance.stop(0);
  server.policies = [policyOf(1, [{ decision: 'allow', resources: ['new.test'] }])];
  const again = await startWorld(t, options, world.env);
  await say(again, ['policy', 'refresh']); // The first look may still be under way.
  t.equal(await checked(again, 'new.test'), 'allowed');
  t.match(await checked(again, 'good.test'), 'No matching');
});

t.test('options that cannot be meant', async (t) => {
  const url = 'https://example.com/v2/orgs/my-org';
  const cases = [
    optionsFor(t, url, { tokenFile: undefined }),
    optionsFor(t, url, { tokenCommand: 'echo x' }),
    optionsFor(t, 'http://example.com/v2/orgs/my-org'),
    optionsFor(t, '/nowhere/governance.json'),
    optionsFor(t, '/nowhere/governance.json', { keys: ['no key'] }),
  ];
  for (const options of cases) {
    await t.rejects(startWorld(t, options), { code: 'SALLYPORT_USAGE' });
  }
});
