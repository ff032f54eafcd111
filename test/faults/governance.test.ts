// kill -9 on both sides of governance: the server loses no change that it acknowledged, and a daemon
// has one whole word of its organisation, never parts of two.
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ControlClient } from '../../src/control/api/client.ts';
import { resolvePaths } from '../../src/control/paths.ts';
import { waitUntilStopped } from '../../src/control/spawn.ts';
import { Store } from '../../src/control/store.ts';
import { execute } from '../helpers/cli.ts';
import { startDaemon, temporaryEnv, temporaryFolder } from '../helpers/control.ts';
import { type Caller, callerOf, serveProcess } from '../helpers/governance.ts';
import { organizationServer, policyOf } from '../helpers/organization.ts';

const SERVER_KILLS = 8;
const DAEMON_KILLS = 8;
const BIN = join(import.meta.dirname, '../../bin/sallyport.js');

/** What was acknowledged, and what was asked for without an answer. */
type Seen = { readonly added: Set<string>; readonly removed: Set<string>; asked: string | null };

/** Adds and removes rules until the server is gone. */
async function changes(call: Caller, policy: string, seen: Seen, onAck: () => void): Promise<void> {
  const path = `/policies/${policy}/rules`;
  try {
    for (let n = 0; ; n++) {
      const resources = [`a${n}.test`, `b${n}.test`];
      const rule = { name: `n${n}`, actions: ['connect:tcp'], resources, decision: 'allow' };
      const { status, body } = await call('POST', path, rule);
      if (status !== 201) throw new Error(`POST was answered with ${status}`);
      seen.added.add(body.id);
      onAck();
      const [oldest] = seen.added;
      if (n % 2 === 0 || oldest === undefined) continue;
      seen.asked = oldest;
      await call('DELETE', `${path}/${oldest}`);
      seen.asked = null;
      seen.added.delete(oldest);
      seen.removed.add(oldest);
      onAck();
    }
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('POST')) throw error;
  }
}

/** @returns what is wrong with a policy after a restart, and its rules. */
async function faultsOf(call: Caller, policy: string, seen: Seen): Promise<[string[], string[]]> {
  const { body } = await call('GET', `/policies/${policy}`);
  const rules: { id: string; resources: string[] }[] = body.allowlist_v0.rules;
  const there = rules.map(({ id }) => id);
  const lost = [...seen.added].filter((id) => !there.includes(id) && id !== seen.asked);
  const back = there.filter((id) => seen.removed.has(id));
  const torn = rules.filter(({ resources }) => resources.length !== 2);
  const faults = [
    ...lost.map((id) => `${id} was acknowledged and is gone`),
    ...back.map((id) => `${id} was removed and is there`),
    ...torn.map(({ id }) => `${id} is half a rule`),
    ...(await unaudited(call, policy, there)),
  ];
  return [faults, there];
}

/** The last rules that were made, each with its record, and no record without its rule's fate. */
async function unaudited(call: Caller, policy: string, there: string[]): Promise<string[]> {
  const { data } = (await call('GET', '/audit?page_size=100')).body;
  const own: { action: string; rule_id: string }[] = data.filter(
    (entry: { policy_id: string }) => entry.policy_id === policy,
  );
  const removed = own.filter(({ action }) => action === 'rule.delete').map((one) => one.rule_id);
  const made = own.filter(({ action }) => action === 'rule.create').map((one) => one.rule_id);
  return [
    ...there
      .slice(-10)
      .filter((id) => !made.includes(id))
      .map((id) => `${id} has no record`),
    ...made
      .filter((id) => !there.includes(id) && !removed.includes(id))
      .map((id) => `${id} is recorded and is not there`),
  ];
}

t.test(`the server survives ${SERVER_KILLS} kills`, { timeout: 200_000 }, async (t) => {
  const folder = temporaryFolder(t);
  const env = { PATH: process.env.PATH ?? '', HOME: folder };
  const words = ['governance', 'token', 'add', 'ann', '--role', 'admin', '--data', folder];
  const token = (await execute(process.execPath, [BIN, ...words], env)).out.trim();
  const all = [0, 1].map((): Seen => ({ added: new Set(), removed: new Set(), asked: null }));
  let policies: string[] = [];
  let acknowledged = 0;
  for (let kill = 0; kill <= SERVER_KILLS; kill++) {
    const { url, child } = await serveProcess(env, '--org', 'my-org', '--data', folder);
    t.teardown(() => child.kill('SIGKILL'));
    const call = callerOf(url, token);
    if (kill === 0) {
      const made = all.map((_, i) => call('POST', '/policies', { name: `p${i}` }));
      policies = (await Promise.all(made)).map(({ body }) => body.id);
    }
    for (const [i, seen] of all.entries()) {
      const [faults, there] = await faultsOf(call, policies[i] ?? '', seen);
      t.strictSame(faults, [], `after kill ${kill}`);
      seen.added.clear();
      for (const id of there) seen.added.add(id);
      seen.asked = null;
    }
    if (kill === SERVER_KILLS) break; // Once more to look.
    let left = Math.floor(Math.random() * 40);
    const onAck = (): void => {
      acknowledged++;
      if (left-- === 0) child.kill('SIGKILL');
    };
    const died = once(child, 'exit');
    await Promise.all(all.map((seen, i) => changes(call, policies[i] ?? '', seen, onAck)));
    t.strictSame(await died, [null, 'SIGKILL']);
  }
  t.ok(acknowledged > SERVER_KILLS, `${acknowledged} changes were acknowledged`);
});

/** Two policies with the same number in all of their names: a word of one moment. */
function wordOf(n: number) {
  return [1, 2].map((id) =>
    policyOf(
      id,
      [
        { decision: 'allow', resources: [`good${n}.test`] },
        { decision: 'deny', resources: [`bad${n}.test`] },
      ],
      { updated_at: `2026-01-02T00:00:00.${String(n).padStart(6, '0')}Z` },
    ),
  );
}

t.test(
  `a daemon survives ${DAEMON_KILLS} kills while it syncs`,
  { timeout: 200_000 },
  async (t) => {
    const server = await organizationServer(t);
    const env = temporaryEnv(t);
    const paths = resolvePaths(env);
    const tokenFile = join(temporaryFolder(t), 'token');
    writeFileSync(tokenFile, 'TOKEN', { mode: 0o600 });
    const options = {
      'policy.preset': 'allow-all',
      'governance.source': server.url,
      'governance.tokenFile': tokenFile,
      'governance.interval': '1h',
    } as const;
    let n = 0;
    server.policies = wordOf(n);
    for (let round = 0; round < DAEMON_KILLS; round++) {
      const { pid, socket } = await startDaemon(env, options);
      const client = new ControlClient(socket);
      await client.post('/policy/refresh');
      let left = Math.floor(Math.random() * 60);
      server.instead = () => {
        if (left-- === 0) process.kill(pid, 'SIGKILL');
        return false;
      };
      const before = n;
      try {
        for (;;) {
          server.policies = wordOf(++n);
          await client.post('/policy/refresh');
        }
      } catch {} // It is gone.
      await client.close();
      server.instead = null;
      t.ok(waitUntilStopped(paths, 10_000));
      const store = Store.open(paths.policyDatabase);
      const remote = store.rules().filter((rule) => rule.source === 'remote');
      const { governance } = store.policySettings();
      store.close();
      const numbers = remote.map(({ resources: [first] }) =>
        Number(/\d+/.exec(first?.text ?? '')?.[0]),
      );
      t.equal(remote.length, 4);
      t.strictSame(new Set(numbers).size, 1, 'one whole word');
      t.ok(
        Number(numbers[0]) >= before && Number(numbers[0]) >= n - 2,
        'the last, or the one before',
      );
      t.match(governance, { organization: 'my-org', available: true });
    }

    server.policies = wordOf(++n);
    server.instead = () => true; // It never answers again.
    const { pid, socket } = await startDaemon(env, options);
    const client = new ControlClient(socket);
    const asked = async (target: string): Promise<boolean> =>
      (await client.post<{ allowed: boolean }>('/policy/network/check', { target })).allowed;
    const known = [n - 1, n - 2, n - 3].map(async (i) => asked(`good${i}.test`));
    t.equal((await Promise.all(known)).filter(Boolean).length, 1, 'the last good word is in force');
    t.equal(await asked('any.test'), false);
    await client.close();
    process.kill(pid, 'SIGTERM');
    t.ok(waitUntilStopped(paths, 10_000), 'a look that hangs does not keep it');
  },
);
