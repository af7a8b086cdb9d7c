/**
 * Schema changes of a relational store: forward only, each recorded in the transaction that makes it.
 *
 * The author's duties: ids rise by one from 1; a released migration never changes; `up` is
 * idempotent (`ifNotExists`), since MySQL commits each DDL statement on its own.
 */
import type { Kysely } from "kysely";
import { ConflictError } from "../errors.ts";

export interface Migration {
  /** From 1, rising by one. */
  readonly id: number;
  /** Constant, lower case: `create registry`. */
  readonly name: string;
  // deno-lint-ignore no-explicit-any -- a migration sees the schema of its own time
  up(db: Kysely<any>): Promise<void>;
}

interface MigrationTables {
  readonly migrations: { readonly id: number; readonly name: string; readonly applied_at: number };
}

/** Those that the store has not had yet, in order. Writes nothing. */
export async function pendingMigrations(
  db: Kysely<unknown>,
  migrations: readonly Migration[],
): Promise<readonly Migration[]> {
  const applied = await appliedMigrations(db as Kysely<MigrationTables>);
  for (const [index, record] of applied.entries()) {
    const known = migrations[index];
    if (known?.id === record.id && known.name === record.name) continue;
    throw new ConflictError(
      `Cannot open the store: its migration ${record.id} "${record.name}" is unknown`,
      { hint: "It was written by a newer version of Roost: start that version" },
    );
  }
  return migrations.slice(applied.length);
}

/** Applies what is pending; each migration and its record are one transaction. */
export async function applyMigrations(
  db: Kysely<unknown>,
  migrations: readonly Migration[],
  nowMs: number,
): Promise<readonly Migration[]> {
  const pending = await pendingMigrations(db, migrations);
  if (pending.length === 0) return pending;
  await db.schema.createTable("migrations").ifNotExists()
    .addColumn("id", "integer", (column) => column.primaryKey())
    .addColumn("name", "varchar(128)", (column) => column.notNull())
    .addColumn("applied_at", "bigint", (column) => column.notNull())
    .execute();
  for (const migration of pending) {
    await db.transaction().execute(async (transaction) => {
      await migration.up(transaction);
      await (transaction as unknown as Kysely<MigrationTables>).insertInto("migrations")
        .values({ id: migration.id, name: migration.name, applied_at: nowMs }).execute();
    });
  }
  return pending;
}

async function appliedMigrations(
  db: Kysely<MigrationTables>,
): Promise<MigrationTables["migrations"][]> {
  const tables = await db.introspection.getTables();
  if (!tables.some((table) => table.name === "migrations")) return [];
  return await db.selectFrom("migrations").selectAll().orderBy("id").execute();
}
