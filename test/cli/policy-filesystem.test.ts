// `policy allow|deny|rm|check filesystem`, `policy explain PATH` and their log, typed against a daemon.
import { mkdirSync, realpathSync, symlinkSync } from 'node:fs';
import { join, relative } from 'node:path';
import t from 'tap';
import { startWorld, temporaryFolder, type World } from '../helpers/control.ts';
import { type Said, say } from './session.ts';

async function ok(world: World, ...words: string[]): Promise<string> {
  const { code, out, err } = await say(world, words);
  if (code !== 0) throw new Error(`${words.join(' ')}: ${err}${out}`);
  return out;
}

const check = (world: World, ...words: string[]): Promise<Said> =>
  say(world, ['policy', 'check', 'filesystem', ...words]);

t.test('add, list, check, inspect, remove', async (t) => {
  const world = await startWorld(t);
  const root = realpathSync(temporaryFolder(t));
  mkdirSync(join(root, 'src/inner'), { recursive: true });
  const added = await ok(world, 'policy', 'deny', 'filesystem', `${root}/src/**`, '~/.ssh/**');
  const [, read = '', write = ''] =
    /^Rule added to policy local \(scope: global\): (\S{36}) \(\S+\/src\/\*\*, ~\/\.ssh\/\*\* \[read\]\)\nRule added .*: (\S{36}) \(.* \[write\]\)\n$/.exec(
      added,
    ) ?? [];
  t.not(write, '');
  const listing = await ok(world, 'policy', 'ls', '--type', 'filesystem');
  t.match(listing, /^PROVENANCE +APPLIES_TO +POLICY\/RULE +TYPE +DECISION +RESOURCES\n/);
  t.match(listing, /\nlocal +all +default-fs-write-allow-all +filesystem:write +allow +\*\*\n/);
  t.match(listing, new RegExp(`\nlocal +all +local:${read} +filesystem:read +deny +${root}`));
  t.match(
    await ok(world, 'policy', 'ls', '--layout', 'overview'),
    'filesystem read: 1 allow, 2 deny',
  );
  t.match(await check(world, `${root}/src/inner`), {
    code: 1,
    out: `Denied: ${root}/src/inner\nGovernance: Local policy only\nContext: global\nReason: Denied by local rule\n`,
  });
  const here = relative(process.cwd(), root);
  t.match(await check(world, `${here}/src/../src`, '--write', '--verbose'), {
    code: 1,
    out: /\nFound: a folder\nfs:mount:read: denied \(rule local:.*\nfs:mount:write: denied .*\nMessage: 403 Forbidden: mount policy denied: /,
  });
  t.match(await check(world, root, '--write'), { code: 0, out: `Allowed: ${root}\n` });
  const json = JSON.parse((await check(world, root, '--json')).out);
  t.match(json, { type: 'filesystem', action: 'fs:mount:read', allowed: true });
  const inspected = await ok(world, 'policy', 'inspect', `rule:${read}`);
  t.match(inspected, `Remove:     sbx policy rm filesystem --id ${read}`);
  t.match(inspected, /Type: +filesystem:read/);
  t.equal(
    await ok(world, 'policy', 'rm', 'filesystem', '--id', read),
    `Rule removed from policy local: resources=${root}/src/**,~/.ssh/**\n`,
  );
  await ok(world, 'policy', 'rm', 'filesystem', '--write', '--resource', '~/.ssh/**');
  t.match((await check(world, `${root}/src`, '--write')).code, 1);
  await ok(world, 'policy', 'rm', 'filesystem', '--resource', `${root}/src/**`);
  t.equal((await check(world, `${root}/src`, '--write')).code, 0);
});

t.test('explain tells why, and its commands turn it around', async (t) => {
  const world = await startWorld(t);
  await ok(world, 'sandbox', 'add', 'box');
  const root = realpathSync(temporaryFolder(t));
  mkdirSync(join(root, 'a b'));
  await ok(world, 'policy', 'deny', 'filesystem', '--write', '--sandbox', 'box', `${root}/**`);
  const words = ['policy', 'explain', `${root}/a b`, '--write', '--sandbox', 'box'];
  const told = await ok(world, ...words);
  t.match(told, `Denied: ${root}/a b\nContext: sandbox:box\nWhy: local rule `);
  t.match(told, `  decides  deny  write ${root}/**\n    rule local:`);
  t.match(told, '  overruled  allow  write **\n');
  const command = /\nTo allow it:\n {2}sbx (policy rm filesystem --id \S+)\n/.exec(told)?.[1] ?? '';
  await ok(world, ...command.split(' '));
  const after = JSON.parse(await ok(world, ...words, '--json'));
  t.match(after, {
    allowed: true,
    change: { commands: [`sbx policy deny filesystem --sandbox box --write '${root}/a b'`] },
  });
});

t.test('the log has mounts under a type of their own', async (t) => {
  const world = await startWorld(t);
  const root = realpathSync(temporaryFolder(t));
  await world.client.post('/policy/filesystem/mount', { path: root });
  const log = await ok(world, 'policy', 'log');
  t.match(log, /^Allowed requests:\nSANDBOX +TYPE +HOST +PROXY +RULE/);
  t.match(log, new RegExp(`\n +filesystem +${root} +mount:read +default-fs-read-allow-all +`));
  t.equal(await ok(world, 'policy', 'log', '--type', 'network'), 'No policy log entries found\n');
  t.match(await ok(world, 'policy', 'log', '--type', 'filesystem'), root);
});

t.test('faults', async (t) => {
  const world = await startWorld(t);
  const root = realpathSync(temporaryFolder(t));
  symlinkSync('nowhere', join(root, 'dangling'));
  for (const [words, code, fault] of [
    [['deny', 'filesystem', 'x', '/..'], 1, /element 1 "x".*element 2 "\/\.\."/],
    [['allow', 'filesystem', 'C:\\x\\**'], 1, /matches no path of this system/],
    [['allow', 'filesystem'], 1, /missing required argument/],
    [['deny', 'filesystem', '/a', '-g', '--sandbox', 'box'], 1, /exclude each other/],
    [['deny', 'filesystem', '/a', '--sandbox', 'box'], 1, /sandbox "box" not found/],
    [['rm', 'filesystem'], 1, /at least one selector/],
    [['rm', 'filesystem', '--id', 'a', '--resource', 'b'], 1, /exclude each other/],
    [['rm', 'filesystem', '--id', 'a', '--read'], 1, /need --resource/],
    [['rm', 'filesystem', '--id', 'a'], 1, /filesystem rule "a" not found/],
    [['check', 'filesystem', join(root, 'dangling')], 2, /leads nowhere/],
    [['check', 'filesystem', '/a\nb'], 2, /control character/],
    [['check', 'filesystem', '/a', '--read', '--write'], 2, /cannot be used with/],
    [['explain', '/a\tb'], 1, /control character/],
  ] as const) {
    const said = await say(world, ['policy', ...words]);
    t.equal(said.code, code, words.join(' '));
    t.match(said.err, fault);
  }
  const declined = await say(world, ['policy', 'rm', 'filesystem', '--resource', '**'], 'n\r');
  t.match(declined, {
    code: 1,
    err: 'Cancelled\n',
    out: /Remove filesystem rules from global \(res/,
  });
});
