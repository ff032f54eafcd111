// The commands that people and scripts type, against a real daemon: words, columns, exit codes, and
// what they do without a terminal. Covers src/cli/context.ts, src/cli/setup.ts, src/cli/program.ts,
// src/cli/policy-rules.ts, src/cli/policy-list.ts, src/cli/policy-log.ts, src/cli/policy-setup.ts
// and src/cli/sandbox.ts.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { isolatedCli } from '../helpers/cli.ts';

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/;

t.test('first run: without a terminal nothing hangs, and set-default is named', async (t) => {
  const cli = isolatedCli(t);
  for (const args of [
    ['policy', 'ls'],
    ['policy', 'allow', 'network', '-g', 'example.com'],
  ]) {
    const ran = await cli.run(...args);
    t.equal(ran.code, 1);
    t.match(ran.err, 'global network policy has not been initialized');
    t.match(ran.err, 'policy set-default balanced');
  }
  t.equal((await cli.run('policy', 'set-default', 'nonsense')).code, 1);
  await cli.ok('policy', 'set-default', 'balanced');
  const again = await cli.run('policy', 'init', 'deny-all');
  t.equal(again.code, 1, 'the choice is made once');
  t.match(again.err, 'policy reset');
});

t.test('rules: add, list, check, remove', async (t) => {
  const cli = isolatedCli(t);
  await cli.start('--policy', 'balanced');
  const added = await cli.ok(
    'policy',
    'allow',
    'network',
    '-g',
    'API.example.com,*.Example.org:443',
  );
  t.match(
    added,
    /^Rule added to policy local \(scope: global\): \S+ \(api\.example\.com, \*\.example\.org:443 \[tcp\]\)\n$/,
  );
  const id = UUID.exec(added)?.[0] ?? '';
  const denied = await cli.ok('policy', 'deny', 'network', 'ads.example.com');
  t.match(denied, /\(ads\.example\.com \[tcp,udp\]\)\n$/);

  const listing = await cli.ok('policy', 'ls');
  t.match(
    listing,
    /^PROVENANCE {2,}APPLIES_TO {2,}POLICY\/RULE {2,}TYPE {2,}DECISION {2,}RESOURCES\n/,
  );
  t.match(
    listing,
    /\nlocal {2,}all {2,}default-ai-services {2,}network {2,}allow {2,}\*\*\.chatgpt\.com:443\n {20,}\*\*\.cursor/,
  );
  t.match(
    listing,
    new RegExp(`\\nlocal {2,}all {2,}local:${id} {2,}network {2,}allow {2,}api\\.example\\.com\\n`),
  );
  t.match(
    listing,
    /\nlocal {2,}all {2,}default-fs-read-allow-all {2,}filesystem:read {2,}allow {2,}\*\*\n/,
  );
  t.match(
    listing.trimEnd().split('\n').at(-1),
    /ads\.example\.com$/,
    'the newest stands at the bottom',
  );
  const origin = await cli.ok('policy', 'ls', '--layout', 'origin', '--type', 'network');
  t.match(origin, /^NAME {2,}TYPE {2,}ORIGIN {2,}DECISION {2,}STATUS {2,}RESOURCES\n/);
  t.notMatch(origin, 'filesystem');
  const { rules } = JSON.parse(await cli.ok('policy', 'ls', '--json', '--created-via', 'added'));
  t.match(rules, [
    { id, name: id, decision: 'allow', scope: 'global', editable: true },
    { decision: 'deny' },
  ]);
  t.equal(
    await cli.ok('policy', 'ls', '--source', 'kit'),
    'No policies match the selected filters.\n',
  );

  t.equal((await cli.run('policy', 'check', 'network', 'api.example.com')).code, 0);
  const no = await cli.run('policy', 'check', 'network', 'example.com');
  t.equal(no.code, 1, 'denied');
  t.equal(
    no.out,
    'Denied: example.com:443\nGovernance: Local policy only\nContext: global\nReason: no matching allow rule (default deny)\n',
  );
  t.equal((await cli.run('policy', 'check', 'network', 'a b')).code, 2, 'an error is neither');
  t.equal((await cli.run('policy', 'check', 'network', '--sandbox', 'nope', 'a.com')).code, 2);
  const explicit = JSON.parse(
    (await cli.run('policy', 'check', 'network', '--json', 'ads.example.com')).out,
  );
  t.match(explicit, {
    allowed: false,
    deny_kind: 'explicit',
    reason: 'Denied by local rule',
    type: 'network',
    target: 'ads.example.com:443',
  });

  const removed = await cli.ok('policy', 'rm', 'network', '-g', '--resource', 'ads.example.com');
  t.equal(removed, 'Rule removed from policy local: resources=ads.example.com\n');
  await cli.ok('policy', 'rm', 'network', '--id', `local:${id}`);
  const gone = await cli.run('policy', 'rm', 'network', '--id', id);
  t.equal(gone.code, 1);
  t.match(gone.err, `rule "${id}" not found`);
  t.match(
    (await cli.run('policy', 'rm', 'network')).err,
    'at least one selector is required: use --id or --resource',
  );
});

t.test('a bad list changes nothing and names every fault', async (t) => {
  const cli = isolatedCli(t);
  await cli.start('--policy', 'deny-all');
  const ran = await cli.run(
    'policy',
    'allow',
    'network',
    'good.example,a..b,*,10.0.0.1/8,x.com:99999',
  );
  t.equal(ran.code, 1);
  for (const fault of [
    'element 2 "a..b"',
    'element 3 "*"',
    'write **',
    'write 10.0.0.0/8',
    '"99999"',
  ]) {
    t.match(ran.err, fault);
  }
  const { rules } = JSON.parse(await cli.ok('policy', 'ls', '--json', '--created-via', 'added'));
  t.strictSame(rules, []);
});

t.test('sandboxes: scopes in the old and the new spelling, tokens, removal', async (t) => {
  const cli = isolatedCli(t);
  const port = await cli.start('--policy', 'deny-all');
  const origin = await startOrigin(t);
  const { name, proxy_url } = JSON.parse(await cli.ok('sandbox', 'add', 'my-box', '--json'));
  t.equal(name, 'my-box');
  t.equal((await cli.run('sandbox', 'add', 'my-box')).code, 1, 'a name is taken once');
  t.equal((await cli.run('sandbox', 'add', 'My_Box')).code, 1);
  const old = await cli.ok('policy', 'allow', 'network', 'my-box', `localhost:${origin}`);
  t.match(old, '(scope: sandbox:my-box)');
  await cli.ok('policy', 'deny', 'network', '--sandbox', 'my-box', 'ads.example.com');
  t.match(await cli.ok('policy', 'ls', 'my-box'), /sandbox:my-box/);
  t.equal((await cli.run('policy', 'allow', 'network', '--sandbox', 'other', 'a.com')).code, 1);

  t.equal(await ask(port, `localhost:${origin}`, proxy_url), 200);
  t.equal(await ask(port, `localhost:${origin}`, null), 407);
  const rotated = JSON.parse(await cli.ok('sandbox', 'token', 'my-box', '--rotate', '--json'));
  t.equal(
    await ask(port, `localhost:${origin}`, proxy_url),
    407,
    'the old token is refused at once',
  );
  t.equal(await ask(port, `localhost:${origin}`, rotated.proxy_url), 200);
  t.match(await cli.ok('sandbox', 'ls'), /^NAME .*\nmy-box /);
  await cli.ok('policy', 'rm', 'network', 'my-box', '--resource', `localhost:${origin}`);
  t.equal(await ask(port, `localhost:${origin}`, rotated.proxy_url), 403);
  await cli.ok('sandbox', 'rm', 'my-box');
  t.equal(await ask(port, `localhost:${origin}`, rotated.proxy_url), 407);
  const { rules } = JSON.parse(await cli.ok('policy', 'ls', '--json', '--created-via', 'added'));
  t.strictSame(rules, [], 'its rules went with it');
});

t.test('the log: sums in two sections, live lines, survival of a restart', async (t) => {
  const cli = isolatedCli(t);
  const port = await cli.start('--policy', 'deny-all', '--default-sandbox', 'box');
  const origin = await startOrigin(t);
  t.equal(await cli.ok('policy', 'log'), 'No policy log entries found\n');
  await cli.ok('policy', 'allow', 'network', `localhost:${origin}`);

  const follower = spawn(
    process.execPath,
    [join('bin', 'sbx.js'), 'policy', 'log', '--follow', '--json'],
    { env: cli.env },
  );
  t.teardown(() => follower.kill());
  const lines = createInterface(follower.stdout);
  const seen: string[] = [];
  const two = Promise.withResolvers<void>();
  lines.on('line', (line) => {
    seen.push(JSON.parse(line).decision);
    if (seen.includes('allow') && seen.includes('deny')) two.resolve();
  });
  // The follower may connect later than the first request: ask until it has seen both.
  const done = { value: false };
  void two.promise.then(() => {
    done.value = true;
  });
  let asked = 0;
  while (!done.value && asked < 5_000) {
    t.equal(await ask(port, `localhost:${origin}`, null), 200);
    t.equal(await ask(port, 'blocked.example.com', null), 403);
    asked++;
  }
  t.ok(done.value, 'both decisions were followed live');
  follower.kill();

  const live = spawn(
    process.execPath,
    [join('bin', 'sbx.js'), 'policy', 'log', 'box', '--follow', '--limit', '4'],
    { env: cli.env },
  );
  let [shown, ended] = ['', false];
  live.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text;
  });
  const end = once(live, 'close');
  void end.then(() => {
    ended = true;
  });
  while (!ended && asked < 5_000) {
    await ask(port, `localhost:${origin}`, null);
    await ask(port, 'blocked.example.com', null);
    asked++;
  }
  t.strictSame(await end, [0, null], '--limit ends it');
  t.equal(shown.trimEnd().split('\n').length, 4);
  t.match(shown, new RegExp(`^ALLOWED {3}localhost:${origin} +200$`, 'm'));
  t.match(shown, /^BLOCKED {3}blocked\.example\.com +-$/m);

  await cli.run('daemon', 'stop');
  await cli.start('--default-sandbox', 'box');
  const log = await cli.ok('policy', 'log', 'box');
  const columns = 'SANDBOX {2,}TYPE {2,}HOST {2,}PROXY {2,}RULE {2,}REASON {2,}LAST SEEN {2,}COUNT';
  t.match(
    log,
    new RegExp(
      `^Blocked requests:\\n${columns}\\nbox {2,}network {2,}blocked\\.example\\.com:80 {2,}forward {2,}no applicable policies for op`,
    ),
  );
  t.match(
    log,
    new RegExp(
      `\\n\\nAllowed requests:\\n${columns}\\nbox {2,}network {2,}localhost:${origin} {2,}forward {2,}local:${UUID.source}`,
    ),
  );
  t.match(
    log,
    new RegExp(`\\d\\d:\\d\\d:\\d\\d \\d+-[A-Z][a-z]{2} {2,}${asked}\\n`),
    'every request was counted, over the restart',
  );
  const json = JSON.parse(await cli.ok('policy', 'log', '--json', '--limit', '1'));
  t.equal(json.blocked_hosts.length + json.allowed_hosts.length, 1);
  t.notMatch(await cli.ok('policy', 'log', '-q'), 'SANDBOX');
  t.equal(
    await cli.ok('policy', 'log', 'nobody-here').catch(() => ''),
    'No policy log entries found\n',
  );
});

async function startOrigin(t: Test): Promise<number> {
  const server = createServer((_, response) => response.end('fine'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

async function ask(port: number, host: string, proxyUrl: string | null): Promise<number> {
  const { username, password } = new URL(proxyUrl ?? 'http://none');
  const basic = Buffer.from(`${username}:${password}`).toString('base64');
  const headers = proxyUrl === null ? { host } : { host, 'proxy-authorization': `Basic ${basic}` };
  const asked = request({ port, path: `http://${host}/`, headers, agent: false });
  asked.end();
  const [response] = await once(asked, 'response');
  response.resume();
  return response.statusCode;
}
