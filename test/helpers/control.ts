// Pieces of the control plane for tests: a state folder of one's own, an outcome, an instance in
// this process on a real socket, and a daemon in a process of its own.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type tap from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import { ControlClient } from '../../src/control/api/client.ts';
import type { DaemonStatus } from '../../src/control/api/services.ts';
import { AUDIT_DEFAULTS } from '../../src/control/audit/settings.ts';
import { createDaemonLog } from '../../src/control/daemon-log.ts';
import { type Instance, type InstanceOptions, startInstance } from '../../src/control/instance.ts';
import { createFolders, type Env, type Paths, resolvePaths } from '../../src/control/paths.ts';
import type { GivenValues } from '../../src/control/settings/keys.ts';
import { Settings } from '../../src/control/settings/settings.ts';
import { spawnDaemon } from '../../src/control/spawn.ts';
import { KeyStore } from '../../src/credentials/key-store.ts';
import { keychainOf } from '../../src/credentials/keychain.ts';
import type { Outcome } from '../../src/proxy/exchange.ts';

type Test = Pick<typeof tap, 'teardown'>;

/** A folder that goes when the test ends. */
export function temporaryFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The environment of an instance that no other test sees. */
export function temporaryEnv(t: Test): Env {
  const folder = temporaryFolder(t);
  return {
    XDG_STATE_HOME: join(folder, 'state'),
    XDG_CONFIG_HOME: join(folder, 'config'),
    XDG_RUNTIME_DIR: join(folder, 'run'),
  };
}

/** The key in this file, which nobody else knows of. */
export function keyIn(keyFile: string, isNeeded: () => boolean = () => false): Promise<KeyStore> {
  return KeyStore.open({
    keyFile,
    provided: false,
    place: 'file',
    keychain: keychainOf({}, process.platform),
    isNeeded,
    report: () => {},
  });
}

/** An audit as it is without being asked for anything; the folder is for the test to say. */
export const PLAIN_AUDIT = {
  ...AUDIT_DEFAULTS,
  clock: systemClock,
  program: {
    client_name: 'sallyport',
    app_version: '1.2.3',
    hostname: 'host.test',
    os: 'linux',
    username: 'me',
  },
  fileMsMax: Number.POSITIVE_INFINITY, // Outcomes of tests are of any time.
  onKept: (error: unknown) => {
    throw error;
  },
} as const;

/** What became of one exchange; as plain as can be but for `facts`. */
export function outcomeOf(facts: Partial<Outcome> = {}): Outcome {
  return {
    slot: 0,
    time_ms: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
    sandbox: 'box',
    ingress: 'connect',
    mode: 'forward-bypass',
    method: 'CONNECT',
    path: null,
    host: 'example.com',
    port: 443,
    address: '192.0.2.1',
    verdict: 'allow',
    deny_kind: null,
    rule: 'default-allow-all',
    source: 'local',
    reason: null,
    code: null,
    status: 200,
    bytes_up: 1,
    bytes_down: 2,
    decide_ms: 0.1,
    connect_ms: 1,
    duration_ms: 2,
    bypass: null,
    injected: null,
    masked: 0,
    generation: 1,
    ...facts,
  };
}

export type World = {
  /** To start it again with. */
  readonly env: Env;
  readonly paths: Paths;
  readonly instance: Instance;
  readonly client: ControlClient;
  /** Resolves when the API has been asked to stop. */
  readonly stopAsked: Promise<number | null>;
};

/** An instance in this process: one worker, any port, everything denied unless said otherwise. */
export async function startWorld(
  t: Test,
  options: Partial<InstanceOptions> = {},
  env: Env = temporaryEnv(t),
): Promise<World> {
  const paths = resolvePaths(env);
  createFolders(paths);
  const stop = Promise.withResolvers<number | null>();
  const instance = await startInstance(
    {
      preset: 'deny-all',
      listen: '127.0.0.1:0',
      workers: 1,
      keyStore: 'file',
      audit: AUDIT_DEFAULTS,
      logKeepMs: Number.POSITIVE_INFINITY,
      addressGuard: 'strict',
      via: false,
      forwardedFor: false,
      dnsServers: [],
      logLevel: 'error',
      deny: 'connect',
      approvals: 'off',
      browserCommand: [],
      approvalWaitMs: 60_000,
      bypass: [],
      upstreamAuthorities: [],
      clientCertificates: [],
      version: '0.0.0-test',
      ...options,
    },
    {
      paths,
      settings: Settings.load({ path: paths.settings, env: {}, given: {} }),
      keychain: keychainOf({}, process.platform),
      clock: systemClock,
      logger: createDaemonLog(join(paths.state, 'test.log'), 'debug'),
      logFile: null,
      pid: process.pid,
      reusePort: process.platform === 'linux',
      onStop: stop.resolve,
    },
  );
  const client = new ControlClient(paths.socket);
  t.teardown(async () => {
    await client.close();
    await instance.stop(0);
  });
  return { env, paths, instance, client, stopAsked: stop.promise };
}

/** Starts a whole daemon in a process of its own. @throws what kept it from starting */
export async function startDaemon(env: Env, given: GivenValues = {}): Promise<DaemonStatus> {
  const program = [join(import.meta.dirname, 'daemon.ts'), JSON.stringify({ given })];
  const word = await spawnDaemon({
    command: 'env',
    // Without what the test runner has every Node load: that ends a process by signals it ignores.
    args: ['-u', 'NODE_OPTIONS', process.execPath, ...program],
    env: { ...env, PATH: '/usr/bin:/bin' },
    paths: resolvePaths(env),
  });
  if (word.type !== 'ready') throw new Error(`a daemon runs already at ${word.socket}`);
  return word.status;
}
