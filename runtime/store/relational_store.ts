/**
 * The relational store of a node: SQLite here, MySQL later, both through Kysely, so that SQL is
 * written once. Commits are durable (`synchronous=FULL`, WAL).
 *
 * SQL that is to run on both: no `returning`, no upsert clauses, booleans as 0 and 1, times as
 * epoch milliseconds in `bigint`, JSON as text.
 */
import { copyFile, rm, stat } from "node:fs/promises";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { Kysely } from "kysely";
import { ConflictError, messageOf } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Logger } from "../logger.ts";
import { applyMigrations, type Migration, pendingMigrations } from "./migrations.ts";
import {
  type BeforeCommit,
  type CommitWriter,
  createSqliteDialect,
  SqliteConnection,
  type SqlRow,
} from "./sqlite_dialect.ts";
import { WalSync } from "./wal_sync.ts";

export type { BeforeCommit, CommitWriter, SqlRow } from "./sqlite_dialect.ts";
export {
  type ColumnDefinitionBuilder,
  type Generated,
  Kysely,
  type RawBuilder,
  sql,
  type Transaction,
} from "kysely";

/** A second connection that reads what is committed, synchronously: for point lookups. */
export interface PointReader {
  /** A prepared query; call it with its parameters in order. */
  prepareAll(sql: string): (...parameters: SQLInputValue[]) => SqlRow[];
  prepareOne(sql: string): (...parameters: SQLInputValue[]) => SqlRow | undefined;
}

export interface RelationalStore<Tables> extends AsyncDisposable {
  readonly db: Kysely<Tables>;
  readonly reader: PointReader;
  /** A transaction whose work is synchronous: cheaper than through `db` where rows are many. */
  write(work: (writer: CommitWriter) => void): Promise<void>;
  /**
   * The same, but the disk is waited for off this thread. What it wrote can be read before that. No
   * `beforeCommit` is called.
   */
  writeAside(work: (writer: CommitWriter) => void): Promise<void>;
}

export interface RelationalStoreOptions {
  /** File of the database; made if absent. Beside it: `-wal`, `-shm`, backups of migrations. */
  readonly path: string;
  readonly migrations: readonly Migration[];
  readonly nowMs: number;
  readonly logger: Logger;
  readonly beforeCommit?: BeforeCommit;
}

/**
 * Opens the store and brings its schema up to date. With nothing to migrate this reads one small
 * table. Otherwise a non-empty store is first copied to `{path}.before-{id}`, and the migrations
 * are tried on a copy, before they touch the store itself.
 * @throws {ConflictError} It was written by a newer version, or the dry run failed.
 */
export async function openRelationalStore<Tables>(
  options: RelationalStoreOptions,
): Promise<RelationalStore<Tables>> {
  const database = openDatabase(options.path);
  const connection = new SqliteConnection(database);
  const dialect = createSqliteDialect(connection, options.beforeCommit);
  const db = new Kysely<Tables>({ dialect });
  try {
    await migrate(db as Kysely<unknown>, options);
  } catch (fault) {
    await db.destroy();
    database.close();
    throw fault;
  }
  const reading = new DatabaseSync(options.path, { readOnly: true });
  reading.exec(`pragma busy_timeout = ${LIMITS.storeBusyMs}`);
  const wal = new WalSync(options.path);
  let isWalNamed = false;
  let isOpen = true;
  return {
    db,
    reader: createPointReader(reading),
    // Kysely hands the one connection to one transaction at a time: the work has it to itself.
    write: (work) => db.transaction().execute(() => Promise.resolve(work(connection))),
    async writeAside(work) {
      // The first commit to a new WAL makes its name durable too, which only SQLite does.
      const synchronous = isWalNamed ? "normal" : "full";
      await db.connection().execute(() => Promise.resolve(connection.commit(synchronous, work)));
      isWalNamed = true;
      await wal.sync();
    },
    async [Symbol.asyncDispose]() {
      if (!isOpen) return;
      isOpen = false;
      await db.destroy();
      await wal.close();
      reading.close();
      database.close();
    },
  };
}

/**
 * What opening the store would migrate: names of the pending migrations, after they ran on a copy.
 * The store is left as it is.
 * @throws {ConflictError} They would fail.
 */
export async function dryRunMigrations(
  path: string,
  migrations: readonly Migration[],
  nowMs: number,
): Promise<readonly string[]> {
  const exists = await stat(path).then(() => true, () => false);
  const trial = `${path}.trial`;
  await removeDatabase(trial); // A WAL that a crash left behind would be taken for the copy's.
  if (exists) backUp(path, trial);
  try {
    return await tryMigrations(trial, migrations, nowMs);
  } finally {
    await removeDatabase(trial);
  }
}

async function migrate(db: Kysely<unknown>, options: RelationalStoreOptions): Promise<void> {
  const { path, migrations, nowMs, logger } = options;
  const pending = await pendingMigrations(db, migrations);
  if (pending.length === 0) return;
  if (pending.length < migrations.length) {
    const backup = `${path}.before-${pending[0]!.id}`;
    await rm(backup, { force: true });
    backUp(path, backup);
    logger.info("store backed up before migration", { backup });
    const trial = `${path}.trial`;
    await removeDatabase(trial);
    await copyFile(backup, trial);
    try {
      await tryMigrations(trial, migrations, nowMs);
    } finally {
      await removeDatabase(trial);
    }
  }
  const applied = await applyMigrations(db, migrations, nowMs);
  logger.info("store migrated", { path, migrations: applied.map((migration) => migration.name) });
}

async function tryMigrations(
  path: string,
  migrations: readonly Migration[],
  nowMs: number,
): Promise<readonly string[]> {
  const database = openDatabase(path);
  const dialect = createSqliteDialect(new SqliteConnection(database));
  const db = new Kysely<unknown>({ dialect });
  try {
    const applied = await applyMigrations(db, migrations, nowMs);
    return applied.map((migration) => migration.name);
  } catch (fault) {
    if (fault instanceof ConflictError) throw fault;
    throw new ConflictError(`Cannot migrate the store: the dry run failed: ${messageOf(fault)}`, {
      cause: fault,
      hint: "The store was not touched: start the version that wrote it",
    });
  } finally {
    await db.destroy();
    database.close();
  }
}

function openDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path);
  database.exec(
    `pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on;
     pragma busy_timeout = ${LIMITS.storeBusyMs};
     pragma wal_autocheckpoint = ${LIMITS.storeCheckpointPages}`,
  );
  return database;
}

/** A consistent copy, also while the store is open and written to. */
function backUp(path: string, target: string): void {
  const database = new DatabaseSync(path);
  try {
    database.prepare("vacuum into ?").run(target);
  } finally {
    database.close();
  }
}

async function removeDatabase(path: string): Promise<void> {
  for (const suffix of ["", "-wal", "-shm"]) await rm(path + suffix, { force: true });
}

function createPointReader(database: DatabaseSync): PointReader {
  return {
    prepareAll(sql) {
      const statement = database.prepare(sql);
      return (...parameters) => statement.all(...parameters);
    },
    prepareOne(sql) {
      const statement = database.prepare(sql);
      return (...parameters) => statement.get(...parameters);
    },
  };
}
