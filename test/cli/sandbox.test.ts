// `sandbox add --kit`, `sandbox phase` and `run --kit`, as they are typed. Covers src/cli/kit.ts.
import { readFileSync, writeFileSync } from 'node:fs';
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

t.test('run --kit: a kit for the sandbox of one command', async (t) => {
  const world = await startWorld(t);
  const file = join(temporaryFolder(t), 'k.yaml');
  writeFileSync(file, 'runtime: {allow: [a.test]}\n');
  const listing = join(temporaryFolder(t), 'listing');
  const command = `
    const { request } = require('node:http');
    const asked = request({ socketPath: ${JSON.stringify(world.paths.socket)}, path: '/policy/network/rules' }, (answer) =>
      answer.pipe(require('node:fs').createWriteStream(${JSON.stringify(listing)})));
    asked.end();
  `;
  const run = ['run', '--quiet', '--kit', file, '--', process.execPath, '-e', command];
  t.equal((await say(world, run)).code, 0);
  const { rules } = JSON.parse(readFileSync(listing, 'utf8'));
  t.match(rules.at(-1), { layer: 'kit', resources: ['a.test'], sandbox_id: /^run-/ });
  t.match(await world.client.get('/sandbox'), { sandboxes: [] }, 'gone with its sandbox');
  t.match(await say(world, ['run', '--sandbox', 'box', '--kit', file, '--', 'true']), {
    code: 125,
    err: 'leave out --sandbox',
  });
});
