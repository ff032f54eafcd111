// Starts a daemon that outlives the command that started it, and waits for one to end. Used by the
// CLI; runs in its process.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { CODES, type Code, SallyportError } from '../base/errors.ts';
import { DAEMON_LOG_TAIL_BYTES } from '../base/limits.ts';
import type { DaemonWord } from './daemon.ts';
import { acquireLock } from './lock.ts';
import { createFolders, type Env, type Paths } from './paths.ts';

export type SpawnOptions = {
  /** The node binary, and the arguments that make it run `runDaemon` with logToFile. */
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Env;
  readonly paths: Paths;
};

/**
 * Starts a detached daemon.
 *
 * @returns its word once it accepts connections, or that one was running already.
 * @throws what kept it from starting; SALLYPORT_DAEMON_UNREACHABLE with the log's end when it died.
 */
export async function spawnDaemon(
  options: SpawnOptions,
): Promise<Exclude<DaemonWord, { type: 'failed' }>> {
  const { command, args, env, paths } = options;
  createFolders(paths);
  const log = openSync(paths.daemonLog, 'a+', 0o600);
  try {
    const from = fstatSync(log).size;
    const child = spawn(command, args, {
      cwd: paths.state,
      detached: true,
      env: { ...env },
      stdio: ['ignore', log, log, 'ipc'],
    });
    const word = await Promise.race([
      once(child, 'message').then(([message]) => message as DaemonWord),
      once(child, 'exit').then(([code, signal]) => died(log, from, code ?? signal)),
    ]);
    if (child.connected) child.disconnect();
    child.unref();
    if (word.type === 'failed') {
      const code = Object.hasOwn(CODES, word.code) ? (word.code as Code) : 'SALLYPORT_INTERNAL';
      const { hint } = word;
      throw new SallyportError(code, word.message, hint === undefined ? {} : { hint });
    }
    return word;
  } finally {
    closeSync(log);
  }
}

/**
 * Waits until no daemon holds the state; blocks this thread meanwhile.
 *
 * @returns false when one still does after the time.
 */
export function waitUntilStopped(paths: Paths, waitMs: number): boolean {
  const release = acquireLock(paths.lockDatabase, waitMs);
  release?.();
  return release !== null;
}

/** @throws SALLYPORT_DAEMON_UNREACHABLE always */
function died(log: number, from: number, how: number | string): never {
  const size = fstatSync(log).size;
  const start = Math.max(from, size - DAEMON_LOG_TAIL_BYTES);
  const tail = Buffer.alloc(size - start);
  readSync(log, tail, 0, tail.length, start);
  throw new SallyportError(
    'SALLYPORT_DAEMON_UNREACHABLE',
    `the daemon ended (${how}) before it was ready; its last words:\n${tail.toString().trimEnd()}`,
  );
}
