/**
 * Committed states read beside the log's thread: `log.db` has one writer, and any number of readers,
 * which hold up nobody as long as they read a little at a time.
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { Address, Partition } from "../actor/address.ts";

export interface StoredState {
  readonly address: Address;
  /** As the engine encoded it. */
  readonly state: Uint8Array;
}

export class StateReader implements Disposable {
  readonly #database: DatabaseSync;
  readonly #one: StatementSync;
  readonly #page: StatementSync;

  /** @throws If there is no log. */
  constructor(path: string) {
    this.#database = new DatabaseSync(path, { readOnly: true, timeout: 5_000 });
    this.#one = this.#database.prepare(
      "select state from states where partition = ? and address = ?",
    );
    this.#page = this.#database.prepare(
      `select address, state from states where partition = ? and address > ? and address < ?
       order by address limit ?`,
    );
  }

  read(partition: Partition, address: Address): Uint8Array | undefined {
    return this.#one.get(partition, address)?.state as Uint8Array | undefined;
  }

  /** Those of a kind of actor, in order of address. */
  page(partition: Partition, kind: string, after: Address, limit: number): StoredState[] {
    const start = after === "" ? `${kind}/` : after;
    // "0" follows "/".
    return this.#page.all(partition, start, `${kind}0`, limit) as unknown as StoredState[];
  }

  [Symbol.dispose](): void {
    if (this.#database.isOpen) this.#database.close();
  }
}
