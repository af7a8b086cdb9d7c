/** A store that is read beside its writer, synchronously, with statements that stay prepared. */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { LIMITS } from "../../runtime/limits.ts";
import type { Clause } from "./finder_conditions.ts";

export class StoreReader implements Disposable {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** @throws If there is no store at `path`. */
  constructor(path: string) {
    this.#database = new DatabaseSync(path, { readOnly: true, timeout: LIMITS.storeBusyMs });
    this.#database.exec(`pragma cache_size = -${LIMITS.storeReaderCacheKib}`);
  }

  all<Row>(sql: string, values: Clause["values"]): Row[] {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      if (this.#statements.size >= LIMITS.preparedStatementsMax) this.#statements.clear();
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement.all(...values) as Row[];
  }

  /** Of rows that `sql` selects, up to `max`. */
  count({ sql, values }: Clause, max: number): number {
    const counted = `select count(*) as count from (${sql} limit ?)`;
    return this.all<{ readonly count: number }>(counted, [...values, max])[0]!.count;
  }

  [Symbol.dispose](): void {
    if (this.#database.isOpen) this.#database.close();
  }
}
