// Filesystem rules on the disk, in the database of store.ts and in its transactions. There are few, so
// that they are written all together.
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import { parsePathPatterns } from '../../policy/file-pattern.ts';
import type { Access, PathRule } from '../../policy/mount.ts';
import type { CreatedVia, Decision, Source } from '../../policy/rule.ts';
import { corrupt } from '../database.ts';

/** A filesystem rule with what listings show of it. */
export type StoredPathRule = PathRule & {
  readonly name: string;
  readonly createdVia: CreatedVia;
  readonly createdAtMs: number;
  /** Of an organisation's rule: the policy that it stands in. */
  readonly policy?: { readonly id: string; readonly name: string };
};

export class PathRuleStore {
  readonly #database: DatabaseSync;
  readonly #path: string;

  constructor(database: DatabaseSync, path: string) {
    this.#database = database;
    this.#path = path;
  }

  /**
   * All rules in order of creation.
   *
   * @throws SALLYPORT_STORE_CORRUPT when one cannot be understood: it may be a deny.
   */
  all(): StoredPathRule[] {
    const rows = this.#database.prepare('SELECT * FROM path_rules ORDER BY position').all();
    return rows.map((row) => this.#ruleOf(row));
  }

  /** Within a transaction of the caller. */
  replace(rules: readonly StoredPathRule[]): void {
    this.#database.exec('DELETE FROM path_rules');
    const insert = this.#database.prepare(
      'INSERT INTO path_rules VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
    );
    for (const [index, rule] of rules.entries()) {
      insert.run(
        index + 1,
        rule.id,
        rule.name,
        rule.scope,
        rule.source,
        rule.decision,
        rule.access,
        JSON.stringify(rule.patterns.map(({ text }) => text)),
        rule.createdVia,
        rule.createdAtMs,
        rule.policy === undefined ? null : JSON.stringify(rule.policy),
      );
    }
  }

  #ruleOf(row: Record<string, SQLOutputValue>): StoredPathRule {
    try {
      return {
        id: String(row.id),
        name: String(row.name),
        scope: Number(row.scope),
        source: String(row.source) as Source,
        decision: String(row.decision) as Decision,
        access: String(row.access) as Access,
        patterns: parsePathPatterns(JSON.parse(String(row.patterns))),
        createdVia: String(row.created_via) as CreatedVia,
        createdAtMs: Number(row.created_at_ms),
        ...(typeof row.policy === 'string' && { policy: JSON.parse(row.policy) }),
      };
    } catch (error) {
      throw corrupt(this.#path, `filesystem rule ${String(row.id)} cannot be read`, error);
    }
  }
}
