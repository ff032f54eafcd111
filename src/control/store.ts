// The rules, the sandboxes, the settings and the secrets on the disk. Each method is one transaction, and when
// it returns, its change survives a power cut. It decides nothing: policy.ts and sandboxes.ts do.
import type { DatabaseSync, SQLOutputValue, StatementResultingChanges } from 'node:sqlite';
import { type HttpMatch, parseHttpMatch } from '../policy/http.ts';
import type { Kit } from '../policy/kit.ts';
import { type Governance, SEMANTICS, type Semantics } from '../policy/precedence.ts';
import { parseResources } from '../policy/resource.ts';
import type { CreatedVia, Decision, KitPhase, Protocol, Rule, Source } from '../policy/rule.ts';
import type { Listen } from '../workers/messages.ts';
import { corrupt, inTransaction, openDatabase } from './database.ts';
import { STORE_MIGRATIONS } from './migrations.ts';
import { PathRuleStore, type StoredPathRule } from './policy/path-rule-store.ts';
import { SecretStore } from './secrets/store.ts';

/** A rule with what listings show of it. */
export type StoredRule = Rule & {
  /** Order of creation; grows, never reused. */
  readonly position: number;
  readonly name: string;
  readonly createdVia: CreatedVia;
  readonly createdAtMs: number;
  /** Of an organisation's rule: the policy that it stands in. */
  readonly policy?: { readonly id: string; readonly name: string };
  /** Wall clock; absent: it does not end by itself. */
  readonly expiresAtMs?: number;
};

export type StoredSandbox = {
  /** The scope of its rules, 1 or more; never reused. */
  readonly number: number;
  readonly name: string;
  /** Hex SHA-256 of the token. */
  readonly tokenSha256: string;
  readonly listen: Listen | null;
  readonly sourceAddress: string | null;
  /** Where its refused CONNECTs are told; null: as the daemon's option says. */
  readonly deny: 'inside' | 'connect' | null;
  /** That its rules of source `kit` come from. */
  readonly kit: Kit | null;
  readonly phase: KitPhase;
  readonly createdAtMs: number;
};

/** What the policy is beside its rules. */
export type PolicySettings = {
  /** The preset that was chosen, null for none. */
  readonly preset: string | null;
  /** The organisation that governs, with what was last heard of it. */
  readonly governance: Governance | null;
  readonly semantics: Semantics;
};

/** What was last heard of an organisation. */
export type SyncRecord = {
  /** From whom. */
  readonly source: string;
  /** Wall clock; null: it was seen, and none of it has been in force yet, so it grants nothing. */
  readonly syncedMs: number | null;
  /** Wall clock; what was said grants nothing after it. Null: it does not end by itself. */
  readonly expiresMs: number | null;
  /** Of a signed document; null for other sources. */
  readonly serial: number | null;
  /** Hex SHA-256 of it. */
  readonly digest: string | null;
};

/** One change of the policy; applied whole or not at all. */
export type StoreChange = {
  /** Ids of rules that go. */
  readonly remove: readonly string[];
  /** Rules that come, or come back changed under the id and position of a removed one. */
  readonly add: readonly StoredRule[];
  /** Absent: as they were. */
  readonly settings?: PolicySettings;
  /** All filesystem rules as they shall be; absent: as they were. */
  readonly pathRules?: readonly StoredPathRule[];
};

type Row = Record<string, SQLOutputValue>;

export class Store {
  readonly secrets: SecretStore;
  readonly pathRules: PathRuleStore;
  readonly #database: DatabaseSync;
  readonly #path: string;

  private constructor(database: DatabaseSync, path: string) {
    this.#database = database;
    this.#path = path;
    this.secrets = new SecretStore(database);
    this.pathRules = new PathRuleStore(database, path);
  }

  /** @throws SALLYPORT_STORE_CORRUPT */
  static open(path: string): Store {
    return new Store(openDatabase(path, STORE_MIGRATIONS, 'FULL'), path);
  }

  close(): void {
    this.#database.close();
  }

  /**
   * All rules in order of creation.
   *
   * @throws SALLYPORT_STORE_CORRUPT when one cannot be understood: leaving out a deny would let
   *   more through than the user asked for.
   */
  rules(): StoredRule[] {
    const rules: StoredRule[] = [];
    const select = this.#database.prepare('SELECT * FROM rules ORDER BY position');
    for (const row of select.iterate()) rules.push(this.#ruleOf(row));
    return rules;
  }

  sandboxes(): StoredSandbox[] {
    const rows = this.#database.prepare('SELECT * FROM sandboxes ORDER BY number').all();
    return rows.map(sandboxOf);
  }

  /** @returns the position that the next rule gets; the caller counts on from there. */
  nextPosition(): number {
    const row = this.#database
      .prepare(`SELECT max((SELECT coalesce(max(position), 0) FROM rules),
                  (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'rules')) AS last`)
      .get();
    return Number(row?.last ?? 0) + 1;
  }

  policySettings(): PolicySettings {
    return {
      preset: this.#get('preset'),
      governance: this.#json('governance') as Governance | null,
      semantics: { ...SEMANTICS, ...(this.#json('semantics') as Semantics | null) },
    };
  }

  /** @returns null before the first. */
  syncRecord(): SyncRecord | null {
    return this.#json('governance_sync') as SyncRecord | null;
  }

  /** @param record  null: there is no organisation any more. */
  setSyncRecord(record: SyncRecord | null): void {
    this.#set('governance_sync', record && JSON.stringify(record));
  }

  /** Removes rules that have ended. @param nowMs  wall clock */
  removeEnded(nowMs: number): void {
    this.#database.prepare('DELETE FROM rules WHERE expires_at_ms <= ?').run(nowMs);
  }

  change(change: StoreChange): void {
    const { remove, add, settings, pathRules } = change;
    inTransaction(this.#database, () => {
      const drop = this.#database.prepare('DELETE FROM rules WHERE id = ?');
      for (const id of remove) drop.run(id);
      const insert = this.#database.prepare(
        'INSERT INTO rules VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      );
      for (const rule of add) insert.run(...columnsOf(rule));
      if (pathRules !== undefined) this.pathRules.replace(pathRules);
      if (settings === undefined) return;
      this.#set('preset', settings.preset);
      this.#set('governance', settings.governance && JSON.stringify(settings.governance));
      this.#set('semantics', JSON.stringify(settings.semantics));
    });
  }

  /** @returns the sandbox with its number. */
  addSandbox(sandbox: Omit<StoredSandbox, 'number'>): StoredSandbox {
    const { lastInsertRowid } = this.#insertSandbox('INSERT', null, sandbox);
    return { ...sandbox, number: Number(lastInsertRowid) };
  }

  /** Under its number, if it is not there. */
  restoreSandbox({ number, ...sandbox }: StoredSandbox): void {
    this.#insertSandbox('INSERT OR IGNORE', number, sandbox);
  }

  removeSandbox(name: string): void {
    this.#database.prepare('DELETE FROM sandboxes WHERE name = ?').run(name);
  }

  /** Removes rules and secrets of sandboxes that a death kept from going whole. */
  removeOrphans(): void {
    inTransaction(this.#database, () => {
      for (const table of ['rules', 'path_rules', 'secrets']) {
        this.#database.exec(
          `DELETE FROM ${table} WHERE scope > 0 AND scope NOT IN (SELECT number FROM sandboxes)`,
        );
      }
    });
  }

  setToken(name: string, tokenSha256: string): void {
    this.#database
      .prepare('UPDATE sandboxes SET token_sha256 = ? WHERE name = ?')
      .run(tokenSha256, name);
  }

  setPhase(name: string, phase: KitPhase): void {
    this.#database.prepare('UPDATE sandboxes SET phase = ? WHERE name = ?').run(phase, name);
  }

  #insertSandbox(
    insert: 'INSERT' | 'INSERT OR IGNORE',
    number: number | null,
    sandbox: Omit<StoredSandbox, 'number'>,
  ): StatementResultingChanges {
    const { name, tokenSha256, listen, sourceAddress, deny, kit, phase, createdAtMs } = sandbox;
    return this.#database
      .prepare(`${insert} INTO sandboxes
                  (number, name, token_sha256, listen, source_address, deny, kit, phase, created_at_ms)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`)
      .run(
        number,
        name,
        tokenSha256,
        listen && JSON.stringify(listen),
        sourceAddress,
        deny,
        kit && JSON.stringify(kit),
        phase,
        createdAtMs,
      );
  }

  #get(key: string): string | null {
    const row = this.#database.prepare('SELECT value FROM settings WHERE key = ?').get(key);
    return row === undefined ? null : String(row.value);
  }

  /** @throws SALLYPORT_STORE_CORRUPT: without it, more might be granted than the user asked for. */
  #json(key: string): unknown {
    const text = this.#get(key);
    try {
      return text === null ? null : JSON.parse(text);
    } catch (error) {
      throw corrupt(this.#path, `the setting ${key} cannot be read`, error);
    }
  }

  /** @param value  null removes it */
  #set(key: string, value: string | null): void {
    if (value === null) {
      this.#database.prepare('DELETE FROM settings WHERE key = ?').run(key);
      return;
    }
    this.#database
      .prepare(
        'INSERT INTO settings VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value',
      )
      .run(key, value);
  }

  #ruleOf(row: Row): StoredRule {
    try {
      return {
        position: Number(row.position),
        id: String(row.id),
        name: String(row.name),
        scope: Number(row.scope),
        source: String(row.source) as Source,
        decision: String(row.decision) as Decision,
        protocols: String(row.protocols).split(',') as Protocol[],
        resources: parseResources(String(row.resources)),
        createdVia: String(row.created_via) as CreatedVia,
        createdAtMs: Number(row.created_at_ms),
        ...(typeof row.http === 'string' && { http: httpOf(row.http) }),
        ...(typeof row.policy === 'string' && { policy: JSON.parse(row.policy) }),
        ...(typeof row.awaits === 'string' && { awaits: row.awaits as KitPhase }),
        ...(row.expires_at_ms !== null && { expiresAtMs: Number(row.expires_at_ms) }),
      };
    } catch (error) {
      throw corrupt(this.#path, `rule ${String(row.id)} cannot be read`, error);
    }
  }
}

/** Resources are kept in their canonical spelling, as one comma list. */
function columnsOf(rule: StoredRule): (string | number | null)[] {
  return [
    rule.position,
    rule.id,
    rule.name,
    rule.scope,
    rule.source,
    rule.decision,
    rule.protocols.join(','),
    rule.resources.map(({ text }) => text).join(','),
    rule.createdVia,
    rule.createdAtMs,
    jsonOf(rule.http),
    jsonOf(rule.policy),
    rule.awaits ?? null,
    rule.expiresAtMs ?? null,
  ];
}

function jsonOf(value: object | undefined): string | null {
  return value === undefined ? null : JSON.stringify(value);
}

/** @throws SALLYPORT_POLICY_INVALID for what was not written by us */
function httpOf(text: string): HttpMatch {
  const { methods, paths } = JSON.parse(text) as HttpMatch;
  return parseHttpMatch(methods.length === 0 ? ['ANY'] : methods, paths);
}

function sandboxOf(row: Row): StoredSandbox {
  const { listen, source_address: sourceAddress, deny } = row;
  return {
    number: Number(row.number),
    name: String(row.name),
    tokenSha256: String(row.token_sha256),
    listen: typeof listen === 'string' ? (JSON.parse(listen) as Listen) : null,
    sourceAddress: typeof sourceAddress === 'string' ? sourceAddress : null,
    deny: deny === 'inside' || deny === 'connect' ? deny : null,
    kit: typeof row.kit === 'string' ? (JSON.parse(row.kit) as Kit) : null,
    phase: row.phase === 'install' ? 'install' : 'runtime',
    createdAtMs: Number(row.created_at_ms),
  };
}
