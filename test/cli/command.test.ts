// What is typed and what becomes of it: spellings, questions, exit codes and words. Covers
// src/cli/policy-rules.ts, src/cli/policy-list.ts, src/cli/setup.ts and src/cli/program.ts too.
import t from 'tap';
import { startWorld } from '../helpers/control.ts';
import { say } from './session.ts';

const ALLOW = ['policy', 'allow', 'network'];
const RM = ['policy', 'rm', 'network'];

t.test('every spelling of a scope', async (t) => {
  const world = await startWorld(t);
  await say(world, ['sandbox', 'add', 'box']);
  for (const [words, scope, resources] of [
    [['a.com'], 'global', 'a.com'],
    [['-g', 'a.com'], 'global', 'a.com'],
    [['--global', 'a.com,b.com'], 'global', 'a.com, b.com'],
    [['a.com', '-g'], 'global', 'a.com'],
    [['--sandbox', 'box', 'a.com'], 'sandbox:box', 'a.com'],
    [['--sandbox=box', 'a.com', 'b.com'], 'sandbox:box', 'a.com, b.com'],
    [['box', 'a.com'], 'sandbox:box', 'a.com'],
    [['a.com', 'b.com'], 'global', 'a.com, b.com'],
    [['-g', 'box', 'b.com'], 'global', 'box, b.com'],
    [['**', 'b.com'], 'global', '**, b.com'],
    [['10.0.0.0/8', 'b.com:443'], 'global', '10.0.0.0/8, b.com:443'],
  ] as const) {
    const { code, out, err } = await say(world, [...ALLOW, ...words]);
    t.equal(code, 0, `${words.join(' ')}: ${err}`);
    const [, shown, list] =
      /^Rule added to policy local \(scope: (\S+)\): \S{36} \((.*) \[tcp\]\)\n$/.exec(out) ?? [];
    t.strictSame([shown, list], [scope, resources], words.join(' '));
  }
  for (const [words, fault] of [
    [['nobody', 'a.com'], 'sandbox "nobody" not found'],
    [['-g', '--sandbox', 'box', 'a.com'], '--global and --sandbox exclude each other'],
    [['--protocol', 'sctp', 'a.com'], '"sctp": write tcp, udp or tcp,udp.'],
    [[], "missing required argument 'resources'"],
  ] as const) {
    const { code, out, err } = await say(world, [...ALLOW, ...words]);
    t.strictSame([code, out], [1, ''], words.join(' '));
    t.match(err, /^ERROR: .*\n.+\n/);
    t.match(err, fault);
  }
  const both = await say(world, [...ALLOW, '--protocol', 'tcp,udp', 'u.com']);
  t.match(both.out, '(u.com [tcp,udp])');
});

t.test('a person is asked for a policy once, and the command goes on', async (t) => {
  for (const [keys, listed] of [
    ['1', 'default-allow-all'],
    ['\r', 'default-ai-services'],
    ['\u001b[B\r', 'default-deny-all'],
  ] as const) {
    const world = await startWorld(t, { preset: undefined });
    const { code, out, err } = await say(world, ['policy', 'ls'], keys);
    t.equal(code, 0, err);
    t.match(out, 'Choose a default network policy:');
    t.match(out, listed);
    t.match(err, 'Network policy initialized: ');
    t.notMatch((await say(world, ['policy', 'ls'], '')).out, 'Choose', 'not asked again');
  }
});

t.test('nobody answers: refused, and nothing is chosen', async (t) => {
  const world = await startWorld(t, { preset: undefined });
  for (const words of [
    ['policy', 'ls'],
    ['policy', 'check', 'network', 'a.com'],
    [...ALLOW, 'a.com'],
    [...RM, '--resource', 'a.com'],
  ]) {
    const { code, out, err } = await say(world, words);
    t.equal(code, words[1] === 'check' ? 2 : 1);
    t.equal(out, '');
    t.match(err, /^ERROR: global network policy has not been initialized/);
    t.match(err, 'sbx policy set-default balanced');
  }
  for (const [keys, code] of [
    ['\u0003', 130],
    ['\u0004', 1],
  ] as const) {
    const left = await say(world, ['policy', 'ls'], keys);
    t.strictSame([left.code, left.err], [code, 'Cancelled\n']);
  }
  const setup = await world.client.get<{ initialized: boolean }>('/policy/setup');
  t.equal(setup.initialized, false);
});

t.test('policy ls tells what is never intercepted', async (t) => {
  const bypass = ['pinned.test', '*.apple.test:443'];
  const world = await startWorld(t, { bypass });
  for (const words of [[], ['--type', 'network'], ['--decision', 'deny']]) {
    const { out } = await say(world, ['policy', 'ls', ...words]);
    t.match(out, /\n\nNever intercepted: pinned\.test, \*\.apple\.test:443\n$/, words.join(' '));
  }
  t.match(JSON.parse((await say(world, ['policy', 'ls', '--json'])).out), { bypass });
  const files = ['policy', 'ls', '--type', 'filesystem'];
  t.notMatch((await say(world, files)).out, 'Never');
  t.strictSame(JSON.parse((await say(world, [...files, '--json'])).out).bypass, []);
  const none = await startWorld(t);
  t.notMatch((await say(none, ['policy', 'ls'])).out, 'Never');
  t.strictSame(JSON.parse((await say(none, ['policy', 'ls', '--json'])).out).bypass, []);
});

t.test('removals: a person is asked, a script is not, no leaves the rule', async (t) => {
  const world = await startWorld(t);
  await say(world, [...ALLOW, 'a.com,b.com,c.com']);
  await say(world, ['sandbox', 'add', 'box']);
  await say(world, [...ALLOW, '--sandbox', 'box', 'a.com']);
  const no = await say(world, [...RM, '--resource', 'a.com'], '\r');
  t.match(no.out, 'Remove network rules from global (resources=a.com)?');
  t.strictSame([no.code, no.err], [1, 'Cancelled\n']);
  const yes = await say(world, [...RM, 'box', '--resource', 'a.com'], 'y\r');
  t.match(yes.out, 'Remove network rules from sandbox:box (resources=a.com)?');
  t.match(yes.out, /Rule removed from policy local: resources=a\.com\n$/);
  const forced = await say(world, [...RM, '--resource', 'b.com', '--force'], '');
  t.equal(forced.out, 'Rule removed from policy local: resources=b.com\n', 'nothing was asked');
  const script = await say(world, [...RM, '-g', '--resource', 'C.com']);
  t.equal(script.out, 'Rule removed from policy local: resources=c.com\n');
  const { rules } = JSON.parse(
    (await say(world, ['policy', 'ls', '--json', '--created-via', 'added'])).out,
  );
  t.match(rules, [{ resources: ['a.com'], scope: 'global' }]);
  t.equal(rules.length, 1);
  for (const [words, fault] of [
    [[], 'at least one selector is required: use --id or --resource'],
    [['--id', 'x', '--resource', 'y'], '--id and --resource exclude each other'],
    [['-g', 'box', '--resource', 'y'], '--global and a sandbox exclude each other'],
    [['box', '--sandbox', 'other', '--resource', 'a.com'], 'name the sandbox once'],
    [['--resource', 'zz.com'], '"zz.com"'],
    [['--id', 'local:nope'], 'rule "local:nope" not found'],
  ] as const) {
    const { code, err } = await say(world, [...RM, ...words]);
    t.equal(code, 1);
    t.match(err, fault);
  }
});

t.test('reset without a person needs --force', async (t) => {
  const world = await startWorld(t);
  const { code, err } = await say(world, ['policy', 'reset']);
  t.equal(code, 1);
  t.match(err, 'stdin is not a terminal; use --force to skip confirmation');
  const no = await say(world, ['policy', 'reset'], 'n\r');
  t.strictSame([no.code, no.err], [1, 'Cancelled\n']);
});

t.test('--json prints one document, everywhere', async (t) => {
  const world = await startWorld(t, { preset: undefined });
  for (const words of [
    ['policy', 'set-default', 'balanced'],
    ['sandbox', 'add', 'box'],
    ['sandbox', 'ls'],
    ['sandbox', 'token', 'box', '--rotate'],
    ['policy', 'allow', 'network', 'a.com'],
    ['policy', 'deny', 'network', 'box', 'b.com'],
    ['policy', 'ls'],
    ['policy', 'check', 'network', 'a.com'],
    ['policy', 'log'],
    ['policy', 'rm', 'network', '--resource', 'a.com'],
    ['sandbox', 'rm', 'box'],
    ['daemon', 'status'],
    ['daemon', 'log-level'],
    ['daemon', 'log-level', 'set', 'all', 'error'],
  ]) {
    const { code, out, err } = await say(world, [...words, '--json']);
    t.equal(code, 0, `${words.join(' ')}: ${err}`);
    t.type(JSON.parse(out), 'object', words.join(' '));
  }
});

t.test('--json tells what failed, too: in one document, beside the words for people', async (t) => {
  const world = await startWorld(t);
  for (const [words, code, exitCode, said] of [
    [['policy', 'ls', 'nobody'], 'SALLYPORT_NOT_FOUND', 1, 'sandbox "nobody" not found'],
    [['policy', 'check', 'network', '::::'], 'SALLYPORT_TARGET_INVALID', 2, '"::::"'],
    [[...ALLOW, 'a..b'], 'SALLYPORT_POLICY_INVALID', 1, 'a label is empty'],
    [['policy', 'ls', '--foo'], 'SALLYPORT_USAGE', 1, "unknown option '--foo'"],
    [['policy', 'log', '--limit', 'x'], 'SALLYPORT_USAGE', 1, 'whole number'],
    [['secret', 'rm', 'x'], 'SALLYPORT_USAGE', 1, 'use --force'],
  ] as const) {
    const ran = await say(world, [...words, '--json']);
    t.equal(ran.code, exitCode, words.join(' '));
    const { hint, ...failure } = JSON.parse(ran.out);
    t.match(failure, { code, message: said }, words.join(' '));
    t.notMatch(failure.message, /^error/i);
    t.ok(hint.length > 0);
    t.match(ran.err, /^ERROR: .*\n.+\n/);
    t.match(ran.err, failure.message);
  }
  const left = await say(world, ['policy', 'reset', '--json'], '\u0004');
  t.match(left.out, /\{"code":"SALLYPORT_CANCELLED",.*\}\n$/);
  const help = await say(world, ['policy', 'ls', '--json', '--help']);
  t.strictSame([help.code, help.err], [0, '']);
  t.match(help.out, /^Usage: /);
  const others = await say(world, ['run', '--sandbox', 'nobody', 'x', '--json']);
  t.strictSame([others.code, others.out], [125, ''], 'that is for the command');
});

t.test('words that do not exist: what is meant is said, and where to read on', async (t) => {
  const world = await startWorld(t);
  for (const [words, code, ...said] of [
    [['polcy'], 1, "ERROR: unknown command 'polcy'", 'Did you mean policy?', '(see sbx --help)'],
    [['policy', 'alow'], 1, 'Did you mean allow?', '(see sbx policy --help)'],
    [['policy', 'ls', '--jsn'], 1, 'Did you mean --json?', '(see sbx policy ls --help)'],
    [['policy', 'ls', '--layout', 'x'], 1, 'are provenance, origin, overview, wide.'],
    [['policy', 'check', 'network'], 2, "missing required argument 'target'"],
    [['policy', 'check', 'network', 'a b'], 2, '"a b"', 'Name a host, host:port'],
    [['policy', 'allow', 'network', 'check', 'a'], 1, 'sandbox "check" not found'],
    [['policy', 'log', '--limit', '-1'], 1, 'whole number'],
    [['daemon', 'log-level', 'set', 'foo', 'info'], 1, 'general, proxy, all'],
    [['policy', 'ls', 'a', '--sandbox', 'b'], 1, 'name the sandbox once, with --sandbox'],
    [['policy', 'log', 'a', '--sandbox', 'b'], 1, 'name the sandbox once, with --sandbox'],
    [['policy', 'approval', 'ls', 'a', '--sandbox', 'b'], 1, 'name the sandbox once'],
    [['sandbox', 'token', 'box'], 1, '--rotate'],
    [['sandbox', 'add', 'A B'], 1, '"A B"', 'Nothing was changed.'],
    [['daemon', 'start', '--drain-timeout', '25h'], 1, 'A day (24h) is the most.'],
  ] as const) {
    const ran = await say(world, words);
    t.strictSame([ran.code, ran.out], [code, ''], words.join(' '));
    t.match(ran.err, /^ERROR: /);
    for (const text of said) t.match(ran.err, text as string);
  }
  t.equal((await say(world, ['policy', '--help'])).code, 0);
});
