// Opens a SQLite file for this product: private to the user, checked, migrated, write-ahead logged.
// Knows no table; those are in migrations.ts, and only store.ts and log.ts write to them.
import { chmodSync, closeSync, existsSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { SallyportError } from '../base/errors.ts';

export type Durability =
  /** Every commit is on the disk before it returns: survives a power cut. */
  | 'FULL'
  /** Every commit is with the kernel before it returns: survives the death of this process. */
  | 'NORMAL';

/**
 * Opens or creates a database.
 *
 * @param migrations  one script for each version, the first for an empty file; only ever appended to.
 * @throws SALLYPORT_STORE_CORRUPT when the file is damaged, or was written by a newer version.
 */
export function openDatabase(
  path: string,
  migrations: readonly string[],
  durability: Durability,
): DatabaseSync {
  try {
    // SQLite would create it with the umask's mode, and its -wal and -shm files copy that mode.
    if (!existsSync(path)) closeSync(openSync(path, 'a', 0o600));
    chmodSync(path, 0o600);
    const database = new DatabaseSync(path, { timeout: 5_000 });
    try {
      database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${durability};`);
      database.exec('PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 4000;');
      check(database, path);
      migrate(database, migrations, path);
    } catch (error) {
      database.close();
      throw error;
    }
    return database;
  } catch (error) {
    if (error instanceof SallyportError || !isDamage(error)) throw error;
    throw corrupt(path, error instanceof Error ? error.message : String(error), error);
  }
}

/** Runs `work` in one transaction: all of it, or none. */
export function inTransaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    database.exec('COMMIT');
    return result;
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

export function corrupt(path: string, what: string, cause?: unknown): SallyportError {
  return new SallyportError('SALLYPORT_STORE_CORRUPT', `${path} cannot be used: ${what}`, {
    cause,
  });
}

function check(database: DatabaseSync, path: string): void {
  const [first] = database.prepare('PRAGMA integrity_check(1)').all();
  const said = String(first?.integrity_check);
  if (said !== 'ok') throw corrupt(path, said);
}

function migrate(database: DatabaseSync, migrations: readonly string[], path: string): void {
  const row = database.prepare('PRAGMA user_version').get();
  const version = Number(row?.user_version);
  if (version > migrations.length) {
    throw corrupt(path, `its version is ${version}, this program knows ${migrations.length}`);
  }
  for (const [index, script] of migrations.entries()) {
    if (index < version) continue;
    inTransaction(database, () => database.exec(`${script}; PRAGMA user_version = ${index + 1};`));
  }
}

/** SQLITE_CORRUPT and SQLITE_NOTADB; the rest (disk full, permission) is not the file's fault. */
function isDamage(error: unknown): boolean {
  if (!(error instanceof Error) || !('errcode' in error)) return false;
  const primary = Number(error.errcode) & 0xff;
  return primary === 11 || primary === 26;
}
