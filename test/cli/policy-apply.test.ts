// `policy apply` and `policy export` typed against a daemon.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { startWorld, temporaryFolder, type World } from '../helpers/control.ts';
import { say } from './session.ts';

async function ok(world: World, ...words: string[]): Promise<string> {
  const { code, out, err } = await say(world, words);
  if (code !== 0) throw new Error(`${words.join(' ')}: ${err}`);
  return out;
}

const POLICY = `version: 1
preset: deny-all
rules:
  - id: web
    allow: [example.com, "*.example.com:443"]
  - {allow: api.net, methods: [GET], paths: [/a/**]}
sandboxes:
  box:
    - deny: ads.example.com
`;

t.test('a file is put in force, and what is in force is a file', async (t) => {
  const world = await startWorld(t, { preset: undefined });
  const folder = temporaryFolder(t);
  const [file, saved] = [join(folder, 'p.yaml'), join(folder, 'saved.yaml')];
  writeFileSync(file, POLICY);
  await ok(world, 'sandbox', 'add', 'box');

  const dry = await ok(world, 'policy', 'apply', '--dry-run', file);
  const diff = [
    'preset: none -> deny-all',
    '+ allow example.com, *.example.com:443 [tcp] (global web)',
    '+ allow api.net [GET /a/**] (global)',
    '+ deny ads.example.com [tcp,udp] (sandbox:box)',
  ].join('\n');
  t.equal(dry, `${diff}\nNothing was changed (--dry-run): 3 added, 0 removed, 0 changed, 0 kept\n`);
  t.equal(world.instance.policy.preset, null);

  const applied = await ok(world, 'policy', 'apply', file);
  t.equal(applied, `${diff}\nPolicy applied: 3 added, 0 removed, 0 changed, 0 kept\n`);
  const { code } = await say(world, ['policy', 'check', 'network', 'a.example.com']);
  t.equal(code, 0, 'it is in force');
  t.match(await ok(world, 'policy', 'explain', 'a.example.com'), 'rule web');

  const { generation } = world.instance.policy;
  t.match(await ok(world, 'policy', 'apply', file), /^No changes: .* \(3 rules\)\.\n$/);
  await ok(world, 'policy', 'export', saved);
  t.match(await ok(world, 'policy', 'apply', saved), 'No changes');
  await ok(world, 'policy', 'export', saved, '--json');
  t.match(JSON.parse(readFileSync(saved, 'utf8')), { version: 1, preset: 'deny-all' });
  t.match(await ok(world, 'policy', 'apply', saved), 'No changes');
  t.equal(world.instance.policy.generation, generation);

  const shown = await ok(world, 'policy', 'export');
  t.match(shown, /^# .*\nversion: 1\npreset: deny-all\nrules:\n {2}- id: web\n/);
  t.match(shown, '\nsandboxes:\n  box:\n    - deny: ads.example.com\n');
  t.notMatch(await ok(world, 'policy', 'export', '-g', '-'), 'sandboxes');

  writeFileSync(
    file,
    POLICY.replace('deny: ads', 'deny: bad').replace(', "*.example.com:443"', ''),
  );
  t.strictSame((await ok(world, 'policy', 'apply', file)).split('\n').slice(0, -2), [
    '- allow example.com, *.example.com:443 [tcp] (global web)',
    '+ allow example.com [tcp] (global web)',
    '+ deny bad.example.com [tcp,udp] (sandbox:box)',
    '- deny ads.example.com [tcp,udp] (sandbox:box)',
  ]);
});

t.test('rules are added to those that are there', async (t) => {
  const world = await startWorld(t, { preset: 'balanced' });
  await ok(world, 'policy', 'allow', 'network', 'a.com');
  const piped = 'version: 1\nrules: [{allow: a.com}, {allow: b.com}]';
  const alone = await say(world, ['policy', 'apply', '-'], null, { piped });
  t.equal(alone.code, 1);
  t.match(alone.err, 'ERROR: -: it names no preset, so it is no whole policy; --add adds');
  const { code, out } = await say(world, ['policy', 'apply', '--add', '-', '--json'], null, {
    piped,
  });
  t.equal(code, 0);
  t.match(JSON.parse(out), {
    applied: true,
    changes: [{ op: 'add', rule: { resources: ['b.com'], protocols: ['tcp'] } }],
    added: 1,
    removed: 0,
  });
  t.match(await ok(world, 'policy', 'ls'), 'a.com');
});

t.test('filesystem rules are in the file, too', async (t) => {
  const world = await startWorld(t);
  const file = join(temporaryFolder(t), 'p.yaml');
  await ok(world, 'sandbox', 'add', 'box');
  await ok(world, 'policy', 'deny', 'filesystem', '~/.ssh/**');
  await ok(world, 'policy', 'export', file);
  t.match(readFileSync(file, 'utf8'), '\nfilesystem:\n  - deny: ~/.ssh/**\n');
  t.match(await ok(world, 'policy', 'apply', file), 'No changes');
  writeFileSync(
    file,
    `version: 1
preset: deny-all
filesystem:
  - {allow: /data/**, access: [write], sandbox: box}
preset_filesystem:
  default-fs-read-allow-all: ["**"]
`,
  );
  const applied = await ok(world, 'policy', 'apply', file);
  t.strictSame(applied.replace(/ [0-9a-f-]{36}/g, '').split('\n'), [
    '+ allow /data/** [write] (sandbox:box)',
    '- allow ** [write] (global default-fs-write-allow-all)',
    '- deny ~/.ssh/** [read] (global)',
    '- deny ~/.ssh/** [write] (global)',
    'Policy applied: 1 added, 3 removed, 0 changed, 1 kept',
    '',
  ]);
  t.match(
    await ok(world, 'policy', 'export'),
    'preset_filesystem:\n  default-fs-read-allow-all: "**"\n',
  );
  writeFileSync(file, 'version: 1\npreset: deny-all\nfilesystem: [{deny: /x, sandbox: gone}]\n');
  const { code, err } = await say(world, ['policy', 'apply', file]);
  t.equal(code, 1);
  t.match(err, `ERROR: ${file}:3:14: sandbox "gone" not found`);
});

t.test('a preset that was changed is exported as it is', async (t) => {
  const world = await startWorld(t, { preset: 'balanced' });
  await world.instance.policy.setSemantics({ defaults: 'removable' });
  t.notMatch(await ok(world, 'policy', 'export'), 'preset_rules');
  await ok(world, 'policy', 'rm', 'network', '--resource', '*.npmjs.org:443');
  const file = join(temporaryFolder(t), 'p.yaml');
  await ok(world, 'policy', 'export', file);
  t.match(readFileSync(file, 'utf8'), 'preset_rules:\n  default-ai-services:');
  t.notMatch(readFileSync(file, 'utf8'), '"*.npmjs.org:443"');
  t.match(await ok(world, 'policy', 'apply', file), 'No changes');
  const other = await startWorld(t, { preset: 'allow-all' });
  t.match(await ok(other, 'policy', 'apply', file), 'preset: allow-all -> balanced');
  t.equal(await ok(other, 'policy', 'export'), await ok(world, 'policy', 'export'));
});

t.test('what is wrong is told with its place, and nothing is changed', async (t) => {
  const world = await startWorld(t);
  const file = join(temporaryFolder(t), 'p.yaml');
  for (const [text, fault] of [
    ['version: 1\nrules:\n  - allow: "*"', `${file}:3:12: "*": a lone * is ambiguous`],
    [POLICY, `${file}:8:3: sandbox "box" not found`],
    ['version: 1\npreset: deny-all\nrules:\n- allow: localhost', `${file}:4:10: "localhost"`],
    ['version: 1', `${file}: it names no preset`],
  ] as const) {
    writeFileSync(file, text);
    const { code, out, err } = await say(world, ['policy', 'apply', file]);
    t.strictSame([code, out], [1, '']);
    t.match(err, `ERROR: ${fault}`);
    t.match(err, 'Nothing was changed.');
  }
  t.equal(world.instance.policy.rules.length, 0);
  const unwritable = await say(world, ['policy', 'export', '/nonexistent/p.yaml']);
  t.equal(unwritable.code, 1);
  t.match(unwritable.err, 'cannot write /nonexistent/p.yaml: ENOENT');
});
