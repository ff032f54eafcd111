// `policy diff` typed, between files and from the policy in force.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { resolvePaths } from '../../src/control/paths.ts';
import { startWorld, temporaryEnv, temporaryFolder } from '../helpers/control.ts';
import { say } from './session.ts';

function files(t: Parameters<typeof temporaryFolder>[0], ...texts: string[]): string[] {
  const folder = temporaryFolder(t);
  return texts.map((text, i) => {
    const path = join(folder, `${i}.yaml`);
    writeFileSync(path, `version: 1\npreset: deny-all\n${text}`);
    return path;
  });
}

t.test('between two files, without a daemon', async (t) => {
  const world = { paths: resolvePaths(temporaryEnv(t)) };
  const [a = '', b = ''] = files(
    t,
    `rules:
  - id: web
    allow: ["*.example.com", old.net]
  - {allow: api.net, methods: [GET], paths: [/a]}
`,
    `rules:
  - id: web
    allow: ["*.example.com"]
  - {allow: api.net, methods: [GET, POST], paths: [/a]}
  - allow: a.example.com
  - deny: 8.8.8.0/24
sandboxes:
  box:
    - deny: bad.example.com
`,
  );
  const { code, out, err } = await say(world, ['policy', 'diff', a, b]);
  t.equal(code, 1, err);
  t.equal(
    out,
    `- allow old.net [tcp] (global, rule web)
    old.net:443: allowed -> denied
- allow api.net --method GET --path /a (global, rule ${a}:6:5)
    no request was found that it decides otherwise
+ allow api.net --method GET,POST --path /a (global, rule ${b}:6:5)
    POST api.net:443/a: denied -> allowed
+ allow a.example.com [tcp] (global, rule ${b}:7:5)
    no request was found that it decides otherwise
+ deny 8.8.8.0/24 [tcp,udp] (global, rule ${b}:8:5)
    witness.example.com:443 leading to 8.8.8.0: allowed -> denied
+ deny bad.example.com [tcp,udp] (sandbox:box, rule ${b}:11:7)
    bad.example.com:443 from box: allowed -> denied
6 changes; for 2 no request was found that shows it
`,
  );
  const json = JSON.parse((await say(world, ['policy', 'diff', '--json', a, b])).out);
  t.equal(json.changes.length, 6);
  t.match(json.changes[5], {
    op: 'add',
    scope: 'sandbox:box',
    resource: 'bad.example.com',
    witness: { sandbox: 'box', target: 'bad.example.com:443', before: 'allow', after: 'deny' },
  });
  t.equal(json.changes[1].witness, null);
  const same = await say(world, ['policy', 'diff', a, a]);
  t.strictSame([same.code, same.out], [0, 'No network rules differ.\n']);
  const bad = await say(world, ['policy', 'diff', a, '/nonexistent']);
  t.equal(bad.code, 2);
});

t.test('the guard makes a difference', async (t) => {
  const world = { paths: resolvePaths(temporaryEnv(t)) };
  const [a = '', b = ''] = files(
    t,
    'rules: [{allow: "**"}]',
    'rules: [{allow: "**"}, {deny: 10.0.0.0/8}]',
  );
  t.match((await say(world, ['policy', 'diff', a, b])).out, 'no request was found');
  const docker = await say(world, ['policy', 'diff', a, b, '--address-guard', 'docker']);
  t.match(docker.out, '    10.0.0.0:443: allowed -> denied\n');
});

t.test('from the policy in force to a file', async (t) => {
  const world = await startWorld(t);
  await say(world, ['policy', 'allow', 'network', 'a.com']);
  const [same = '', other = ''] = files(t, 'rules: [{allow: a.com}]', 'rules: [{allow: b.com}]');
  t.equal((await say(world, ['policy', 'diff', same])).code, 0);
  const { code, out } = await say(world, ['policy', 'diff', other]);
  t.equal(code, 1);
  t.match(out, /^- allow a\.com \[tcp\] \(global, rule /);
  t.match(out, '+ allow b.com [tcp]');
});
