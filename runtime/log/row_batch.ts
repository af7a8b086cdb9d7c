/** Inserts rows by 16 in one statement: half the cost of a statement each (measured: 3 against 6 us). */
import type { DatabaseSync, StatementSync } from "node:sqlite";

const ROWS = 16;
type Value = number | string | Uint8Array;

/** Within one transaction: `add` as often as needed, then `flush`. Rows keep their order. */
export class RowBatch {
  readonly #many: StatementSync;
  readonly #one: StatementSync;
  readonly #columns: number;
  #values: Value[] = [];

  /** `before VALUES`-list `after`: `INSERT INTO t (a, b) VALUES` and `ON CONFLICT …`. */
  constructor(db: DatabaseSync, before: string, after: string, columns: number) {
    const row = `(${Array(columns).fill("?").join(", ")})`;
    this.#many = db.prepare(`${before} ${Array(ROWS).fill(row).join(", ")} ${after}`);
    this.#one = db.prepare(`${before} ${row} ${after}`);
    this.#columns = columns;
  }

  add(...row: Value[]): void {
    for (const value of row) this.#values.push(value);
    if (this.#values.length < ROWS * this.#columns) return;
    this.#many.run(...this.#values);
    this.#values.length = 0;
  }

  flush(): void {
    for (let at = 0; at < this.#values.length; at += this.#columns) {
      this.#one.run(...this.#values.slice(at, at + this.#columns));
    }
    this.#values.length = 0;
  }

  /** Forgets rows that a failed transaction left behind. */
  drop(): void {
    this.#values.length = 0;
  }
}
