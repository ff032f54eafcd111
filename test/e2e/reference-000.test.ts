// Reference document 000, command by command: how network policy is chosen, changed, listed, watched
// and begun anew. Sections count its headings; where it speaks of governance see reference-002.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Cli } from '../helpers/cli.ts';
import { isolatedCli } from '../helpers/cli.ts';
import {
  cutLog,
  cutTable,
  LOG_HEADINGS,
  onTerminal,
  type ReferenceWorld,
  referenceWorld,
} from '../helpers/reference.ts';
import { tcpOrigin } from '../helpers/wire.ts';

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/;
const HINT = 'Use ↑/↓ to navigate, Enter to select, or press 1–3';
const UP = '\x1b[A';

t.test('000 §1.1, §1.2, §1.5, §3.1: choosing a policy, and choosing anew', async (t) => {
  const cli = isolatedCli(t);
  await cli.start('--workers', '1');
  const ran = await cli.pipe('', 'policy', 'ls');
  t.equal(ran.code, 1, '§1.2: where nobody can be asked, a command fails');
  t.match(ran.err, 'sbx policy set-default balanced', 'and names the one that chooses');

  const first = await onTerminal(cli, [[HINT, '2']], 'policy', 'ls');
  t.equal(first.code, 0);
  t.match(first.out, /^Choose a default network policy:\n/, '§1.1: asked at the first start');
  const offered = first.out.split('\n').filter((line) => /^.. ?\d\. /.test(line));
  t.strictSame(
    offered.map((line) => line.replace(/^\W*(?=\d)/, '')),
    [
      '1. Open         — All network traffic allowed, no restrictions.',
      '2. Balanced     — Default deny, with common dev sites allowed.',
      '3. Locked Down  — All network traffic blocked unless you allow it.',
    ],
  );
  t.match(first.out, /\nPROVENANCE .*\nlocal +all +default-ai-services /, 'then it does its work');

  const kept = await onTerminal(cli, [['(y/N)', 'n\r']], 'policy', 'reset');
  t.equal(kept.code, 1, '§1.5: no reset without a yes');
  t.match((await cli.pipe('', 'policy', 'reset')).err, '--force', 'or the flag');
  t.equal((await onTerminal(cli, [['(y/N)', 'y\r']], 'policy', 'reset')).code, 0);
  const open = await onTerminal(cli, [[HINT, `${UP}\r`]], 'policy', 'ls', '--type', 'network');
  t.match(open.out, 'Choose a default network policy:', '§3.1: and the next command asks again');
  const { rows } = cutTable(open.out.slice(open.out.indexOf('PROVENANCE')));
  t.match(rows, [{ DECISION: 'allow', RESOURCES: '**' }], '§1.1: open is a rule for everything');
  t.equal(rows.length, 1);
});

let world: ReferenceWorld;
let cli: Cli;
/** Of the rule that denies ads.example.com to all. */
let adsId: string;
t.before(async () => {
  world = await referenceWorld(
    t,
    ['my-sandbox', 'other'],
    '--policy',
    'balanced',
    '--workers',
    '2',
  );
  cli = world.cli;
});

t.test('000 §1, §1.3, §2: what no rule allows stays inside, whatever it speaks', async (t) => {
  const { status, content } = await world.visit('my-sandbox', 'blocked.example.com');
  t.equal(status, 403);
  t.match(content, /^Blocked by network policy: domain blocked\.example\.com:\d+\n/);
  const raw = await tcpOrigin((socket) => socket.write('SSH-2.0-test\r\n'));
  t.teardown(() => raw.close());
  t.equal((await world.tunnel('my-sandbox', 'blocked.example.com:443')).status, 403);
  t.equal((await world.tunnel('my-sandbox', `127.0.0.2:${raw.port}`)).status, 403);
  t.equal(raw.connections, 0);

  const udp = await world.check('dns.example.com:53', { protocol: 'udp' });
  t.equal(udp.allowed, false);
});

t.test('000 §1: raw TCP by a rule for an address and port', async (t) => {
  const ssh = await tcpOrigin((socket) => socket.write('SSH-2.0-test\r\n'), '127.0.0.2');
  t.teardown(() => ssh.close());
  const place = `127.0.0.2:${ssh.port}`;
  await cli.ok('policy', 'allow', 'network', '-g', place);
  const { status, client } = await world.tunnel('my-sandbox', place);
  t.equal(status, 200);
  t.equal(await client.until('\r\n'), 'SSH-2.0-test\r\n', 'the server speaks first');
  client.socket.destroy();
  t.equal(
    (await world.tunnel('my-sandbox', `127.0.0.2:${world.origin.port}`)).status,
    403,
    'that port',
  );
});

t.test('000 §1.1, §1.3, §1.8: what Balanced covers', async (t) => {
  const kinds = {
    'AI providers': ['api.anthropic.com', 'api.openai.com', 'generativelanguage.googleapis.com'],
    'package managers': ['registry.npmjs.org', 'pypi.org', 'files.pythonhosted.org', 'crates.io'],
    'code hosts': ['github.com', 'api.github.com', 'gitlab.com', 'bitbucket.org'],
    registries: ['registry-1.docker.io', 'ghcr.io', 'quay.io', 'public.ecr.aws'],
    'cloud services': ['s3.amazonaws.com', 'storage.googleapis.com', 'vercel.com'],
  };
  for (const [kind, hosts] of Object.entries(kinds)) {
    t.notOk((await world.allowed(hosts)).includes(false), kind);
  }
  t.strictSame(await world.allowed(['example.com', 'api.example.com']), [false, false]);
});

t.test('000 §1.4: rules for all sandboxes and for one, in force at once', async (t) => {
  const see = async (...hosts: string[]): Promise<number[]> =>
    Promise.all(
      ['my-sandbox', 'other'].flatMap((box) =>
        hosts.map(async (host) => (await world.visit(box, host)).status),
      ),
    );
  const added = await cli.ok('policy', 'allow', 'network', '-g', 'api.anthropic.com,api.one.test');
  t.match(added, UUID);
  const denied = await cli.ok('policy', 'deny', 'network', '-g', 'ads.example.com');
  adsId = UUID.exec(denied)?.[0] ?? '';
  t.not(adsId, '');
  t.strictSame(await see('api.one.test', 'ads.example.com'), [200, 403, 200, 403]);

  await cli.ok('policy', 'allow', 'network', 'my-sandbox', 'api.example.com');
  await cli.ok('policy', 'deny', 'network', 'my-sandbox', 'api.one.test');
  t.strictSame(await see('api.example.com', 'api.one.test'), [200, 403, 403, 200]);

  const list = 'api.two.test,*.npmjs.test,*.pypi.test';
  await cli.ok('policy', 'allow', 'network', '-g', list);
  const several = await see('api.two.test', 'a.npmjs.test', 'a.pypi.test');
  t.strictSame(several, [200, 200, 200, 200, 200, 200]);
});

t.test('000 §1.4: the list of rules, of kits too', async (t) => {
  const kit = join(cli.folder, 'kit.yaml');
  writeFileSync(kit, 'runtime: {allow: [api.kit.test], deny: [telemetry.example.com]}\n');
  await world.add('kitted', '--kit', kit);
  const { headings, rows } = cutTable(await cli.ok('policy', 'ls', '--layout', 'origin'));
  t.strictSame(headings, ['NAME', 'TYPE', 'ORIGIN', 'DECISION', 'STATUS', 'RESOURCES']);
  const of = (resource: string): (typeof rows)[number] | undefined =>
    rows.find((row) => row.RESOURCES === resource);
  const name = new RegExp(`^local:${UUID.source}$`);
  const [mine, everywhere] = ['sandbox:my-sandbox', 'local'];
  const active = { TYPE: 'network', NAME: name, STATUS: 'active' };
  t.match(of('ads.example.com'), { ...active, ORIGIN: everywhere, DECISION: 'deny' });
  t.match(of('api.example.com'), { ...active, ORIGIN: mine, DECISION: 'allow' });
  t.match(of('api.one.test'), { ...active, ORIGIN: mine, DECISION: 'deny' });
  t.ok(of('api.two.test *.npmjs.test *.pypi.test'), 'the resources of a rule, one a line');
  const ofKit = rows.filter(({ NAME }) => NAME?.startsWith('kit:'));
  t.same(
    ofKit.map((row) => Object.values(row)),
    [
      ['kit:kitted', 'network', 'sandbox:kitted', 'allow', 'active', 'api.kit.test'],
      ['kit:kitted:deny', 'network', 'sandbox:kitted', 'deny', 'active', 'telemetry.example.com'],
    ],
  );

  const network = await cli.ok('policy', 'ls', '--layout', 'origin', '--type', 'network');
  t.ok(cutTable(network).rows.every(({ TYPE }) => TYPE === 'network'));
  const theirs = cutTable(await cli.ok('policy', 'ls', '--layout', 'origin', 'my-sandbox')).rows;
  const originsOf = (list: typeof rows): unknown[] => [...new Set(list.map((row) => row.ORIGIN))];
  t.strictSame(originsOf(rows), [everywhere, mine, 'sandbox:other', 'sandbox:kitted'], 'of all');
  t.strictSame(originsOf(theirs), [everywhere, mine], 'global rules and its own');
});

t.test('000 §1.4, §2: rules are found and removed by resource, by id, in a sandbox', async (t) => {
  await cli.ok('policy', 'rm', 'network', '-g', '--id', adsId);
  const removed = await cli.ok('policy', 'rm', 'network', '-g', '--resource', 'api.two.test');
  t.match(removed, 'api.two.test');
  const { status } = await world.visit('my-sandbox', 'api.one.test');
  const own = 'api.example.com,api.one.test';
  await cli.ok('policy', 'rm', 'network', 'my-sandbox', '--resource', own);
  const left = await cli.ok('policy', 'ls');
  for (const gone of [adsId, 'api.two.test', ' api.example.com']) t.notMatch(left, gone);
  t.match(left, '*.npmjs.test', 'the other resources of a rule stay');
  t.equal((await world.visit('my-sandbox', 'api.example.com')).status, 403, 'at once, too');
  const after = await world.visit('my-sandbox', 'api.one.test');
  t.strictSame([status, after.status], [403, 200], '§2: unblocked');
});

t.test('000 §2: deny wins, be it wider, of a sandbox, or older', async (t) => {
  await world.rule('deny', '*.wide.test');
  await world.rule('allow', 'exact.wide.test,same.test');
  await world.rule('deny', 'same.test');
  const { allowed, rule } = await world.check('exact.wide.test');
  t.equal(allowed, false);
  t.match(rule, UUID, 'and is named');
  t.strictSame(await world.allowed(['exact.wide.test', 'same.test']), [false, false]);
});

t.test('000 §1.7: what patterns cover', async (t) => {
  await world.rule('allow', 'exact.test,*.wild.test,port.test:443');
  const asked = ['exact.test', 'exact.test:8080', 'sub.exact.test'];
  t.strictSame(await world.allowed(asked), [true, true, false]);
  t.strictSame(await world.allowed(['sub.wild.test', 'wild.test']), [true, false]);
  t.strictSame(await world.allowed(['port.test:443', 'port.test:80']), [true, false]);
  await world.rule('allow', 'wild.test,*.exact.test');
  t.strictSame(await world.allowed(['wild.test', 'sub.exact.test']), [true, true], 'both');
});

t.test('000 §1.8: several package managers with one command', async (t) => {
  const hosts = '*.npmjs.org,*.pypi.org,files.pythonhosted.org,github.com';
  t.strictSame(await world.allowed(['test.pypi.org']), [false], 'Balanced has some of them');
  await cli.ok('policy', 'allow', 'network', '-g', hosts);
  const asked = ['registry.npmjs.org', 'test.pypi.org', 'files.pythonhosted.org', 'github.com'];
  t.notOk((await world.allowed(asked)).includes(false));
});

t.test('000 §1.9, 002 §4: which hosts were contacted, and how', async (t) => {
  const page = `localhost:${world.origin.port}`;
  await world.rule('allow', 'seen.test');
  const tunnelled = await world.tunnel('my-sandbox', `seen.test:${world.origin.port}`);
  tunnelled.client.socket.destroy();
  for (const _ of [1, 2]) await world.visit('my-sandbox', 'seen.test');
  await world.visit('my-sandbox', 'unseen.test');
  await opensPages();
  await world.visit('other', 'seen.test');
  await world.logged();

  const log = cutLog(await cli.ok('policy', 'log'));
  const [blocked, allowed] = ['Blocked requests:', 'Allowed requests:'].map((one) => log.get(one));
  t.strictSame([...log.keys()], ['Blocked requests:', 'Allowed requests:']);
  t.strictSame([blocked?.headings, allowed?.headings], [LOG_HEADINGS, LOG_HEADINGS]);
  const lastSeen = /^\d\d:\d\d:\d\d \d{1,2}-[A-Z][a-z]{2}$/;
  const shape = { SANDBOX: 'my-sandbox', TYPE: 'network', 'LAST SEEN': lastSeen };
  const [seen, unseen] = ['seen.test', 'unseen.test'].map((host) => `${host}:${world.origin.port}`);
  t.match(
    blocked?.rows.find(({ HOST }) => HOST === unseen),
    { ...shape, PROXY: 'forward', RULE: /./, REASON: /default deny/, COUNT: '1' },
  );
  const mine = allowed?.rows.filter((row) => row.HOST === seen && row.SANDBOX === 'my-sandbox');
  const rule = { RULE: UUID, REASON: '' };
  t.match(
    mine?.find(({ PROXY }) => PROXY === 'forward'),
    { ...shape, ...rule, COUNT: '2' },
  );
  t.match(
    mine?.find(({ PROXY }) => PROXY === 'forward-bypass'),
    { ...shape, ...rule, COUNT: '1' },
  );

  for (const [row, told] of [
    [allowed?.rows.find(({ HOST }) => HOST === page), { RULE: '', REASON: '' }],
    [blocked?.rows.find(({ HOST }) => HOST === 'unseen.test:443'), { REASON: /default deny/ }],
  ] as const) {
    t.match(row, { ...shape, ...told, PROXY: 'browser-open', COUNT: '1' });
  }

  const own = await cli.ok('policy', 'log', 'other', '--type', 'network');
  const others = [...cutLog(own).values()].flatMap(({ rows }) => rows);
  t.ok(others.length > 0 && others.every(({ SANDBOX }) => SANDBOX === 'other'), 'of one sandbox');
  const last = JSON.parse(await cli.ok('policy', 'log', '--limit', '1', '--json'));
  t.strictSame(last.blocked_hosts, []);
  t.match(last.allowed_hosts, [{ host: seen, vm_name: 'other', count_since: 1 }]);

  async function opensPages(): Promise<void> {
    const [program, opened] = ['opener', 'opened'].map((name) => join(cli.folder, name));
    writeFileSync(`${program}`, `#!/bin/sh\necho "$1" >> '${opened}'\n`, { mode: 0o755 });
    await cli.ok('settings', 'set', 'browser.command', JSON.stringify([program]));
    await world.rule('allow', page, 'my-sandbox'); // The browser's names are those of this machine.
    await world.browse('my-sandbox', `http://${page}/a`);
    await t.rejects(world.browse('my-sandbox', 'https://unseen.test/'), { message: /not allowed/ });
    t.equal(readFileSync(`${opened}`, 'utf8'), `http://${page}/a\n`, 'judged before it is opened');
  }
});

t.test('000 §1.6: allow by default, and deny some', async (t) => {
  await cli.ok('policy', 'allow', 'network', '-g', '**');
  t.equal((await world.visit('my-sandbox', 'anything.example.net')).status, 200);
  await world.rule('deny', 'ads.example.net');
  t.equal((await world.visit('my-sandbox', 'ads.example.net')).status, 403);
  const udp = await world.check('anything.example.net:53', { protocol: 'udp' });
  t.equal(udp.allowed, false, '§1: UDP stays shut');
});

t.test('000 §1.1, §1.2, §1.5: a reset ends what runs, and all begins anew', async (t) => {
  const raw = await tcpOrigin((socket) => socket.write('hello\n'), '127.0.0.2');
  t.teardown(() => raw.close());
  await world.rule('allow', `127.0.0.2:${raw.port}`);
  const { client } = await world.tunnel('my-sandbox', `127.0.0.2:${raw.port}`);
  await client.until('hello\n');
  await cli.ok('policy', 'reset', '--force');
  await client.toEnd();
  client.socket.destroy();
  await cli.ok('policy', 'set-default', 'deny-all');
  const hosts = ['api.anthropic.com', 'anything.example.net', `127.0.0.2:${raw.port}`];
  t.strictSame(await world.allowed(hosts), [false, false, false], 'locked down');
});
