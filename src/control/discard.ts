// Starting over: what `policy reset` can do when the store is damaged and no daemon will start.
import { renameSync, rmSync } from 'node:fs';
import { acquireLock } from './lock.ts';
import type { Paths } from './paths.ts';

/**
 * Puts the policy store aside as `policy.db.damaged`: rules, sandboxes, secrets and the choice of a
 * preset.
 * The audit stays. Waits, and blocks this thread, for the daemon that failed on it to end.
 *
 * @returns false, and does nothing, when a daemon still runs after the time.
 */
export function discardStore(paths: Paths, waitMs: number): boolean {
  const release = acquireLock(paths.lockDatabase, waitMs);
  if (release === null) return false;
  try {
    for (const suffix of ['-wal', '-shm']) rmSync(paths.policyDatabase + suffix, { force: true });
    renameSync(paths.policyDatabase, `${paths.policyDatabase}.damaged`);
    return true;
  } finally {
    release();
  }
}
