// What a governance server keeps: policies with their rules, tokens by their hashes, and what was
// changed by whom. One SQLite file for one organisation; when a transaction has returned, it survives
// a power cut. What may be changed, organization.ts says.
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import { corrupt, inTransaction, openDatabase } from '../control/database.ts';
import type { RuleDraft, Settings } from '../control/governance/api.ts';

/** Only ever appended to; see control/database.ts. */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE policies (
     position INTEGER PRIMARY KEY AUTOINCREMENT, -- Pages go by it, so it is never reused.
     id TEXT NOT NULL UNIQUE,
     name TEXT NOT NULL UNIQUE,
     teams TEXT NOT NULL,
     created_ms INTEGER NOT NULL,
     updated_ms INTEGER NOT NULL
   ) STRICT;
   CREATE TABLE rules (
     position INTEGER PRIMARY KEY AUTOINCREMENT,
     id TEXT NOT NULL UNIQUE,
     policy TEXT NOT NULL REFERENCES policies (id) ON DELETE CASCADE,
     draft TEXT NOT NULL
   ) STRICT;
   CREATE INDEX rules_by_policy ON rules (policy, position);
   CREATE TABLE tokens (
     name TEXT PRIMARY KEY,
     sha256 TEXT NOT NULL UNIQUE,
     role TEXT NOT NULL CHECK (role IN ('reader', 'admin')),
     created_ms INTEGER NOT NULL
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE audit (
     seq INTEGER PRIMARY KEY AUTOINCREMENT,
     time_ms INTEGER NOT NULL,
     actor TEXT NOT NULL,
     action TEXT NOT NULL,
     policy TEXT,
     rule TEXT,
     before TEXT,
     after TEXT
   ) STRICT;`,
];

export type StoredPolicy = {
  readonly position: number;
  readonly id: string;
  readonly name: string;
  readonly teams: readonly string[];
  readonly createdMs: number;
  /** Grows with each change of the policy or its rules, whatever the clock does. */
  readonly updatedMs: number;
};

export type StoredRule = { readonly id: string } & RuleDraft;

export type Role = 'reader' | 'admin';

export type StoredToken = {
  readonly name: string;
  readonly role: Role;
  readonly createdMs: number;
};

/** One change, with what was there before and after it as the API gives it. */
export type AuditEntry = {
  readonly timeMs: number;
  /** The name of the token. */
  readonly actor: string;
  readonly action: string;
  readonly policy: string | null;
  readonly rule: string | null;
  readonly before: object | null;
  readonly after: object | null;
};

type Row = Record<string, SQLOutputValue>;

export class GovernanceStore {
  readonly #database: DatabaseSync;
  readonly #path: string;

  private constructor(database: DatabaseSync, path: string) {
    this.#database = database;
    this.#path = path;
  }

  /** @throws SALLYPORT_STORE_CORRUPT */
  static open(path: string): GovernanceStore {
    return new GovernanceStore(openDatabase(path, MIGRATIONS, 'FULL'), path);
  }

  close(): void {
    this.#database.close();
  }

  /** All of the work, or none. */
  transaction<T>(work: () => T): T {
    return inTransaction(this.#database, work);
  }

  get organization(): string | null {
    return this.#get('organization');
  }

  set organization(name: string) {
    this.#set('organization', name);
  }

  get settings(): Settings {
    const text = this.#get('settings');
    return text === null ? { support_message: null, delegates: [] } : this.#json(text);
  }

  set settings(settings: Settings) {
    this.#set('settings', JSON.stringify(settings));
  }

  /** @param after  a position; 0 for the first */
  policies(after: number, count: number): StoredPolicy[] {
    const select = 'SELECT * FROM policies WHERE position > ? ORDER BY position LIMIT ?';
    return this.#all(select, after, count).map((row) => this.#policyOf(row));
  }

  policy(id: string): StoredPolicy | null {
    const [row] = this.#all('SELECT * FROM policies WHERE id = ?', id);
    return row === undefined ? null : this.#policyOf(row);
  }

  policyNamed(name: string): StoredPolicy | null {
    const [row] = this.#all('SELECT * FROM policies WHERE name = ?', name);
    return row === undefined ? null : this.#policyOf(row);
  }

  policyCount(): number {
    return Number(this.#all('SELECT count(*) AS count FROM policies')[0]?.count);
  }

  addPolicy({ id, name, teams, createdMs, updatedMs }: Omit<StoredPolicy, 'position'>): void {
    this.#run(
      'INSERT INTO policies (id, name, teams, created_ms, updated_ms) VALUES (?, ?, ?, ?, ?)',
      id,
      name,
      JSON.stringify(teams),
      createdMs,
      updatedMs,
    );
  }

  updatePolicy({ id, name, teams, updatedMs }: StoredPolicy): void {
    const update = 'UPDATE policies SET name = ?, teams = ?, updated_ms = ? WHERE id = ?';
    this.#run(update, name, JSON.stringify(teams), updatedMs, id);
  }

  /** Its rules go with it. */
  removePolicy(id: string): void {
    this.#run('DELETE FROM policies WHERE id = ?', id);
  }

  rules(policy: string): StoredRule[] {
    const select = 'SELECT id, draft FROM rules WHERE policy = ? ORDER BY position';
    return this.#all(select, policy).map(({ id, draft }) => ({
      id: String(id),
      ...this.#json<RuleDraft>(String(draft)),
    }));
  }

  addRule(policy: string, { id, ...draft }: StoredRule): void {
    const insert = 'INSERT INTO rules (id, policy, draft) VALUES (?, ?, ?)';
    this.#run(insert, id, policy, JSON.stringify(draft));
  }

  updateRule({ id, ...draft }: StoredRule): void {
    this.#run('UPDATE rules SET draft = ? WHERE id = ?', JSON.stringify(draft), id);
  }

  removeRule(id: string): void {
    this.#run('DELETE FROM rules WHERE id = ?', id);
  }

  tokens(): StoredToken[] {
    return this.#all('SELECT * FROM tokens ORDER BY name').map(tokenOf);
  }

  /** @param sha256  hex */
  tokenOf(sha256: string): StoredToken | null {
    const [row] = this.#all('SELECT * FROM tokens WHERE sha256 = ?', sha256);
    return row === undefined ? null : tokenOf(row);
  }

  addToken({ name, role, createdMs }: StoredToken, sha256: string): void {
    this.#run('INSERT INTO tokens VALUES (?, ?, ?, ?)', name, sha256, role, createdMs);
  }

  removeToken(name: string): void {
    this.#run('DELETE FROM tokens WHERE name = ?', name);
  }

  /** @param keep  how many entries stay, the latest: 1 or more */
  addAudit(entry: AuditEntry, keep: number): void {
    const { timeMs, actor, action, policy, rule, before, after } = entry;
    this.#run(
      `INSERT INTO audit (time_ms, actor, action, policy, rule, before, after)
       VALUES (?, ?, ?, ?, ?, ?, ?)`,
      timeMs,
      actor,
      action,
      policy,
      rule,
      before && JSON.stringify(before),
      after && JSON.stringify(after),
    );
    this.#run('DELETE FROM audit WHERE seq <= (SELECT max(seq) FROM audit) - ?', keep);
  }

  /** The latest first. @param before  a number of an entry; null for the latest */
  audit(before: number | null, count: number): (AuditEntry & { readonly seq: number })[] {
    const select = 'SELECT * FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ?';
    return this.#all(select, before ?? Number.MAX_SAFE_INTEGER, count).map((row) => ({
      seq: Number(row.seq),
      timeMs: Number(row.time_ms),
      actor: String(row.actor),
      action: String(row.action),
      policy: textOf(row.policy),
      rule: textOf(row.rule),
      before: this.#objectOf(row.before),
      after: this.#objectOf(row.after),
    }));
  }

  #all(sql: string, ...values: (string | number | null)[]): Row[] {
    return this.#database.prepare(sql).all(...values);
  }

  #run(sql: string, ...values: (string | number | null)[]): void {
    this.#database.prepare(sql).run(...values);
  }

  #get(key: string): string | null {
    const [row] = this.#all('SELECT value FROM settings WHERE key = ?', key);
    return row === undefined ? null : String(row.value);
  }

  #set(key: string, value: string): void {
    const put =
      'INSERT INTO settings VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value';
    this.#run(put, key, value);
  }

  #policyOf(row: Row): StoredPolicy {
    return {
      position: Number(row.position),
      id: String(row.id),
      name: String(row.name),
      teams: this.#json(String(row.teams)),
      createdMs: Number(row.created_ms),
      updatedMs: Number(row.updated_ms),
    };
  }

  #objectOf(value: SQLOutputValue | undefined): object | null {
    return typeof value === 'string' ? this.#json(value) : null;
  }

  /** @throws SALLYPORT_STORE_CORRUPT */
  #json<T>(text: string): T {
    try {
      return JSON.parse(text) as T;
    } catch (error) {
      throw corrupt(this.#path, 'a value cannot be read', error);
    }
  }
}

function tokenOf(row: Row): StoredToken {
  const role = row.role === 'admin' ? 'admin' : 'reader';
  return { name: String(row.name), role, createdMs: Number(row.created_ms) };
}

function textOf(value: SQLOutputValue | undefined): string | null {
  return typeof value === 'string' ? value : null;
}
