// The rows of `policy log`: each destination of a sandbox once, with when and how often, however
// much traffic there was. A view for people; the record of every exchange is audit.ts.
import { renameSync, rmSync } from 'node:fs';
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import type { Clock } from '../../base/clock.ts';
import { SallyportError } from '../../base/errors.ts';
import { AUDIT_FLUSH_MS, KEEP_LOOK_MS, LOG_ROWS_MAX } from '../../base/limits.ts';
import type { Address } from '../../policy/address.ts';
import type { Host } from '../../policy/host.ts';
import { ruleLabel, ruleText } from '../../policy/reasons.ts';
import { formatHostPort } from '../../policy/resource.ts';
import type { Outcome } from '../../proxy/exchange.ts';
import { inTransaction, openDatabase } from '../database.ts';
import { LOG_MIGRATIONS } from '../migrations.ts';
import type { Decided } from './decided.ts';
import { type LogFilter, type LogType, passes } from './log-filter.ts';

/** A row as GET /network/log gives it. */
export type LogRow = {
  /** host:port, or a path. */
  readonly host: string;
  readonly type: LogType;
  readonly vm_name: string;
  readonly proxy_type: string;
  readonly rule: string;
  readonly reason?: string;
  readonly last_seen: string;
  readonly since: string;
  readonly count_since: number;
};

/** @param mode  the PROXY column */
export function typeOf(mode: string): LogType {
  return mode.startsWith('mount:') ? 'filesystem' : 'network';
}

export type LogListing = { readonly blocked_hosts: LogRow[]; readonly allowed_hosts: LogRow[] };

type Delta = {
  readonly key: readonly [string, string, string, string, string, string];
  firstMs: number;
  lastMs: number;
  count: number;
};

export type LogOptions = {
  readonly clock: Clock;
  /** The log cannot be written, or was put aside. */
  readonly onTrouble: (error: unknown) => void;
  /** Rows that were not seen for so long are forgotten; infinite for never. */
  readonly keepMs: number;
  readonly rowsMax?: number;
};

/** Where failures to reach an allowed destination begin; only these are told in REASON. */
const UPSTREAM_CODE = /^SALLYPORT_(UPSTREAM|DNS)_/;

/**
 * Whether people are shown an exchange. One without a decision is no news, and a tunnel that is
 * intercepted is told by the requests inside it.
 */
export function isListed({ verdict, method, mode, code }: Outcome): boolean {
  const isOpening = method === 'CONNECT' && mode === 'forward' && code === null;
  return verdict !== 'none' && !isOpening;
}

export class DecisionLog {
  readonly #database: DatabaseSync;
  readonly #clock: Clock;
  readonly #onTrouble: LogOptions['onTrouble'];
  readonly #keepMs: number;
  readonly #rowsMax: number;
  readonly #waiting = new Map<string, Delta>();
  /** At least as many as there are. */
  #rows: number;
  #timer: NodeJS.Timeout | null = null;
  /** When it is next looked for rows that are too old. */
  #lookMs = 0;

  private constructor(database: DatabaseSync, options: LogOptions) {
    this.#database = database;
    this.#clock = options.clock;
    this.#onTrouble = options.onTrouble;
    this.#keepMs = options.keepMs;
    this.#rowsMax = options.rowsMax ?? LOG_ROWS_MAX;
    this.#rows = this.#count();
  }

  /** A damaged log is put aside and begun anew: no decision rests on it. */
  static open(path: string, options: LogOptions): DecisionLog {
    try {
      return new DecisionLog(openDatabase(path, LOG_MIGRATIONS, 'NORMAL'), options);
    } catch (error) {
      if (!(error instanceof SallyportError)) throw error;
      options.onTrouble(error);
      renameSync(path, `${path}.damaged`);
      for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true });
      return new DecisionLog(openDatabase(path, LOG_MIGRATIONS, 'NORMAL'), options);
    }
  }

  /** Adds decisions; they are on the disk AUDIT_FLUSH_MS later. Exchanges without one are left out. */
  add(outcomes: readonly Outcome[]): void {
    for (const outcome of outcomes) {
      if (isListed(outcome)) this.#add(outcome);
    }
    this.#schedule();
  }

  /** Adds one that is no exchange. */
  note({ sandbox, place, mode, verdict, rule, reason, time_ms: timeMs }: Decided): void {
    const key = [sandbox, place, mode, verdict, rule, reason ?? ''] as const;
    this.#see(JSON.stringify(key), Math.floor(timeMs), () => key);
    this.#schedule();
  }

  /** @throws what SQLite throws (disk full); the rows wait for the next flush. */
  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#waiting.size === 0) return;
    inTransaction(this.#database, () => {
      const upsert = this.#database.prepare(
        `INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
           first_seen_ms = min(first_seen_ms, excluded.first_seen_ms),
           last_seen_ms = max(last_seen_ms, excluded.last_seen_ms), count = count + excluded.count`,
      );
      for (const { key, firstMs, lastMs, count } of this.#waiting.values()) {
        upsert.run(...key, firstMs, lastMs, count);
      }
    });
    this.#rows += this.#waiting.size;
    this.#waiting.clear();
    if (this.#rows > this.#rowsMax) this.#prune();
    if (this.#clock.wallMs() >= this.#lookMs) this.#forgetOld();
  }

  /**
   * @param limit  how many of the latest rows, of both kinds together; 0 for all.
   * @throws SALLYPORT_POLICY_INVALID for hosts that no rule could name
   */
  list(filter: LogFilter, limit: number): LogListing {
    this.#flushOrForget(); // What the disk refuses is not in it, and what is there can be read.
    const isWanted = passes(filter);
    const rows = { deny: [] as LogRow[], allow: [] as LogRow[] };
    let left = limit === 0 ? Number.POSITIVE_INFINITY : limit;
    const all = this.#database
      .prepare(
        `SELECT * FROM log WHERE last_seen_ms >= ?1 AND (?2 IS NULL OR sandbox = ?2)
         ORDER BY last_seen_ms DESC`,
      )
      .iterate(Math.max(filter.sinceMs ?? 0, this.#oldestMs()), filter.sandbox ?? null);
    for (const found of all) {
      if (left === 0) break;
      const { last_seen_ms: lastMs } = found;
      const row = rowOf(found);
      const decision = found.decision === 'deny' ? 'deny' : 'allow';
      const { vm_name: sandbox, ...facts } = row;
      if (!isWanted({ ...facts, sandbox, decision, lastMs: Number(lastMs) })) continue;
      rows[decision].push(row);
      left--;
    }
    return { blocked_hosts: rows.deny, allowed_hosts: rows.allow };
  }

  /** Forgets all rows. */
  clear(): void {
    this.#waiting.clear();
    this.#database.exec('DELETE FROM log');
    this.#rows = 0;
  }

  close(): void {
    this.#flushOrForget();
    this.#database.close();
  }

  #schedule(): void {
    if (this.#waiting.size >= this.#rowsMax) this.#flushOrForget();
    else if (this.#waiting.size > 0) {
      this.#timer ??= setTimeout(() => this.#flushOrForget(), AUDIT_FLUSH_MS);
    }
  }

  /** A view may lose rows on a full disk; it must neither grow without end nor stop the daemon. */
  #flushOrForget(): void {
    try {
      this.flush();
    } catch (error) {
      this.#onTrouble(error);
      if (this.#waiting.size >= this.#rowsMax) this.#waiting.clear();
    }
  }

  /** Runs once for each exchange, so the words of a row are only made when it is new. */
  #add(outcome: Outcome): void {
    const { sandbox, host, port, mode, verdict, deny_kind: kind, rule, reason, code } = outcome;
    const name = `${sandbox}\n${host}\n${port}\n${mode}\n${verdict}\n${kind}\n${rule}\n${reason}\n${code}`;
    this.#see(name, Math.floor(outcome.time_ms), () => {
      const place = formatHostPort(host, port);
      return [sandbox, place, mode, verdict, ruleOf(outcome), reasonOf(outcome)];
    });
  }

  /** @param name  of its row, among those that wait */
  #see(name: string, timeMs: number, keyOf: () => Delta['key']): void {
    const delta = this.#waiting.get(name);
    if (delta === undefined) {
      this.#waiting.set(name, { key: keyOf(), firstMs: timeMs, lastMs: timeMs, count: 1 });
    } else {
      delta.firstMs = Math.min(delta.firstMs, timeMs);
      delta.lastMs = Math.max(delta.lastMs, timeMs);
      delta.count++;
    }
  }

  #count(): number {
    return Number(this.#database.prepare('SELECT count(*) AS rows FROM log').get()?.rows);
  }

  #oldestMs(): number {
    return Math.max(0, this.#clock.wallMs() - this.#keepMs);
  }

  #forgetOld(): void {
    this.#lookMs = this.#clock.wallMs() + KEEP_LOOK_MS;
    this.#database.prepare('DELETE FROM log WHERE last_seen_ms < ?').run(this.#oldestMs());
    this.#rows = this.#count();
  }

  /** A tenth at a time, so that a full log is not pruned at every flush. */
  #prune(): void {
    this.#rows = this.#count();
    if (this.#rows <= this.#rowsMax) return;
    const excess = this.#rows - Math.floor(this.#rowsMax * 0.9);
    this.#database
      .prepare(
        `DELETE FROM log WHERE (sandbox, host, mode, decision, rule, reason) IN
           (SELECT sandbox, host, mode, decision, rule, reason FROM log ORDER BY last_seen_ms LIMIT ?)`,
      )
      .run(excess);
    this.#rows -= excess;
  }
}

/** RULE names the rule that decided, on allowed rows too. */
export function ruleOf({ verdict, deny_kind: kind, rule, host, port }: Outcome): string {
  if (verdict === 'allow') return rule === null ? '' : ruleLabel(rule);
  const question = { host: host as Host | Address, port, protocol: 'tcp' } as const;
  return ruleText(kind === 'explicit' ? rule : null, question);
}

function reasonOf(outcome: Outcome): string {
  const { verdict, reason, code } = outcome;
  if (verdict === 'deny') return reason ?? '';
  return code !== null && UPSTREAM_CODE.test(code) ? code : (bypassText(outcome) ?? '');
}

/** Why a tunnel was not looked into, where the operator said so; null for all others. */
export function bypassText({ bypass }: Outcome): string | null {
  return bypass === null ? null : `on the bypass list: ${bypass}`;
}

function rowOf(row: Record<string, SQLOutputValue>): LogRow {
  const reason = String(row.reason);
  const proxyType = String(row.mode);
  return {
    host: String(row.host),
    type: typeOf(proxyType),
    vm_name: String(row.sandbox),
    proxy_type: proxyType,
    rule: String(row.rule),
    ...(reason === '' ? {} : { reason }),
    last_seen: new Date(Number(row.last_seen_ms)).toISOString(),
    since: new Date(Number(row.first_seen_ms)).toISOString(),
    count_since: Number(row.count),
  };
}
