/** Tables of `log.db`. Forward only: a change adds a step here and a version to `user_version`. */

/** `temp_store` in memory: the engine's host may not write anywhere but in its data directory. */
export const SQLITE_PRAGMAS = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA wal_autocheckpoint = 0;
  PRAGMA journal_size_limit = 67108864;
  PRAGMA temp_store = MEMORY;
  PRAGMA cache_size = -32768;
`;

export const SQLITE_SCHEMA = `
  CREATE TABLE IF NOT EXISTS meta (id INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS ticks (
    tick INTEGER PRIMARY KEY, header BLOB NOT NULL, body BLOB NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS states (
    partition INTEGER NOT NULL, address TEXT NOT NULL, state BLOB NOT NULL,
    PRIMARY KEY (partition, address)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS reminders (
    partition INTEGER NOT NULL, address TEXT NOT NULL, name TEXT NOT NULL,
    due_at_ms REAL NOT NULL, budget INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (partition, address, name)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS reminders_due ON reminders (partition, due_at_ms);
  CREATE TABLE IF NOT EXISTS dead_letters (
    id INTEGER PRIMARY KEY, partition INTEGER NOT NULL, address TEXT NOT NULL,
    is_ingress INTEGER NOT NULL, accepted_at_ms REAL NOT NULL, parked_at_ms INTEGER NOT NULL,
    record_id TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, trace_id TEXT NOT NULL,
    body BLOB NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS dead_letters_address ON dead_letters (address, id);
  CREATE TABLE IF NOT EXISTS gateway_rows (
    key TEXT PRIMARY KEY, value BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS activities (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
    from_address TEXT NOT NULL, input TEXT NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS outbox (
    source INTEGER NOT NULL, sequence INTEGER NOT NULL, targets BLOB NOT NULL,
    PRIMARY KEY (source, sequence)
  ) STRICT, WITHOUT ROWID;
`;
