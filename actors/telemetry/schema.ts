/**
 * The tables of `telemetry.db`.
 *
 * `hot` takes samples in order of acceptance, so that each insert goes to the last page; it has no
 * second index. `chunk` starts with the day, so that retention removes one range. Pages are 16 KiB:
 * a packed chunk of 1,024 points then stands in its leaf instead of in an overflow page of its own.
 */
import { DatabaseSync } from "node:sqlite";
import { UnavailableError } from "../../runtime/errors.ts";
import { EVENT_TABLES } from "./event_table.ts";

const SCHEMA_VERSION = 3;
export const PAGE_BYTES = 16_384;

const TABLES = `
  CREATE TABLE progress (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    cursor INTEGER NOT NULL,
    marks BLOB NOT NULL
  );
  CREATE TABLE compaction (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    floor INTEGER NOT NULL,
    horizon INTEGER,
    chunk_seq INTEGER NOT NULL,
    series_count INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    points INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    runs INTEGER NOT NULL,
    unreadable INTEGER NOT NULL
  );
  CREATE TABLE device (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
  CREATE TABLE metric (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
  CREATE TABLE series (
    device INTEGER NOT NULL,
    metric INTEGER NOT NULL,
    id INTEGER NOT NULL,
    newest_day INTEGER NOT NULL,
    PRIMARY KEY (device, metric)
  ) WITHOUT ROWID;
  CREATE TABLE hot (
    seq INTEGER PRIMARY KEY,
    device INTEGER NOT NULL,
    at INTEGER NOT NULL,
    body BLOB NOT NULL
  );
  CREATE TABLE floor (device INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
  CREATE TABLE chunk (
    day INTEGER NOT NULL,
    series INTEGER NOT NULL,
    from_at INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    to_at INTEGER NOT NULL,
    n INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    blob BLOB NOT NULL,
    PRIMARY KEY (day, series, from_at, seq)
  ) WITHOUT ROWID;
  INSERT INTO progress VALUES (1, 0, x'');
  INSERT INTO compaction VALUES (1, 0, NULL, 0, 0, 0, 0, 0, 0, 0);
`;

const PRODUCT_HORIZON_TABLE = `
  CREATE TABLE product_horizon (
    product TEXT PRIMARY KEY,
    horizon INTEGER NOT NULL,
    done INTEGER NOT NULL
  ) WITHOUT ROWID;
`;

/** What each version adds; a released one never changes. */
const STEPS: readonly string[] = [TABLES, EVENT_TABLES, PRODUCT_HORIZON_TABLE];

/** Opens or makes the file, and brings it up to date. Throws `UnavailableError` if a newer version wrote it. */
export function openTelemetryFile(path: string): DatabaseSync {
  const db = new DatabaseSync(path);
  try {
    db.exec(`
      PRAGMA busy_timeout = 10000;
      PRAGMA page_size = ${PAGE_BYTES};
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      PRAGMA wal_autocheckpoint = 0;
      PRAGMA journal_size_limit = 67108864;
      PRAGMA cache_size = -16384;
      PRAGMA temp_store = MEMORY;
      -- A Worker that was ended in the middle of its last commit is waited for, before all is read.
      BEGIN IMMEDIATE;
      COMMIT;
    `);
    const version = Number(db.prepare("PRAGMA user_version").get()!["user_version"]);
    if (version > SCHEMA_VERSION) {
      throw new UnavailableError(
        "telemetry.db",
        `Its version ${version} is newer than this program`,
      );
    }
    for (let next = version + 1; next <= SCHEMA_VERSION; next++) {
      db.exec(`BEGIN IMMEDIATE; ${STEPS[next - 1]} PRAGMA user_version = ${next}; COMMIT;`);
    }
    return db;
  } catch (fault) {
    db.close();
    throw fault;
  }
}
