/** Which connections wait for which append, so that a settled one costs only those it touches. */
import type { Connection } from "./connection.ts";

interface PendingAppend {
  readonly append: number;
  readonly connections: Connection[];
  /** Of each of the connections: an append that is refused for a while is joined late. */
  readonly sinceMs: number[];
}

export class PendingAppends {
  #appends: PendingAppend[] = [];

  /** Lists a connection once per append; one that waits for a later append is listed enough. */
  add(append: number, connection: Connection, nowMs: number): void {
    if (connection.listedAppend >= append) return;
    connection.listedAppend = append;
    let pending = this.#appends.at(-1);
    if (pending === undefined || pending.append < append) {
      pending = { append, connections: [], sinceMs: [] };
      this.#appends.push(pending);
    } else if (pending.append > append) { // The row of a session that an earlier connection wrote.
      pending = this.#appends.find((later) => later.append >= append)!;
    }
    pending.connections.push(connection);
    pending.sinceMs.push(nowMs);
  }

  /** Takes out the appends up to `settled`; a connection may come several times. */
  take(settled: number): readonly Connection[][] {
    let count = 0;
    while (count < this.#appends.length && this.#appends[count]!.append <= settled) count++;
    return this.#appends.splice(0, count).map((pending) => pending.connections);
  }

  /** Connections that wait for an append since before `beforeMs`. */
  waitingSince(beforeMs: number): readonly Connection[] {
    return this.#appends.flatMap(({ connections, sinceMs }) =>
      connections.filter((_, i) => sinceMs[i]! < beforeMs)
    );
  }
}
