// `sandbox add --kit` and `sandbox phase`, as they are typed.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { startWorld, temporaryFolder } from '../helpers/control.ts';
import { say } from './session.ts';

t.test('kits come from files, and their phase is told and changed', async (t) => {
  const world = await startWorld(t);
  const folder = temporaryFolder(t);
  const [docs, more] = [join(folder, 'docs.yaml'), join(folder, 'more.yaml')];
  writeFileSync(
    docs,
    `schemaVersion: "3"
kind: mixin
capabilities:
  - type: com.docker.sandbox/credential@1
    config: {}
  - type: com.docker.sandbox/network-policy@1
    config:
      install: {allow: [registry.npmjs.org]}
      runtime: {allow: [api.github.com]}
`,
  );
  writeFileSync(more, 'name: more\nruntime: {deny: [telemetry.example.com]}\n');
  const added = await say(world, [
    'sandbox',
    'add',
    'box',
    '--kit',
    docs,
    '--kit',
    more,
    '--phase',
    'install',
  ]);
  t.equal(added.code, 0);
  t.equal(added.err, `${docs}: not put in force here: com.docker.sandbox/credential@1\n`);
  t.match(
    (await say(world, ['sandbox', 'ls'])).out,
    /^NAME +LISTEN +SOURCE ADDRESS +KIT +PHASE +CREATED\nbox +- +- +docs\+more +install +20/,
  );
  t.equal((await say(world, ['sandbox', 'phase', 'box'])).out, 'install\n');
  const check = async (host: string) =>
    (await say(world, ['policy', 'check', 'network', '--sandbox', 'box', host])).code;
  t.strictSame([await check('registry.npmjs.org'), await check('api.github.com')], [0, 1]);
  const moved = await say(world, ['sandbox', 'phase', 'box', 'runtime']);
  t.equal(moved.out, 'Sandbox box is in phase runtime\n');
  t.strictSame([await check('registry.npmjs.org'), await check('api.github.com')], [1, 0]);
  const json = await say(world, ['sandbox', 'phase', 'box', 'runtime', '--json']);
  t.match(JSON.parse(json.out), { name: 'box', phase: 'runtime', kit: 'docs+more' });
});

t.test('what is wrong with a kit is told with its line, and nothing is registered', async (t) => {
  const world = await startWorld(t);
  const file = join(temporaryFolder(t), 'k.yaml');
  writeFileSync(file, 'runtime:\n  allow:\n    - good.com\n    - b..c\n');
  const refused = await say(world, ['sandbox', 'add', 'box', '--kit', file]);
  t.match(refused, { code: 1, err: `${file}:4:7: "b..c" is not a host name` });
  t.match(await say(world, ['sandbox', 'add', 'box', '--kit', '/none.yaml']), {
    code: 1,
    err: '/none.yaml',
  });
  t.equal((await say(world, ['sandbox', 'ls'])).out, 'No sandboxes are registered\n');
  t.match(await say(world, ['sandbox', 'phase', 'box', 'setup']), { code: 1, err: 'install' });
  t.match(await say(world, ['sandbox', 'phase', 'box']), { code: 1, err: 'not found' });
});

t.test('a kit from stdin', async (t) => {
  const world = await startWorld(t);
  const piped = '{"name":"piped","runtime":{"allow":["a.test"]}}';
  await say(world, ['sandbox', 'add', 'box', '--kit', '-'], null, { piped });
  const { code } = await say(world, ['policy', 'check', 'network', '--sandbox', 'box', 'a.test']);
  t.equal(code, 0);
});
