// A real daemon on a disk that is full, and the records that come of it: the kernel refuses it to
// let any file grow (RLIMIT_FSIZE), in the middle of a write, while requests go on.
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { ControlClient } from '../../src/control/api/client.ts';
import type { DaemonStatus } from '../../src/control/api/services.ts';
import { auditFiles } from '../../src/control/audit/files.ts';
import type { AuditMode } from '../../src/control/audit/settings.ts';
import { verifyAudit } from '../../src/control/audit/verify.ts';
import { type Env, type Paths, resolvePaths } from '../../src/control/paths.ts';
import { waitUntilStopped } from '../../src/control/spawn.ts';
import { recordsIn } from '../helpers/audit.ts';
import { startDaemon, temporaryEnv } from '../helpers/control.ts';

const noPrlimit = spawnSync('prlimit', ['--version']).status === 0 ? false : 'prlimit is missing';

/** Files of a process may not grow beyond this; `unlimited` takes it back. */
function limitFiles(pid: number, bytes: string): void {
  const { status, stderr } = spawnSync('prlimit', [`--pid=${pid}`, `--fsize=${bytes}:`]);
  if (status !== 0) throw new Error(String(stderr));
}

type World = {
  readonly pid: number;
  readonly env: Env;
  readonly paths: Paths;
  readonly client: ControlClient;
  /** @returns the code of the refusal; SALLYPORT_DENIED when all is well. */
  readonly ask: (host: string) => Promise<string>;
  readonly stop: () => boolean;
};

async function start(t: Test, mode: AuditMode, env: Env = temporaryEnv(t)): Promise<World> {
  const paths = resolvePaths(env);
  const { pid, listen, socket } = await startDaemon(env, {
    'policy.preset': 'deny-all',
    'daemon.defaultSandbox': 'box',
    'daemon.drainTimeout': '500ms',
    'audit.mode': mode,
  });
  const client = new ControlClient(socket);
  const port = Number(listen.split(':')[1]);
  const stop = (): boolean => {
    process.kill(pid, 'SIGTERM');
    return waitUntilStopped(paths, 20_000);
  };
  t.teardown(async () => {
    await client.close();
    try {
      process.kill(pid, 'SIGKILL');
    } catch {} // It has ended.
  });
  const ask = async (host: string): Promise<string> => {
    const asked = request({ port, host: '127.0.0.1', path: `http://${host}/`, headers: { host } });
    asked.end();
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    await once(answer.resume(), 'end');
    return String(answer.headers['x-sallyport-code']);
  };
  return { pid, env, paths, client, ask, stop };
}

type Line = { readonly action_type: string; readonly host?: string; readonly count?: number };

async function statusOf({ client }: World): Promise<DaemonStatus> {
  return client.get<DaemonStatus>('/daemon/status');
}

type Asked = { readonly recorded: string[]; readonly refused: string[] };

/** Asks for these hosts, and sorts them by whether they were let in to be judged. */
async function askFor(world: World, hosts: readonly string[], asked: Asked): Promise<void> {
  for (const host of hosts) {
    const code = await world.ask(host);
    if (code === 'SALLYPORT_AUDIT_UNAVAILABLE') asked.refused.push(host);
    else asked.recorded.push(host);
  }
}

/** Fills the disk, so that a record is cut in its middle; asks until the daemon knows. */
async function fill(world: World, asked: Asked): Promise<void> {
  const files = auditFiles(world.paths.audit);
  const size = files.reduce((sum, path) => sum + readFileSync(path).length, 0);
  limitFiles(world.pid, String(size + 100));
  for (let i = 0; (await statusOf(world)).audit_problem === null; i++) {
    await askFor(world, [`filling-${i}.test`], asked);
  }
}

async function empty(world: World): Promise<void> {
  limitFiles(world.pid, 'unlimited');
  while ((await statusOf(world)).audit_problem !== null) await setTimeout(20);
}

/** It takes a half record back before it tries again, and may not be killed just between the two. */
async function killAtHalfRecord({ pid, paths }: World): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  while ((await verifyAudit([paths.audit])).incomplete_bytes === 0) {
    process.kill(pid, 'SIGCONT');
    await setTimeout(5);
    process.kill(pid, 'SIGSTOP');
  }
  process.kill(pid, 'SIGKILL');
}

t.test(
  'required: a full disk slows and then refuses, and nothing is missing',
  {
    skip: noPrlimit,
    timeout: 60_000,
  },
  async (t) => {
    const world = await start(t, 'required');
    const asked: Asked = { recorded: [], refused: [] };
    await askFor(world, ['before.test'], asked);
    await fill(world, asked);
    // The daemon knows first; the workers hear of it.
    while (asked.refused.length === 0) await askFor(world, ['filling-last.test'], asked);
    await askFor(world, ['refused-1.test', 'refused-2.test'], asked);
    t.equal(asked.refused.at(-1), 'refused-2.test');
    t.equal(asked.refused.at(-2), 'refused-1.test');
    t.match(await statusOf(world), { audit_mode: 'required', audit_problem: /EFBIG/ });
    await empty(world);
    await askFor(world, ['after.test'], asked);
    t.equal(asked.recorded.at(-1), 'after.test');
    const count = asked.refused.length;
    while ((await statusOf(world)).audit_refused < count) await setTimeout(20);
    t.ok(world.stop());
    const lines = recordsIn<Line>(world.paths.audit);
    const hosts = lines.flatMap(({ host }) => host ?? []);
    t.strictSame(hosts, asked.recorded, 'each that was let in');
    const gaps = lines.filter((line) => line.action_type === 'gap');
    t.equal(
      gaps.reduce((sum, gap) => sum + (gap.count ?? 0), 0),
      count,
      'and the others are counted',
    );
    t.match(gaps[0], { what: 'refused', code: 'SALLYPORT_AUDIT_UNAVAILABLE' });
    t.match(await verifyAudit([world.paths.audit]), { ok: true, records: lines.length });
  },
);

t.test(
  'best effort: requests go on, and their records come when there is room',
  {
    skip: noPrlimit,
    timeout: 60_000,
  },
  async (t) => {
    const world = await start(t, 'best-effort');
    const asked: Asked = { recorded: [], refused: [] };
    await fill(world, asked);
    const more = Array.from({ length: 50 }, (_, i) => `more-${i}.test`);
    await askFor(world, more, asked);
    t.strictSame(asked.refused, []);
    await empty(world);
    t.ok(world.stop());
    const lines = recordsIn<Line>(world.paths.audit);
    t.strictSame(
      lines.flatMap(({ host }) => host ?? []),
      asked.recorded,
    );
    t.match(await verifyAudit([world.paths.audit]), { ok: true });
  },
);

t.test(
  'a daemon can be stopped while the disk is full',
  { skip: noPrlimit, timeout: 60_000 },
  async (t) => {
    const world = await start(t, 'required');
    await world.ask('first.test');
    await fill(world, { recorded: [], refused: [] });
    t.ok(world.stop());
    t.match(
      await verifyAudit([world.paths.audit]),
      { ok: true, incomplete_bytes: 0 },
      'and no line is torn',
    );
  },
);

t.test(
  'killed on a full disk: the half record is cut off, and the chain goes on',
  { skip: noPrlimit, timeout: 60_000 },
  async (t) => {
    const world = await start(t, 'required');
    await world.ask('first.test');
    await fill(world, { recorded: [], refused: [] });
    await killAtHalfRecord(world);
    t.ok(waitUntilStopped(world.paths, 10_000));
    t.match(await verifyAudit([world.paths.audit]), { ok: true, incomplete_bytes: 100 });
    const { pid } = await startDaemon(world.env, { 'daemon.defaultSandbox': 'box' });
    process.kill(pid, 'SIGTERM');
    t.ok(waitUntilStopped(world.paths, 10_000));
    t.match(await verifyAudit([world.paths.audit]), { ok: true, incomplete_bytes: 0 });
    const sessions = recordsIn<Line>(world.paths.audit).filter(
      (line) => line.action_type === 'session',
    );
    t.match(sessions, [
      { event: 'start', cut_bytes: 0 },
      { event: 'start', cut_bytes: 100 },
      { event: 'stop' },
    ]);
  },
);

t.test(
  'required: a daemon that starts on a full disk lets nothing through',
  { timeout: 60_000 },
  async (t) => {
    const env = temporaryEnv(t);
    const { audit } = resolvePaths(env);
    mkdirSync(audit, { recursive: true, mode: 0o700 });
    symlinkSync('/dev/full', join(audit, 'audit-000000000000001.jsonl'));
    const world = await start(t, 'required', env);
    t.match(await statusOf(world), { audit_problem: /ENOSPC|EINVAL/ });
    t.equal(await world.ask('a.test'), 'SALLYPORT_AUDIT_UNAVAILABLE');
    t.ok(world.stop());
  },
);
