/** Names of devices, metrics or events as small integers: a table, and a bounded cache of it. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { LIMITS } from "../../runtime/limits.ts";

export class NameTable {
  readonly #select: StatementSync;
  readonly #insert: StatementSync;
  readonly #selectName: StatementSync;
  readonly #numbers = new Map<string, number>();

  constructor(db: DatabaseSync, table: "device" | "metric" | "event_name") {
    this.#select = db.prepare(`SELECT id FROM ${table} WHERE name = ?`);
    this.#insert = db.prepare(`INSERT INTO ${table} (name) VALUES (?)`);
    this.#selectName = db.prepare(`SELECT name FROM ${table} WHERE id = ?`);
  }

  find(name: string): number | undefined {
    const cached = this.#numbers.get(name);
    if (cached !== undefined) return cached;
    const row = this.#select.get(name);
    if (row === undefined) return undefined;
    return this.#keep(name, row["id"] as number);
  }

  /** Inside a transaction; call `forget` if it is rolled back. */
  intern(name: string): number {
    return this.find(name) ?? this.#keep(name, Number(this.#insert.run(name).lastInsertRowid));
  }

  nameOf(id: number): string {
    return this.#selectName.get(id)!["name"] as string;
  }

  forget(): void {
    this.#numbers.clear();
  }

  #keep(name: string, id: number): number {
    if (this.#numbers.size >= LIMITS.telemetryNamesMax) { // The oldest goes: it is one look-up away.
      this.#numbers.delete(this.#numbers.keys().next().value!);
    }
    this.#numbers.set(name, id);
    return id;
  }
}
