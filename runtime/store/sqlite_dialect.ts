/**
 * Kysely over `node:sqlite`. One connection, handed to one caller at a time, so that the queries of
 * two transactions never mix. Compiled statements are kept, since preparing costs more than running.
 */
import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from "node:sqlite";
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from "kysely";
import { AssertionError, UnavailableError } from "../errors.ts";
import { LIMITS } from "../limits.ts";

/** What a hook may do in a transaction that is about to commit; synchronously. */
export interface CommitWriter {
  run(sql: string, ...parameters: SQLInputValue[]): void;
  get(sql: string, ...parameters: SQLInputValue[]): SqlRow | undefined;
}

/**
 * Called before a transaction that changed rows commits, in the asynchronous context of its author;
 * what it throws rolls the transaction back. It may return what to call once that is durable.
 */
export type BeforeCommit = (writer: CommitWriter) => (() => void) | undefined;

export type SqlRow = Readonly<Record<string, SQLOutputValue>>;

/** A dialect over one connection; whoever opened it closes it, after Kysely was destroyed. */
export function createSqliteDialect(
  connection: SqliteConnection,
  beforeCommit?: BeforeCommit,
): Dialect {
  return {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new SqliteDriver(connection, beforeCommit),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  };
}

class SqliteDriver implements Driver {
  readonly #connection: SqliteConnection;
  readonly #beforeCommit: BeforeCommit | undefined;
  #isTaken = false;
  readonly #waiting: (() => void)[] = [];
  /** Rows that the connection had changed when its transaction began. */
  #changesAtBegin = 0;

  constructor(connection: SqliteConnection, beforeCommit: BeforeCommit | undefined) {
    this.#connection = connection;
    this.#beforeCommit = beforeCommit;
  }

  init(): Promise<void> {
    return Promise.resolve();
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    if (this.#isTaken) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#isTaken = true;
    return this.#connection;
  }

  releaseConnection(): Promise<void> {
    const next = this.#waiting.shift();
    // The connection stays taken when it passes to the next in line: nobody slips in between.
    if (next === undefined) this.#isTaken = false;
    else next();
    return Promise.resolve();
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    // Immediate: a transaction that reads first and writes later would fail as busy in the middle.
    await connection.executeQuery(CompiledQuery.raw("begin immediate"));
    if (this.#beforeCommit !== undefined) this.#changesAtBegin = this.#connection.changes;
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    const hasChanged = this.#beforeCommit !== undefined &&
      this.#connection.changes > this.#changesAtBegin;
    const committed = hasChanged ? this.#beforeCommit(this.#connection) : undefined;
    await connection.executeQuery(CompiledQuery.raw("commit"));
    committed?.();
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    // SQLite ends the transaction itself on a full disk and on I/O errors.
    if (!this.#connection.isTransaction) return;
    await connection.executeQuery(CompiledQuery.raw("rollback"));
  }

  destroy(): Promise<void> {
    this.#connection.forget();
    return Promise.resolve();
  }
}

export class SqliteConnection implements DatabaseConnection, CommitWriter {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  get isTransaction(): boolean {
    return this.#database.isTransaction;
  }

  /** Rows changed since the database was opened. */
  get changes(): number {
    return Number(this.#prepare("select total_changes() as changes").get()!.changes);
  }

  run(sql: string, ...parameters: SQLInputValue[]): void {
    this.#prepare(sql).run(...parameters);
  }

  get(sql: string, ...parameters: SQLInputValue[]): SqlRow | undefined {
    return this.#prepare(sql).get(...parameters);
  }

  /**
   * A transaction of its own; to be called by who has the connection.
   * @param synchronous `normal`: it is durable only once the WAL was synced.
   * @throws {UnavailableError} The disk refuses: nothing is written.
   */
  commit(synchronous: "full" | "normal", work: (writer: CommitWriter) => void): void {
    try {
      this.#database.exec(`pragma synchronous = ${synchronous}; begin immediate`);
      work(this);
      this.#database.exec("commit");
    } catch (fault) {
      if (this.isTransaction) this.#database.exec("rollback");
      throw isDiskFault(fault) ? unavailable(fault) : fault;
    } finally {
      this.#database.exec("pragma synchronous = full");
    }
  }

  executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    try {
      return Promise.resolve(this.#execute<R>(query));
    } catch (fault) {
      return Promise.reject(isDiskFault(fault) ? unavailable(fault) : fault);
    }
  }

  // deno-lint-ignore require-yield -- refuses: a stream would hold the only connection
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new AssertionError("Cannot stream from SQLite: page with a cursor instead");
  }

  forget(): void {
    this.#statements.clear();
  }

  #execute<R>(query: CompiledQuery): QueryResult<R> {
    const statement = this.#prepare(query.sql);
    const parameters = query.parameters as SQLInputValue[];
    if (statement.columns().length > 0) return { rows: statement.all(...parameters) as R[] };
    const { changes, lastInsertRowid } = statement.run(...parameters);
    return { rows: [], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) };
  }

  #prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#database.prepare(sql);
    if (this.#statements.size >= LIMITS.preparedStatementsMax) {
      this.#statements.delete(this.#statements.keys().next().value!);
    }
    this.#statements.set(sql, statement);
    return statement;
  }
}

/** SQLITE_IOERR, SQLITE_FULL: result codes whose low byte they are. */
const DISK_FAULTS: ReadonlySet<number> = new Set([10, 13]);

function isDiskFault(fault: unknown): fault is Error {
  const { errcode } = (fault ?? {}) as { errcode?: unknown };
  return fault instanceof Error && typeof errcode === "number" && DISK_FAULTS.has(errcode & 0xff);
}

/** The disk's fault and not the query's: with room again the same query works. */
function unavailable(cause: Error): UnavailableError {
  return new UnavailableError("database", `Cannot use the database: ${cause.message}`, { cause });
}
