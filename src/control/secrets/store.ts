// The secrets on the disk, in the database of store.ts; their values are sealed before they get here.
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import type { CustomBinding, InjectionPolicy, Scrub } from '../../credentials/binding.ts';
import type { OAuthClient } from '../../credentials/oauth.ts';
import { inTransaction } from '../database.ts';

export type SecretKind = 'service' | 'custom' | 'registry';
export type Place = CustomBinding['in'][number];

/** A scope beside those of rules: the host itself; no sandbox gets at it. */
export const HOST_ONLY_SCOPE = -1;

export type StoredSecret = {
  readonly id: string;
  readonly kind: SecretKind;
  /** GLOBAL_SCOPE, the number of a sandbox, or HOST_ONLY_SCOPE. */
  readonly scope: number;
  /** The service, the environment variable of a custom secret, or the registry's host. */
  readonly name: string;
  /** Of a custom secret, or of a service that has a grant. */
  readonly hosts: readonly string[];
  readonly placeholder: string | null;
  /** Of a custom secret, and of a grant, for the sentinels of its tokens. */
  readonly placeholderKey: string | null;
  readonly in: readonly Place[];
  /** Of a service. */
  readonly policy: InjectionPolicy | null;
  readonly plaintext: boolean;
  /** Always `off` for a registry. */
  readonly scrub: Scrub;
  /** Where the value comes from, null when it is stored. */
  readonly command: string | null;
  /** How long a value of the command serves, ON_DEMAND_MS, or null without one. */
  readonly refreshMs: number | null;
  /** Of a registry. */
  readonly username: string | null;
  readonly authEndpoint: string | null;
  /** Of a service: its value is the access token that a grant gives. */
  readonly oauth: OAuthClient | null;
  /** What vault.ts made of the value, or of OAuthSecrets as JSON; null with a command. */
  readonly sealed: Uint8Array | null;
  readonly createdAtMs: number;
};

type Row = Record<string, SQLOutputValue>;

export class SecretStore {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** All, in order of scope, kind and name. */
  all(): StoredSecret[] {
    return this.#database
      .prepare('SELECT * FROM secrets ORDER BY scope, kind, name')
      .all()
      .map(secretOf);
  }

  /** One change, whole or not at all. */
  change(remove: readonly string[], add: readonly StoredSecret[]): void {
    inTransaction(this.#database, () => {
      const drop = this.#database.prepare('DELETE FROM secrets WHERE id = ?');
      for (const id of remove) drop.run(id);
      const insert = this.#database.prepare(
        'INSERT INTO secrets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      );
      for (const secret of add) insert.run(...columnsOf(secret));
    });
  }

  /** Puts another sealed value in the place of one. */
  reseal(id: string, sealed: Uint8Array): void {
    this.#database.prepare('UPDATE secrets SET sealed = ? WHERE id = ?').run(sealed, id);
  }
}

function columnsOf(secret: StoredSecret): (string | number | Uint8Array | null)[] {
  return [
    secret.id,
    secret.kind,
    secret.scope,
    secret.name,
    secret.hosts.join(','),
    secret.placeholder,
    secret.placeholderKey,
    secret.in.join(','),
    secret.policy,
    Number(secret.plaintext),
    secret.command,
    secret.refreshMs,
    secret.username,
    secret.authEndpoint,
    secret.sealed,
    secret.createdAtMs,
    secret.scrub,
    secret.oauth === null ? null : JSON.stringify(secret.oauth),
  ];
}

function secretOf(row: Row): StoredSecret {
  return {
    id: String(row.id),
    kind: String(row.kind) as SecretKind,
    scope: Number(row.scope),
    name: String(row.name),
    hosts: listOf(row.hosts),
    placeholder: textOf(row.placeholder),
    placeholderKey: textOf(row.placeholder_key),
    in: listOf(row.places) as Place[],
    policy: textOf(row.policy) as InjectionPolicy | null,
    plaintext: row.plaintext === 1,
    command: textOf(row.command),
    refreshMs: typeof row.refresh_ms === 'number' ? row.refresh_ms : null,
    username: textOf(row.username),
    authEndpoint: textOf(row.auth_endpoint),
    sealed: row.sealed instanceof Uint8Array ? row.sealed : null,
    createdAtMs: Number(row.created_at_ms),
    scrub: String(row.scrub) as Scrub,
    oauth: typeof row.oauth === 'string' ? (JSON.parse(row.oauth) as OAuthClient) : null,
  };
}

function textOf(value: SQLOutputValue | undefined): string | null {
  return typeof value === 'string' ? value : null;
}

function listOf(value: SQLOutputValue | undefined): string[] {
  return typeof value === 'string' && value !== '' ? value.split(',') : [];
}
