// One daemon for one state folder. The lock is SQLite's own on an empty database: the kernel takes
// it back when the process ends, however it ends, so there is no stale lock to guess about.
import { chmodSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

/**
 * @param waitMs  how long to wait for another to let go; blocks this thread.
 * @returns a function that lets go, or null when another process holds it.
 */
export function acquireLock(path: string, waitMs: number): (() => void) | null {
  const database = new DatabaseSync(path, { timeout: waitMs });
  try {
    chmodSync(path, 0o600);
    database.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE;');
  } catch (error) {
    database.close();
    if (isBusy(error)) return null;
    throw error;
  }
  return () => database.close();
}

function isBusy(error: unknown): boolean {
  const SQLITE_BUSY = 5;
  return (
    error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === SQLITE_BUSY
  );
}
