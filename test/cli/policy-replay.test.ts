// `policy replay` typed, on an audit that a daemon wrote.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Audit } from '../../src/control/audit/audit.ts';
import { resolvePaths } from '../../src/control/paths.ts';
import { outcomeOf, PLAIN_AUDIT, temporaryEnv, temporaryFolder } from '../helpers/control.ts';
import { say } from './session.ts';

t.test('what would change, as text, as JSON and as exit code', async (t) => {
  const world = { paths: resolvePaths(temporaryEnv(t)) };
  const { audit: folder } = world.paths;
  mkdirSync(folder, { recursive: true });
  const audit = await Audit.open({ ...PLAIN_AUDIT, folder, onTrouble: () => {} });
  await audit.record([
    outcomeOf({ host: 'a.com' }),
    outcomeOf({ host: 'a.com', time_ms: Date.now() }),
    outcomeOf({ host: 'b.com', verdict: 'deny', deny_kind: 'implicit', rule: null, address: null }),
    outcomeOf({ host: 'c.com' }),
    outcomeOf({ host: 'd.com', method: 'GET', path: '/x', mode: 'forward' }),
  ]);
  await audit.close();
  const policy = join(temporaryFolder(t), 'p.yaml');
  const rules = (text: string): void => writeFileSync(policy, `version: 1\nrules: ${text}\n`);

  rules('[{allow: "a.com,c.com,d.com,192.0.2.0/24"}]');
  const same = await say(world, ['policy', 'replay', '--policy', policy]);
  t.strictSame(
    [same.code, same.out],
    [0, '5 exchanges: 0 newly denied, 0 newly allowed, 0 not to be judged again\n'],
    same.err,
  );

  rules(
    '[{allow: "b.com,d.com,192.0.2.0/24"}, {allow: c.com, methods: [GET]}, {deny: d.com, id: no-d}]',
  );
  const { code, out } = await say(world, ['policy', 'replay', '--policy', policy, '--log', folder]);
  t.equal(code, 1);
  const lines = out.split('\n').map((line) => line.split(/ {2,}/));
  t.strictSame(lines, [
    ['Newly denied:'],
    ['SANDBOX', 'REQUEST', 'COUNT', 'FIRST', 'RULE BEFORE', 'RULE AFTER', 'REASON'],
    [
      'box',
      'CONNECT a.com:443',
      '2',
      '1',
      'default-allow-all',
      '-',
      'No matching allow rule (default deny)',
    ],
    ['box', 'GET d.com:443/x', '1', '5', 'default-allow-all', 'no-d', 'Denied by local rule'],
    [''],
    ['Newly allowed:'],
    ['SANDBOX', 'REQUEST', 'COUNT', 'FIRST', 'RULE BEFORE', 'RULE AFTER', 'REASON'],
    ['box', 'CONNECT b.com:443', '1', '3', '-', `${policy}:2:9`],
    [''],
    ['Not to be judged again:'],
    ['SANDBOX', 'REQUEST', 'COUNT', 'FIRST', 'RULE BEFORE', 'RULE AFTER', 'REASON'],
    [
      'box',
      'CONNECT c.com:443',
      '1',
      '4',
      'default-allow-all',
      '-',
      'HTTP rules cover it, and its requests were not seen',
    ],
    [''],
    ['5 exchanges: 3 newly denied, 1 newly allowed, 1 not to be judged again'],
    [''],
  ]);
  const json = JSON.parse(
    (await say(world, ['policy', 'replay', '--policy', policy, '--json'])).out,
  );
  t.match(json, { replayed: 5, newly_denied: 3, newly_allowed: 1, undecided: 1, omitted: 0 });
  t.equal(json.rows.length, 4);
  const since = await say(world, [
    'policy',
    'replay',
    '--policy',
    policy,
    '--since',
    '1h',
    '--json',
  ]);
  t.match(JSON.parse(since.out), { replayed: 1, newly_denied: 1 });

  rules('[{allow: "a.com,d.com,192.0.2.0/24"}, {allow: c.com, methods: [GET]}]');
  const replay = ['policy', 'replay', '--policy', policy];
  t.equal((await say(world, replay)).code, 0);
  t.equal((await say(world, [...replay, '--strict'])).code, 1);
});

t.test('errors have the exit code 2', async (t) => {
  const world = { paths: resolvePaths(temporaryEnv(t)) };
  const policy = join(temporaryFolder(t), 'p.yaml');
  writeFileSync(policy, 'version: 1\n');
  for (const [words, fault] of [
    [[], "required option '--policy <file>' not specified"],
    [['--policy', '/nonexistent'], 'cannot read /nonexistent'],
    [['--policy', policy, '--log', '/nonexistent'], '/nonexistent cannot be read'],
    [['--policy', policy, '--since', '1 day'], 'Write a time such as 30m, 1h or 7d.'],
  ] as const) {
    const { code, err } = await say(world, ['policy', 'replay', ...words]);
    t.equal(code, 2);
    t.match(err, fault);
  }
});
