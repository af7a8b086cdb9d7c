/** Which connections wait for which append, so that a settled one costs only those it touches. */
import type { Connection } from "./connection.ts";

interface PendingAppend {
  readonly append: number;
  readonly sinceMs: number;
  readonly connections: Connection[];
}

export class PendingAppends {
  #appends: PendingAppend[] = [];

  /** Lists a connection once per append; one that waits for a later append is listed enough. */
  add(append: number, connection: Connection, nowMs: number): void {
    if (connection.listedAppend >= append) return;
    connection.listedAppend = append;
    const last = this.#appends.at(-1);
    if (last === undefined || last.append < append) {
      this.#appends.push({ append, sinceMs: nowMs, connections: [connection] });
    } else if (last.append === append) {
      last.connections.push(connection);
    } else { // The row of a session that an earlier connection wrote.
      this.#appends.find((pending) => pending.append >= append)!.connections.push(connection);
    }
  }

  /** Takes out the appends up to `settled`; a connection may come several times. */
  take(settled: number): readonly Connection[][] {
    let count = 0;
    while (count < this.#appends.length && this.#appends[count]!.append <= settled) count++;
    return this.#appends.splice(0, count).map((pending) => pending.connections);
  }

  /** Connections that wait for an append that was opened before `beforeMs`. */
  waitingSince(beforeMs: number): readonly Connection[] {
    return this.#appends.filter((pending) => pending.sinceMs < beforeMs)
      .flatMap((pending) => pending.connections);
  }
}
