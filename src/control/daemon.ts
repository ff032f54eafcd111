// The daemon as a process: its environment, its lock, its signals, and the word to whoever started
// it. What it runs is in instance.ts.
import { stat } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import type { Logger } from 'pino';
import { systemClock } from '../base/clock.ts';
import { SallyportError } from '../base/errors.ts';
import { LOCK_RETRY_MS, LOCK_WAIT_MS, POOL_THREADS_MAX } from '../base/limits.ts';
import { keychainOf } from '../credentials/keychain.ts';
import { ControlClient } from './api/client.ts';
import type { DaemonStatus } from './api/services.ts';
import { createDaemonLog } from './daemon-log.ts';
import { type Instance, startInstance } from './instance.ts';
import { acquireLock } from './lock.ts';
import { createFolders, type Env, type Paths, resolvePaths } from './paths.ts';
import { drainTimeoutMs, instanceOptions } from './settings/effect.ts';
import type { GivenValues } from './settings/keys.ts';
import { Settings } from './settings/settings.ts';
import type { Surroundings } from './surroundings.ts';

export type DaemonOptions = {
  readonly version: string;
  /** Settings by options of the command line: they win over all others. */
  readonly given: GivenValues;
  /** Log to daemon.log in the state folder instead of stdout. */
  readonly logToFile?: boolean | undefined;
};

/** What a detached daemon tells the process that started it, once. */
export type DaemonWord =
  | { readonly type: 'ready'; readonly status: DaemonStatus }
  | { readonly type: 'running'; readonly socket: string }
  | {
      readonly type: 'failed';
      readonly code: string;
      readonly message: string;
      readonly hint?: string;
    };

const REUSE_PORT_PLATFORMS: ReadonlySet<string> = new Set([
  'linux',
  'freebsd',
  'dragonfly',
  'sunos',
  'aix',
]);

/**
 * Runs a daemon until it is told to stop, by SIGTERM, SIGINT or the API. A second signal ends it at
 * once.
 *
 * @param env  process.env: the XDG variables, settings, and what leads to the keychain.
 * @returns the exit code: 0 after a stop, and when one was running already (it says so); 1 when it
 *   could not start, or a part of it could not be closed (the log says so).
 */
export async function runDaemon(options: DaemonOptions, env: Env): Promise<number> {
  process.umask(0o077); // Sockets and files are the user's alone, from their first moment.
  await widenThreadPool();
  const paths = resolvePaths(env);
  createFolders(paths);
  const logFile = options.logToFile ? paths.daemonLog : null;
  const logger = createDaemonLog(logFile, 'info');
  const release = await lockOrProbe(paths);
  if (release === null) {
    logger.info(`Daemon is already running at ${paths.socket}`);
    tell({ type: 'running', socket: paths.socket });
    return 0;
  }
  try {
    const keychain = keychainOf(env, process.platform);
    const settings = Settings.load({ path: paths.settings, env, given: options.given });
    logger.level = settings.values['daemon.logLevel'];
    const around = { paths, settings, keychain, logger, logFile };
    return (await run(options.version, around)) ? 0 : 1;
  } catch (error) {
    const known = error instanceof SallyportError;
    const message = error instanceof Error ? error.message : String(error);
    const detail = known || !(error instanceof Error) ? {} : { stack: error.stack };
    logger.error(detail, `the daemon could not start: ${message}`);
    const said = known ? { code: error.code, hint: error.hint } : { code: 'SALLYPORT_INTERNAL' };
    tell({ type: 'failed', ...said, message });
    return 1;
  } finally {
    release();
  }
}

/**
 * Node's four threads let two names be looked up at one time. libuv reads the variable when it is first
 * asked for a thread; then it is gone, since programs that we start inherit what is left of it.
 */
async function widenThreadPool(): Promise<void> {
  const { env } = process;
  if (env.UV_THREADPOOL_SIZE !== undefined) return;
  env.UV_THREADPOOL_SIZE = String(POOL_THREADS_MAX);
  await stat('/');
  delete env.UV_THREADPOOL_SIZE;
}

/** @returns whether all of it could be closed */
async function run(
  version: string,
  around: Pick<Surroundings, 'paths' | 'settings' | 'keychain' | 'logger' | 'logFile'>,
): Promise<boolean> {
  const { logger, settings } = around;
  const { options, warnings } = instanceOptions(settings.values, systemClock.wallMs());
  const stopping = Promise.withResolvers<number | null>();
  const onStop = (timeoutMs: number | null): void => stopping.resolve(timeoutMs);
  const unlisten = onSignals(logger, () => onStop(null));
  try {
    const instance: Instance = await startInstance(
      { ...options, version },
      {
        ...around,
        clock: systemClock,
        pid: process.pid,
        reusePort: REUSE_PORT_PLATFORMS.has(process.platform),
        onStop,
      },
    );
    const status = instance.status();
    for (const warning of warnings) logger.warn(warning);
    logger.info(status, `Daemon is running, proxy on ${status.listen}`);
    tell({ type: 'ready', status });
    const timeoutMs = (await stopping.promise) ?? drainTimeoutMs(instance.settings.values);
    logger.info({ drain_timeout_ms: timeoutMs }, 'Daemon is stopping');
    const isClosed = await instance.stop(timeoutMs);
    logger.info('Daemon has stopped');
    return isClosed;
  } finally {
    unlisten();
  }
}

/** @returns the lock's release, or null when another daemon answers, or holds on for too long. */
async function lockOrProbe(paths: Paths): Promise<(() => void) | null> {
  for (let waitedMs = 0; waitedMs < LOCK_WAIT_MS; waitedMs += LOCK_RETRY_MS) {
    const release = acquireLock(paths.lockDatabase, 0);
    if (release !== null) return release;
    if (await answers(paths.socket)) return null;
    await setTimeout(LOCK_RETRY_MS); // It is ending, or only just beginning.
  }
  return null;
}

async function answers(socket: string): Promise<boolean> {
  const client = new ControlClient(socket);
  try {
    await client.get('/daemon/health');
    return true;
  } catch {
    return false;
  } finally {
    await client.close();
  }
}

/** @returns a function that takes the handlers off. */
function onSignals(logger: Logger, stop: () => void): () => void {
  let seen = 0;
  const handle = (signal: NodeJS.Signals): void => {
    seen++;
    logger.info({ signal }, seen === 1 ? 'a signal: draining' : 'a second signal: ending at once');
    if (seen > 1) process.exit(130);
    stop();
  };
  process.on('SIGTERM', handle).on('SIGINT', handle);
  return () => void process.off('SIGTERM', handle).off('SIGINT', handle);
}

/** The channel exists only when spawn.ts started this process; after one word it is closed. */
function tell(word: DaemonWord): void {
  if (process.send === undefined) return;
  process.send(word, () => {
    if (process.connected) process.disconnect();
  });
}
