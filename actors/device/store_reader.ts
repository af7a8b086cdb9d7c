/** A store that is read beside its writer, synchronously, with statements that stay prepared. */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { LIMITS } from "../../runtime/limits.ts";
import type { Clause } from "./finder_conditions.ts";

export class StoreReader implements Disposable {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #onFault: (fault: unknown) => void;

  /**
   * @param onFault Told what a statement throws, before it does.
   * @throws If there is no store at `path`.
   */
  constructor(path: string, onFault: (fault: unknown) => void = () => {}) {
    this.#onFault = onFault;
    this.#database = new DatabaseSync(path, { readOnly: true, timeout: LIMITS.storeBusyMs });
    this.#database.exec(`pragma cache_size = -${LIMITS.storeReaderCacheKib}`);
  }

  all<Row>(sql: string, values: Clause["values"]): Row[] {
    try {
      return this.#prepared(sql).all(...values) as Row[];
    } catch (fault) {
      this.#onFault(fault);
      throw fault;
    }
  }

  /** Of rows that `sql` selects, up to `max`. */
  count({ sql, values }: Clause, max: number): number {
    const counted = `select count(*) as count from (${sql} limit ?)`;
    return this.all<{ readonly count: number }>(counted, [...values, max])[0]!.count;
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      if (this.#statements.size >= LIMITS.preparedStatementsMax) this.#statements.clear();
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  [Symbol.dispose](): void {
    if (this.#database.isOpen) this.#database.close();
  }
}
