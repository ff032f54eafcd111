// Pages that a sandbox wants to have opened: judged, recorded, and given to a real program. Covers
// src/control/api/routes-browser.ts too.
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { BROWSER_OPENS_PER_MINUTE_MAX } from '../../src/base/limits.ts';
import { Browser } from '../../src/control/browser.ts';
import type { InstanceOptions } from '../../src/control/instance.ts';
import { referenceMatcher } from '../../src/policy/reference.ts';
import { say } from '../cli/session.ts';
import { linesIn } from '../helpers/audit.ts';
import { startWorld, temporaryFolder, type World } from '../helpers/control.ts';
import { rulesOf, type Written } from '../helpers/rules.ts';

/** A program that writes down what it is given, one argument a line. */
function opener(t: Test, end = ''): { command: string[]; said: () => string[] } {
  const folder = temporaryFolder(t);
  const [program, out] = [join(folder, 'opener'), join(folder, 'out')];
  writeFileSync(program, `#!/bin/sh\nprintf '%s\\n' "$@" >> '${out}'\n${end}\n`);
  chmodSync(program, 0o755);
  const said = (): string[] =>
    existsSync(out) ? readFileSync(out, 'utf8').split('\n').filter(Boolean) : [];
  return { command: [program, '--new-tab'], said };
}

async function worldWith(t: Test, options: Partial<InstanceOptions>): Promise<World> {
  const world = await startWorld(t, options);
  await world.client.post('/sandbox', { name: 'box' });
  return world;
}

const open = (world: World, url: string): Promise<unknown> =>
  world.client.post('/browser-open', { url, sandbox_id: 'box' });

t.test('what is allowed goes to the program as one argument, and through no shell', async (t) => {
  const { command, said } = opener(t);
  const world = await worldWith(t, { browserCommand: command });
  const rule = { decision: 'allow', resources: 'localhost:8080,192.0.2.0/24', sandbox: 'box' };
  await world.client.post('/policy/network/rules', rule);
  const url = 'http://localhost:8080/a?b=$(id)&c=`id`;d=%27';
  t.match(await open(world, url), { opened: true, url, host: 'localhost', port: 8080 });
  t.strictSame(said(), ['--new-tab', url]);
  t.match(await open(world, 'https://0xC0000201/x'), { url: 'https://192.0.2.1/x', port: 443 });
  t.strictSame(said().slice(2), ['--new-tab', 'https://192.0.2.1/x'], 'what was judged is opened');
});

t.test('what is denied is recorded, and not opened', async (t) => {
  const { command, said } = opener(t);
  const world = await worldWith(t, { browserCommand: command });
  const allow = { decision: 'allow', resources: 'localhost:8080', sandbox: 'box' };
  await world.client.post('/policy/network/rules', allow);
  await world.client.post('/policy/network/rules', { decision: 'deny', resources: 'bad.test' });
  await open(world, 'http://localhost:8080/secret?token=1');
  const denied = { code: 'SALLYPORT_DENIED' };
  await t.rejects(open(world, 'https://bad.test/x'), {
    ...denied,
    message: 'bad.test:443 is not allowed: Denied by local rule',
  });
  await t.rejects(open(world, 'https://new.test/'), { ...denied, message: /No matching allow/ });
  await t.rejects(open(world, 'http://127.0.0.1:9000/'), denied);
  t.equal(said().length, 2);
  const log = (await say(world, ['policy', 'log'])).out;
  t.match(
    log,
    /\nbox +network +bad\.test:443 +browser-open +denied: rule "\S+" matched op\(.*\) +Denied by local rule +/,
  );
  t.match(
    log,
    /Allowed requests:\nSANDBOX .*\nbox +network +localhost:8080 +browser-open {10,}\d\d:\d\d:\d\d /,
    'rule and reason are empty',
  );
  await world.instance.stop(0);
  const lines = linesIn(world.paths.audit).filter((line) => line.includes('"browser_open"'));
  t.notMatch(lines.join(), 'token');
  t.match(
    lines.map((line) => JSON.parse(line)),
    [
      { verdict: 'allow', host: 'localhost', port: 8080, path: '/secret', code: null },
      { verdict: 'deny', deny_kind: 'explicit', host: 'bad.test', code: 'SALLYPORT_DENIED' },
      { deny_kind: 'implicit' },
      { host: '127.0.0.1' },
    ],
  );
});

t.test('HTTP rules hold for a page, too', async (t) => {
  const { command, said } = opener(t);
  const world = await worldWith(t, { browserCommand: command });
  for (const [methods, path] of [
    [['GET'], '/docs/**'],
    [['POST'], '/form'],
  ] as const) {
    await world.client.post('/policy/network/rules', {
      decision: 'allow',
      resources: 'localhost:8080',
      methods,
      paths: [path],
    });
  }
  await open(world, 'http://localhost:8080/docs/a');
  for (const path of ['/form', '/docs/%2e%2e/form', '/other']) {
    await t.rejects(open(world, `http://localhost:8080${path}`), { code: 'SALLYPORT_DENIED' });
  }
  t.equal(said().length, 2);
});

t.test('what is no web address is refused', async (t) => {
  const world = await worldWith(t, { preset: 'allow-all', browserCommand: ['/bin/true'] });
  for (const url of [
    'file:///etc/passwd',
    'javascript:alert(1)',
    'data:text/html,x',
    '--version',
    '//example.com/',
    'http://',
    'https://good.test@bad.test/',
    'https://a.test\\@b.test/',
    'https://a.test/ b',
    'https://a.test/\n',
    `https://a.test/${'a'.repeat(8_192)}`,
  ]) {
    await t.rejects(open(world, url), { code: 'SALLYPORT_TARGET_INVALID' }, url.slice(0, 40));
  }
  await t.rejects(
    world.client.post('/browser-open', { url: 'http://192.0.2.1/', sandbox_id: 'nobody' }),
    { code: 'SALLYPORT_NOT_FOUND' },
  );
});

t.test('a program that is missing, fails, or stays', async (t) => {
  const world = await worldWith(t, { preset: 'allow-all' });
  const url = 'http://192.0.2.1/';
  await world.client.post('/policy/network/rules', { decision: 'allow', resources: '192.0.2.1' });
  const missing = { code: 'SALLYPORT_BROWSER_UNAVAILABLE' };
  await t.rejects(open(world, url), { ...missing, message: /set browser\.command/ });
  const set = async (...words: string[]) => {
    const said = await say(world, ['settings', 'set', 'browser.command', JSON.stringify(words)]);
    t.equal(said.code, 0, said.err);
  };
  await set('/nonexistent/opener');
  await t.rejects(open(world, url), { ...missing, message: /could not be started/ });
  await set(...opener(t, 'exit 3').command);
  await t.rejects(open(world, url), { ...missing, message: /ended with 3/ });
  const staying = opener(t, 'exec sleep 8');
  await set(...staying.command);
  t.match(await open(world, url), { opened: true });
  t.equal(staying.said().length, 2);
});

/** Without a world: names and time are the test's. */
function bench(
  rules: readonly Written[],
  names: Readonly<Record<string, readonly string[]>>,
  supportMessage: string | null = null,
) {
  const state = { nowMs: 0 };
  const recorded: object[] = [];
  const browser = new Browser({
    matcher: referenceMatcher(rulesOf(...rules)),
    scopes: { numberOf: () => 1 },
    addressGuard: () => 'strict',
    resolver: { resolve: (host) => ({ addresses: (names[host] ?? []) as never }) },
    command: () => ['/bin/true'],
    decisions: { record: async (decided) => void recorded.push(decided) },
    clock: { wallMs: () => state.nowMs, monotonicMs: () => state.nowMs },
    supportMessage: () => supportMessage,
  });
  return { browser, state, recorded };
}

t.test('every address that a name leads to has to be allowed', async (t) => {
  const { browser, recorded } = bench(
    [
      ['allow', '**'],
      ['deny', '203.0.113.7'],
    ],
    {
      'good.test': ['2606:4700::1'],
      'inner.test': ['2606:4700::1', '127.0.0.1'],
      'denied.test': ['203.0.113.7'],
    },
  );
  const ask = (host: string) => browser.open({ url: `http://${host}/`, sandbox: 'box' });
  await ask('good.test');
  await t.rejects(ask('inner.test'), {
    code: 'SALLYPORT_ADDRESS_FORBIDDEN',
    message: /resolved-address: inner\.test:80 leads to a loopback address/,
  });
  await t.rejects(ask('denied.test'), { code: 'SALLYPORT_ADDRESS_FORBIDDEN' });
  t.match(recorded, [{ verdict: 'allow' }, { verdict: 'deny' }, { verdict: 'deny' }]);
});

t.test("a refusal tells whom to ask, and nothing of an organization's rules", async (t) => {
  const theirs = { id: 'rule_secret', source: 'remote' } as const;
  const { browser, recorded } = bench(
    [
      ['allow', '**', { id: 'rule_all', source: 'remote' }],
      ['deny', '203.0.113.0/24,bad.test', theirs],
    ],
    { 'denied.test': ['203.0.113.7'] },
    'Ask it@my-org.test.',
  );
  for (const host of ['denied.test', 'bad.test']) {
    await t.rejects(browser.open({ url: `http://${host}/`, sandbox: 'box' }), {
      message: `${host}:80 is not allowed: Denied by organization policy\nAsk it@my-org.test.`,
    });
  }
  t.match(recorded, [{ reason: /rule_secret/ }, { rule: /rule_secret/ }], 'the host has it all');
});

t.test('a sandbox opens only so many pages in a minute', async (t) => {
  const { browser, state } = bench([['allow', '192.0.2.1']], {});
  const ask = () => browser.open({ url: 'http://192.0.2.1/', sandbox: 'box' });
  for (let i = 0; i < BROWSER_OPENS_PER_MINUTE_MAX; i++) await ask();
  await t.rejects(ask(), { code: 'SALLYPORT_OVERLOADED', message: /within a minute/ });
  state.nowMs = 60_000;
  await ask();
});
