// Filesystem rules against real folders and links: added, judged, recorded, removed. Covers
// src/control/policy/path-rules.ts, src/control/policy/path-rule-store.ts, src/control/policy/mount-answers.ts,
// src/control/api/routes-filesystem.ts, src/control/api/schemas-filesystem.ts and src/control/audit/decided.ts too.
import { mkdirSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { SallyportError } from '../../../src/base/errors.ts';
import type { MountExplained, MountResult } from '../../../src/control/api/schemas-filesystem.ts';
import { Mounts } from '../../../src/control/policy/mounts.ts';
import { parsePathPatterns } from '../../../src/policy/file-pattern.ts';
import { recordsIn } from '../../helpers/audit.ts';
import { startWorld, temporaryEnv, temporaryFolder, type World } from '../../helpers/control.ts';

/** A place of one's own with folders in it, without links on its way. */
function place(t: Test, ...folders: string[]): string {
  const root = realpathSync(temporaryFolder(t));
  for (const folder of folders) mkdirSync(join(root, folder), { recursive: true });
  return root;
}

const RULES = '/policy/filesystem/rules';

function ask(world: World, path: string, writable = false, sandbox?: string): Promise<MountResult> {
  const scope = sandbox === undefined ? {} : { sandbox_id: sandbox };
  return world.client.post('/policy/filesystem/check', { path, writable, ...scope });
}

async function deny(world: World, ...resources: string[]): Promise<string[]> {
  const body = { decision: 'deny', resources };
  const { rules } = await world.client.post<{ rules: { id: string }[] }>(RULES, body);
  return rules.map(({ id }) => id);
}

t.test('by default every path may be mounted, but not the proxy itself', async (t) => {
  const world = await startWorld(t);
  const root = place(t, 'src');
  t.match(await ask(world, join(root, 'src'), true), {
    allowed: true,
    action: 'fs:mount:write',
    resource_type: 'fs:path',
    resource_value: join(root, 'src'),
    found: { directory: true },
    accesses: [
      { action: 'fs:mount:read', allowed: true, rule: 'default-fs-read-allow-all' },
      { action: 'fs:mount:write', allowed: true, rule: 'default-fs-write-allow-all' },
    ],
  });
  for (const path of ['/', world.paths.state, join(world.paths.state, '..'), world.paths.audit]) {
    t.match(
      await ask(world, path),
      { allowed: false, deny_kind: 'explicit', reason: /keys/ },
      path,
    );
  }
});

t.test('where a path leads is judged, not how it is written', async (t) => {
  const world = await startWorld(t);
  const root = place(t, 'secret/deep', 'src');
  symlinkSync(join(root, 'secret'), join(root, 'src/link'));
  await deny(world, `${root}/secret/**`);
  for (const path of ['secret', 'secret/deep', 'src/link', 'src/link/new', 'src/../secret']) {
    const told = await ask(world, `${root}/${path}`);
    t.match(told, { allowed: false, reason: 'Denied by local rule' }, path);
    t.ok(told.resource_value.startsWith(`${root}/secret`), told.resource_value);
  }
  t.match(await ask(world, join(root, 'src')), { allowed: true });
  rmSync(join(root, 'src/link'));
  symlinkSync(join(root, 'nowhere'), join(root, 'src/link'));
  await t.rejects(ask(world, join(root, 'src/link')), { code: 'SALLYPORT_PATH_UNREADABLE' });
});

t.test('a deny follows the link that it names; an allow may have none', async (t) => {
  const world = await startWorld(t);
  const root = place(t, 'disk1/secret', 'disk2/secret');
  const link = join(root, 'data');
  symlinkSync(join(root, 'disk1'), link);
  await deny(world, `${link}/secret/**`);
  t.match(await ask(world, join(root, 'disk1/secret')), { allowed: false });
  t.match(await ask(world, join(root, 'disk2/secret')), { allowed: true });
  rmSync(link);
  symlinkSync(join(root, 'disk2'), link);
  t.match(await ask(world, join(root, 'disk1/secret')), { allowed: true });
  t.match(await ask(world, join(root, 'disk2/secret')), { allowed: false }, 'as it leads now');
  const body = { decision: 'allow', resources: [`${link}/x/**`, `${root}/disk1/**`] };
  await t.rejects(world.client.post(RULES, body), {
    code: 'SALLYPORT_POLICY_INVALID',
    message: `"${link}/x/**": a link is on the way; name "${root}/disk2/x/**"`,
  });
});

t.test('~ is the home of the user, through a link or not', async (t) => {
  const root = place(t, 'homes/me/src', 'homes/me/.ssh');
  symlinkSync(join(root, 'homes'), join(root, 'home'));
  const env = { ...temporaryEnv(t), HOME: join(root, 'home/me') };
  const world = await startWorld(t, {}, env);
  await deny(world, '~/.ssh/**');
  t.match(await ask(world, '~/.ssh'), { allowed: false, resource_value: `${root}/homes/me/.ssh` });
  t.match(await ask(world, `${root}/home/me/.ssh/x`), { allowed: false });
  t.match(await ask(world, '~/src'), { allowed: true });
  await t.rejects(ask(world, '~other/src'), { code: 'SALLYPORT_PATH_INVALID' });
  await world.client.post(RULES, { decision: 'allow', resources: ['~/src/**'] });
});

t.test('a mount is answered, recorded and told', async (t) => {
  const world = await startWorld(t);
  await world.client.post('/sandbox', { name: 'box' });
  const root = place(t, 'src', 'locked');
  const [, write] = await deny(world, `${root}/locked`);
  const mount = (path: string) =>
    world.client.post<MountResult>('/policy/filesystem/mount', {
      path,
      writable: true,
      sandbox_id: 'box',
    });
  t.match(await mount(`${root}/src`), { allowed: true, context: 'sandbox:box' });
  const locked = `${root}/locked`;
  await world.client.delete(RULES, {}, { resources: [locked], accesses: ['read'] });
  await t.rejects(mount(locked), {
    code: 'SALLYPORT_MOUNT_DENIED',
    message:
      `403 Forbidden: mount policy denied: ${locked}: fs:mount:write denied: ` +
      `rule "local:${write}" matched op(action=fs:mount:write, resource=fs:path:${locked})`,
  });
  symlinkSync('nowhere', join(root, 'dangling'));
  await t.rejects(mount(join(root, 'dangling')), { code: 'SALLYPORT_PATH_UNREADABLE' });
  await ask(world, `${root}/locked`); // A check leaves no trace.
  const log = await world.client.get('/network/log', { type: 'filesystem' });
  t.match(log, {
    allowed_hosts: [
      {
        host: `${root}/src`,
        vm_name: 'box',
        proxy_type: 'mount:write',
        rule: 'default-fs-read-allow-all, default-fs-write-allow-all',
      },
    ],
    blocked_hosts: [{ host: join(root, 'dangling') }, { host: locked, count_since: 1 }],
  });
  t.match(await world.client.get('/network/log'), { allowed_hosts: [], blocked_hosts: [] });
  await world.instance.stop(0);
  t.match(
    recordsIn(world.paths.audit).filter(({ action_type: type }) => type === 'filesystem_mount'),
    [
      { action_type: 'filesystem_mount', sandbox: 'box', verdict: 'allow', code: null },
      { resolved: locked, verdict: 'deny', rules: ['default-fs-read-allow-all', write] },
      { resolved: null, code: 'SALLYPORT_PATH_UNREADABLE', reason: /leads nowhere/ },
    ],
  );
});

t.test('rules of a sandbox end with it, and all survive a restart', async (t) => {
  const world = await startWorld(t);
  const root = place(t, 'src');
  await world.client.post('/sandbox', { name: 'box' });
  const body = { decision: 'deny', resources: [`${root}/**`] };
  await world.client.post(RULES, { ...body, sandbox: 'box' });
  const [read] = await deny(world, '/nobody');
  t.match(await ask(world, `${root}/src`, false, 'box'), { allowed: false });
  t.match(await ask(world, `${root}/src`), { allowed: true });
  await t.rejects(ask(world, root, false, 'nobody'), { code: 'SALLYPORT_NOT_FOUND' });
  await world.client.close();
  await world.instance.stop(0);
  const again = await startWorld(t, { preset: undefined }, world.env);
  t.match(await ask(again, `${root}/src`, false, 'box'), { allowed: false });
  await again.client.delete('/sandbox/box');
  const ids = again.instance.policy.pathRules.map(({ id }) => id);
  t.strictSame(ids.slice(0, 3), ['default-fs-read-allow-all', 'default-fs-write-allow-all', read]);
  t.equal(ids.length, 4);
  await again.instance.policy.reset();
  t.strictSame(again.instance.policy.pathRules, []);
  t.match(await ask(again, root), { allowed: false, deny_kind: 'implicit' });
});

t.test('removal: by id, by pattern, and what stays', async (t) => {
  const world = await startWorld(t);
  const rm = (body: object) => world.client.delete(RULES, {}, body);
  const [read, write] = await deny(world, '/a', '/b');
  t.match(await rm({ resources: ['/a'], accesses: ['read'] }), {
    removed: [{ id: read, resources: ['/a'] }],
  });
  await t.rejects(rm({ resources: ['/b', '/c'] }), { message: 'no rule has the resource "/c"' });
  t.match(await rm({ id: `local:${write}` }), { removed: [{ resources: ['/a', '/b'] }] });
  t.match(world.instance.policy.pathRules.at(-1), { id: read, patterns: [{ text: '/b' }] });
  await t.rejects(rm({ id: 'nope' }), { code: 'SALLYPORT_NOT_FOUND' });
  await t.rejects(rm({}), { code: 'SALLYPORT_USAGE' });
  const fixed = { code: 'SALLYPORT_CONFLICT', message: /belongs to the default policy/ };
  await t.rejects(rm({ id: 'default-fs-read-allow-all' }), fixed);
  await t.rejects(rm({ resources: ['**'] }), fixed);
  await world.instance.policy.setSemantics({ defaults: 'removable', conflicts: 'refuse' });
  await rm({ resources: ['**'], accesses: ['write'] });
  t.match(await ask(world, '/usr', true), {
    allowed: false,
    action: 'fs:mount:write',
    message: /^403 Forbidden: mount policy denied: \/usr: fs:mount:write denied: no applicable/,
  });
  await t.rejects(world.client.post(RULES, { decision: 'allow', resources: ['/b'] }), {
    code: 'SALLYPORT_CONFLICT',
    message: `allow filesystem rule: allow: "/b" conflicts with existing deny rule "${read}"`,
  });
});

t.test('bad rules are refused whole, with every fault', async (t) => {
  const world = await startWorld(t);
  for (const [resources, message] of [
    [['/ok', 'x', '/a/../b'], /element 2 "x".*element 3/],
    [['C:\\data\\**'], /it matches no path of this system/],
    [[], /resources/],
  ] as const) {
    const body = { decision: 'deny', resources };
    await t.rejects(world.client.post(RULES, body), { message });
  }
  t.equal(world.instance.policy.pathRules.length, 2);
  const many = Array.from({ length: 250 }, (_, i) => `/${i}`);
  for (let i = 0; i < 19; i++) await deny(world, ...many);
  await deny(world, ...many.slice(0, 249));
  await t.rejects(deny(world, '/one-more'), { code: 'SALLYPORT_POLICY_TOO_LARGE' });
  const startedMs = performance.now();
  t.match(await ask(world, '/usr'), { allowed: true });
  t.ok(performance.now() - startedMs < 3_000, 'with as many rules as there can be');
});

t.test('an organisation decides, and its rules are not told', async (t) => {
  const world = await startWorld(t);
  const { policy } = world.instance;
  const root = place(t, 'src/project', 'other');
  const org = {
    organization: 'my-org',
    delegates: [],
    available: true,
    supportMessage: 'Ask us.',
  } as const;
  const rule = { name: 'allow src', policy: { id: 'pol_1', name: 'default filesystem' } };
  const given = (id: string, decision: 'allow' | 'deny', ...texts: string[]) =>
    (['read', 'write'] as const).map((access) => {
      const patterns = parsePathPatterns(texts);
      return { ...rule, id: `${id}.${access}`, decision, access, patterns };
    });
  await policy.govern(
    org,
    [],
    [...given('rule_1', 'allow', `${root}/src/**`), ...given('rule_2', 'deny', `${root}/src`)],
  );
  t.match(await ask(world, `${root}/src/project`, true), { allowed: true });
  t.match(await ask(world, `${root}/other`), { allowed: false, deny_kind: 'implicit' });
  const denied = await ask(world, `${root}/src`);
  t.match(denied, { allowed: false, origin: 'org', governance: { organization: 'my-org' } });
  t.match(denied.message ?? '', /fs:mount:read denied: Denied by organization policy\nAsk us\.$/);
  const { rules } = await world.client.get<{ rules: object[] }>('/policy/network/rules', {
    type: 'filesystem',
    include_inactive: 'true',
  });
  t.match(rules, [
    { id: 'default-fs-read-allow-all', status: 'inactive', inactive_reason: /does not delegate/ },
    { status: 'inactive' },
    { origin: 'org', policy_name: 'default filesystem', resource_type: 'filesystem:read' },
    { status: 'active' },
    { decision: 'deny' },
    { decision: 'deny' },
  ]);
  const told = await world.client.post<MountExplained>('/policy/filesystem/explain', {
    path: `${root}/other`,
  });
  t.match(told, {
    inactive: [{ rule: 'default-fs-read-allow-all', why: /does not delegate/ }],
    change: { commands: [], note: /your organization decides/ },
  });
  await policy.setAvailable(false);
  t.match(await ask(world, `${root}/src/project`), { allowed: false });
  await policy.govern({ ...org, delegates: ['filesystem'] });
  t.match(await ask(world, `${root}/other`), { allowed: true });
  t.equal(policy.pathRules.length, 2, 'what it said before is gone');
});

t.test('what waits too long is recorded, and is not too long to be', async (t) => {
  const recorded: object[] = [];
  const mounts = new Mounts({
    policy: { generation: 1 } as never,
    scopes: { numberOf: () => 1 },
    disk: {
      style: 'linux',
      look: async () => {
        throw new SallyportError('SALLYPORT_PATH_UNREADABLE', 'the disk had no time for it');
      },
    } as never,
    home: '/home/me',
    reserved: [],
    decisions: { record: async (decided) => void recorded.push(decided) },
    clock: systemClock,
  });
  const ask = (path: string) => mounts.mount({ path, writable: false });
  await t.rejects(ask('/src'), { code: 'SALLYPORT_PATH_UNREADABLE' });
  await t.rejects(ask(`/${'x'.repeat(4_096)}`), { code: 'SALLYPORT_PATH_INVALID' });
  t.match(recorded, [{ place: '/src', verdict: 'deny' }]);
  t.equal(recorded.length, 1);
});
