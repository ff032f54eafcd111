// `policy explain` typed against a daemon. Covers src/control/policy/explain.ts, src/control/api/routes-tools.ts
// and src/control/api/schemas-tools.ts too.
import t from 'tap';
import { startWorld, type World } from '../helpers/control.ts';
import { say } from './session.ts';

const EXPLAIN = ['policy', 'explain'];

async function ok(world: World, ...words: string[]): Promise<string> {
  const { code, out, err } = await say(world, words);
  if (code !== 0) throw new Error(`${words.join(' ')}: ${err}`);
  return out;
}

/** The commands under `To allow it:`, as somebody would paste them. */
function offered(out: string): string[][] {
  const lines = out.slice(out.indexOf('\nTo ')).split('\n').slice(2);
  return lines
    .filter((line) => line.startsWith('  sbx '))
    .map((line) => line.trim().replaceAll("'", '').split(' ').slice(1));
}

t.test('whatever is asked, explain and check say the same, and the way out works', async (t) => {
  const world = await startWorld(t);
  await ok(world, 'sandbox', 'add', 'box');
  for (const words of [
    ['allow', 'network', '*.example.com:443,api.net'],
    ['deny', 'network', '--sandbox', 'box', 'bad.example.com,worse.example.com'],
    ['deny', 'network', '*.api.net'],
    ['allow', 'network', 'git.org', '--method', 'GET,HEAD', '--path', '/repos/**'],
    ['allow', 'network', 'localhost:8080'],
  ]) {
    await ok(world, 'policy', ...words);
  }
  for (const [target, ...more] of [
    ['example.com'],
    ['a.example.com'],
    ['bad.example.com', '--sandbox', 'box'],
    ['a.example.com:80', '--sandbox', 'box'],
    ['x.api.net'],
    ['https://git.org/other/x'],
    ['https://git.org/repos/x', '--method', 'POST'],
    ['https://git.org/repos/y', '--method', 'GET'],
    ['localhost'],
    ['localhost:8080'],
    ['10.1.2.3:22'],
    ['[::1]:8080'],
    ['a.example.com', '--protocol', 'udp'],
  ] as const) {
    const words = [target, ...more];
    const before = JSON.parse(await ok(world, ...EXPLAIN, ...words, '--json'));
    const checked = async (): Promise<boolean> =>
      (await say(world, ['policy', 'check', 'network', ...words])).code === 0;
    t.equal(before.allowed, await checked(), `${words}: check agrees`);
    const commands = offered(await ok(world, ...EXPLAIN, ...words));
    t.ok(commands.length > 0, `${words}: ${commands.length} commands`);
    for (const command of commands) await ok(world, ...command);
    t.equal(!before.allowed, await checked(), `${words}: turned around by ${commands.join('; ')}`);
  }
});

t.test('what nearly matched is told, and how to read on', async (t) => {
  const world = await startWorld(t);
  await ok(world, 'policy', 'allow', 'network', '*.example.com');
  const out = await ok(world, ...EXPLAIN, 'example.com');
  t.match(out, /^Denied: example\.com:443\nContext: global\nWhy: no rule covers example\.com:443/);
  t.match(out, 'Nearest rules:\n  allow  *.example.com\n    rule local:');
  t.match(out, '`*.example.com` does not cover `example.com`: it covers exactly one label more');
  t.match(out, 'To allow it:\n  sbx policy allow network example.com:443\n');
  const allowed = await ok(world, ...EXPLAIN, 'a.example.com');
  t.match(allowed, /^Allowed: a\.example\.com:443\n/);
  t.match(allowed, 'Rules that cover it:\n  decides  allow  *.example.com\n');
  t.notMatch(allowed, 'Nearest');
  t.match(await ok(world, ...EXPLAIN, '--help'), 'Examples:');
});

t.test(
  'rules that an organisation overrules are told, and no way that leads nowhere',
  async (t) => {
    const world = await startWorld(t);
    await ok(world, 'policy', 'allow', 'network', 'a.com,*.b.com');
    const organization = { organization: 'my-org', available: true, supportMessage: null };
    await world.instance.policy.govern({ ...organization, delegates: [] });
    const out = await ok(world, ...EXPLAIN, 'a.com');
    t.match(out, /^Denied: a\.com:443\n/);
    t.match(
      out,
      /Not in force:\n {2}allow {2}a\.com\n {4}rule local:.*\n {4}corporate policy takes/,
    );
    t.match(out, 'To allow it: your organization decides');
    t.notMatch(await ok(world, ...EXPLAIN, 'b.com'), 'Nearest', 'what would not help');
    await world.instance.policy.govern({ ...organization, delegates: ['network'] });
    t.match(await ok(world, ...EXPLAIN, 'a.com'), /^Allowed: a\.com:443\n/);
  },
);

t.test('errors have the exit code 1', async (t) => {
  const world = await startWorld(t);
  for (const [words, fault] of [
    [['a b'], '"a b"'],
    [['a.com', '--sandbox', 'nobody'], 'sandbox "nobody" not found'],
    [['a.com', '--method', 'G T'], '"G T" is no method'],
    [[], "missing required argument 'target'"],
  ] as const) {
    const { code, err } = await say(world, [...EXPLAIN, ...words]);
    t.equal(code, 1);
    t.match(err, fault);
  }
});
