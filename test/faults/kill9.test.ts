// kill -9 at random moments: what was acknowledged is there afterwards, and nothing is there by half.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { ControlClient } from '../../src/control/api/client.ts';
import { auditFiles } from '../../src/control/audit/files.ts';
import { verifyAudit } from '../../src/control/audit/verify.ts';
import { resolvePaths } from '../../src/control/paths.ts';
import { waitUntilStopped } from '../../src/control/spawn.ts';
import { Store } from '../../src/control/store.ts';
import { recordsIn } from '../helpers/audit.ts';
import { startDaemon, temporaryEnv, temporaryFolder } from '../helpers/control.ts';

const WRITER = join(import.meta.dirname, '../helpers/store-writer.ts');
const KILLS = 190;
const DAEMON_KILLS = 10;
const LOSS_MS_MAX = 100; // What the audit promises.
const BUSY_MS = 400; // This machine runs other tests at the same time.

type Seen = {
  readonly added: Map<string, number>;
  readonly tried: Set<string>;
  readonly removed: Set<string>;
};

/** Runs a writer, kills it after `acks` facts, and reads what it still had to say. */
async function killedWriter(path: string, from: number, acks: number): Promise<Seen> {
  const child = spawn(process.execPath, [WRITER, path, String(from)], {
    env: {},
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const seen: Seen = { added: new Map(), tried: new Set(), removed: new Set() };
  let facts = 0;
  const closed = once(child, 'close');
  for await (const line of createInterface({ input: child.stdout })) {
    const [what, id = '', n] = line.split(' ');
    if (what === 'add') seen.added.set(id, Number(n));
    if (what === 'try') seen.tried.add(id);
    if (what === 'remove') seen.removed.add(id);
    if (facts++ === acks) child.kill('SIGKILL');
  }
  const [, signal] = await closed;
  if (signal !== 'SIGKILL') throw new Error('the writer ended by itself');
  return seen;
}

/** @returns what is wrong with the store, given what was there before and what was acknowledged. */
function faultsOf(path: string, before: ReadonlySet<string>, seen: Seen): [string[], Set<string>] {
  const store = Store.open(path); // Checks the integrity of the whole file.
  const rules = store.rules();
  store.close();
  const faults: string[] = [];
  for (const { id, resources } of rules) {
    const texts = resources.map(({ text }) => text);
    const n = /^a(\d+)\.test$/.exec(texts[0] ?? '')?.[1];
    if (texts.length !== 2 || texts[1] !== `b${n}.test`)
      faults.push(`${id} is half a rule: ${texts}`);
    if (seen.removed.has(id)) faults.push(`${id} was removed and is there`);
  }
  const there = new Set(rules.map(({ id }) => id));
  for (const id of [...before, ...seen.added.keys()]) {
    if (!there.has(id) && !seen.tried.has(id)) faults.push(`${id} was acknowledged and is gone`);
  }
  return [faults, there];
}

t.test(`a store survives ${KILLS} kills`, { timeout: 200_000 }, async (t) => {
  const campaigns = [0, 1].map(async () => {
    const path = join(temporaryFolder(t), 'policy.db');
    let there = new Set<string>();
    let acknowledged = 0;
    const faults: string[] = [];
    for (let kill = 0; kill < KILLS / 2; kill++) {
      const seen = await killedWriter(path, kill * 1_000_000, Math.floor(Math.random() * 40));
      acknowledged += seen.added.size;
      const [found, now] = faultsOf(path, there, seen);
      faults.push(...found);
      there = now;
    }
    return { faults, acknowledged };
  });
  for (const { faults, acknowledged } of await Promise.all(campaigns)) {
    t.strictSame(faults, []);
    t.ok(acknowledged > KILLS / 2, `${acknowledged} rules were acknowledged`);
  }
});

type Exchange = { readonly host: string; readonly endedMs: number };

/** Sends requests one after another until the daemon is gone; each is denied, and recorded. */
async function traffic(port: number, round: number): Promise<Exchange[]> {
  const exchanges: Exchange[] = [];
  for (let i = 0; ; i++) {
    const host = `r${round}-${i}.test`;
    try {
      const asked = request({
        port,
        host: '127.0.0.1',
        path: `http://${host}/`,
        headers: { host },
      });
      asked.end();
      const [answer] = (await once(asked, 'response')) as [IncomingMessage];
      await once(answer.resume(), 'end');
      exchanges.push({ host, endedMs: performance.now() });
    } catch {
      return exchanges;
    }
  }
}

/** Adds rules until the daemon is gone. @returns the ids of those that were acknowledged. */
async function changes(socket: string, onAck: () => void): Promise<string[]> {
  const client = new ControlClient(socket);
  const ids: string[] = [];
  try {
    for (let n = 0; ; n++) {
      const body = { decision: 'allow', resources: `a${n}.test,b${n}.test` };
      const { rules } = await client.post<{ rules: { id: string }[] }>(
        '/policy/network/rules',
        body,
      );
      ids.push(...rules.map(({ id }) => id));
      onAck();
    }
  } catch {
    return ids;
  } finally {
    await client.close();
  }
}

t.test(`a daemon at work survives ${DAEMON_KILLS} kills`, { timeout: 200_000 }, async (t) => {
  const env = temporaryEnv(t);
  const paths = resolvePaths(env);
  const options = { 'policy.preset': 'deny-all', 'daemon.defaultSandbox': 'box' } as const;
  const ids = new Set<string>();
  const recorded = new Set<string>();
  for (let round = 0; round < DAEMON_KILLS; round++) {
    const { pid, listen, socket } = await startDaemon(env, options);
    let left = 5 + Math.floor(Math.random() * 60);
    let killedMs = 0;
    const onAck = (): void => {
      if (left-- !== 0) return;
      killedMs = performance.now();
      process.kill(pid, 'SIGKILL');
    };
    const port = Number(listen.split(':')[1]);
    const [exchanges, ...acknowledged] = await Promise.all([
      traffic(port, round),
      changes(socket, onAck),
      changes(socket, onAck),
    ]);
    t.ok(waitUntilStopped(paths, 10_000));
    for (const id of acknowledged.flat()) ids.add(id);

    const store = Store.open(paths.policyDatabase);
    const rules = store.rules();
    store.close();
    const there = new Set(rules.map(({ id }) => id));
    t.strictSame(
      [...ids].filter((id) => !there.has(id)),
      [],
      'every acknowledged rule is there',
    );
    t.ok(
      rules.every(({ resources }) => resources.length === 2),
      'and is whole',
    );

    const lines = auditFiles(paths.audit).flatMap((path) => readFileSync(path, 'utf8').split('\n'));
    const torn = lines.pop();
    for (const line of lines) recorded.add((JSON.parse(line) as { host: string }).host);
    t.ok(torn !== undefined, 'only what is behind the last line feed can be torn');
    const lost = exchanges.filter(
      ({ host, endedMs }) => !recorded.has(host) && endedMs < killedMs - LOSS_MS_MAX - BUSY_MS,
    );
    t.strictSame(lost, [], 'nothing older than the flush interval is lost');
    t.match(await verifyAudit([paths.audit]), { ok: true }, 'the chain holds as it was left');
  }

  const { pid } = await startDaemon(env, options);
  const seqs = recordsIn<{ seq: number }>(paths.audit).map(({ seq }) => seq);
  t.strictSame(
    seqs,
    seqs.map((_, i) => i + 1),
    'the numbers have no gap over all restarts',
  );
  t.match(
    await verifyAudit([paths.audit]),
    { ok: true, records: seqs.length, incomplete_bytes: 0 },
    'nor has the chain',
  );
  process.kill(pid, 'SIGTERM');
  t.ok(waitUntilStopped(paths, 10_000));
});
