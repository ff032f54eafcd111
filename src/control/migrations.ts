// The tables, as the scripts that made them. A script that was ever released is never edited: the
// next change of a table is one more script at the end.

/** policy.db: what must not be lost. */
export const STORE_MIGRATIONS: readonly string[] = [
  `CREATE TABLE sandboxes (
     number INTEGER PRIMARY KEY AUTOINCREMENT, -- AUTOINCREMENT: rules of a removed sandbox never apply to a later one.
     name TEXT NOT NULL UNIQUE,
     token_sha256 TEXT NOT NULL,
     listen TEXT UNIQUE,
     source_address TEXT UNIQUE,
     created_at_ms INTEGER NOT NULL
   ) STRICT;
   CREATE TABLE rules (
     position INTEGER PRIMARY KEY AUTOINCREMENT,
     id TEXT NOT NULL UNIQUE,
     name TEXT NOT NULL,
     scope INTEGER NOT NULL,
     source TEXT NOT NULL,
     decision TEXT NOT NULL CHECK (decision IN ('allow', 'deny')),
     protocols TEXT NOT NULL,
     resources TEXT NOT NULL,
     created_via TEXT NOT NULL,
     created_at_ms INTEGER NOT NULL
   ) STRICT;
   CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;`,
  `CREATE TABLE secrets (
     id TEXT PRIMARY KEY,
     kind TEXT NOT NULL CHECK (kind IN ('service', 'custom', 'registry')),
     scope INTEGER NOT NULL, -- 0 global, -1 the host alone, else a sandbox.
     name TEXT NOT NULL,
     hosts TEXT NOT NULL,
     placeholder TEXT,
     placeholder_key TEXT,
     places TEXT NOT NULL,
     policy TEXT,
     plaintext INTEGER NOT NULL,
     command TEXT,
     refresh_ms INTEGER,
     username TEXT,
     auth_endpoint TEXT,
     sealed BLOB,
     created_at_ms INTEGER NOT NULL,
     UNIQUE (kind, scope, name),
     CHECK ((sealed IS NULL) <> (command IS NULL))
   ) STRICT, WITHOUT ROWID;`,
  'ALTER TABLE sandboxes ADD COLUMN deny TEXT',
  "ALTER TABLE secrets ADD COLUMN scrub TEXT NOT NULL DEFAULT 'off'",
  // JSON: what an HTTP rule asks of requests; the policy that an organisation's rule stands in.
  'ALTER TABLE rules ADD COLUMN http TEXT; ALTER TABLE rules ADD COLUMN policy TEXT',
  'ALTER TABLE secrets ADD COLUMN oauth TEXT', // JSON: the client, without its secrets.
  // Sentinels for tokens need a key. A client that is said to ask in its own name still asks with a
  // refresh token where it has one; only a sign-in that brought none must be told apart.
  `UPDATE secrets SET
     placeholder_key = lower(hex(randomblob(32))),
     oauth = json_set(oauth, '$.grant', 'client_credentials', '$.format', 'form', '$.signInInside', json('false'))
   WHERE oauth IS NOT NULL`,
  // Filesystem rules; a policy that was chosen before there were any gets the defaults of every preset.
  `CREATE TABLE path_rules (
     position INTEGER PRIMARY KEY,
     id TEXT NOT NULL UNIQUE,
     name TEXT NOT NULL,
     scope INTEGER NOT NULL,
     source TEXT NOT NULL,
     decision TEXT NOT NULL CHECK (decision IN ('allow', 'deny')),
     access TEXT NOT NULL CHECK (access IN ('read', 'write')),
     patterns TEXT NOT NULL, -- JSON
     created_via TEXT NOT NULL,
     created_at_ms INTEGER NOT NULL,
     policy TEXT
   ) STRICT;
   INSERT INTO path_rules
     SELECT 1, 'default-fs-read-allow-all', 'default-fs-read-allow-all', 0, 'local', 'allow', 'read', '["**"]', 'default', 0, NULL
     FROM settings WHERE key = 'preset'
     UNION ALL
     SELECT 2, 'default-fs-write-allow-all', 'default-fs-write-allow-all', 0, 'local', 'allow', 'write', '["**"]', 'default', 0, NULL
     FROM settings WHERE key = 'preset'`,
  // JSON: the kit that a sandbox came with; the phase it is in. Of a kit's rule: the phase that it waits for.
  `ALTER TABLE sandboxes ADD COLUMN kit TEXT;
   ALTER TABLE sandboxes ADD COLUMN phase TEXT NOT NULL DEFAULT 'runtime';
   ALTER TABLE rules ADD COLUMN awaits TEXT`,
  'ALTER TABLE rules ADD COLUMN expires_at_ms INTEGER', // Wall clock; null: it does not end.
];

/** log.db: what `policy log` shows; lost without harm. */
export const LOG_MIGRATIONS: readonly string[] = [
  `CREATE TABLE log (
     sandbox TEXT NOT NULL,
     host TEXT NOT NULL,
     mode TEXT NOT NULL,
     decision TEXT NOT NULL,
     rule TEXT NOT NULL,
     reason TEXT NOT NULL,
     first_seen_ms INTEGER NOT NULL,
     last_seen_ms INTEGER NOT NULL,
     count INTEGER NOT NULL,
     PRIMARY KEY (sandbox, host, mode, decision, rule, reason)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX log_by_last_seen ON log (last_seen_ms);`,
];
