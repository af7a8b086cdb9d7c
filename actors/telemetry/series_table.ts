/** Series: the pairs of device and metric that have chunks, each with a number and its newest day. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { arrays } from "./hot.ts";

export interface Series {
  readonly id: number;
  /** No chunk of the series is newer than this UTC day; one is of this day unless it has expired. */
  newestDay: number;
}

export class SeriesTable {
  /** Also the highest number given. */
  count: number;
  readonly #select: StatementSync;
  readonly #insert: StatementSync;
  readonly #update: StatementSync;

  constructor(db: DatabaseSync, count: number) {
    this.count = count;
    this.#select = arrays(db, "SELECT metric, id, newest_day FROM series WHERE device = ?");
    this.#insert = db.prepare("INSERT INTO series VALUES (?, ?, ?, ?)");
    this.#update = db.prepare("UPDATE series SET newest_day = ? WHERE device = ? AND metric = ?");
  }

  /** All series of a device, by metric. */
  of(device: number): Map<number, Series> {
    const rows = this.#select.all(device) as unknown as [number, number, number][];
    return new Map(rows.map(([metric, id, newestDay]) => [metric, { id, newestDay }]));
  }

  /** Inside a transaction; `known` is what `of(device)` gave, and is kept up to date. */
  intern(device: number, metric: number, day: number, known: Map<number, Series>): number {
    const series = known.get(metric);
    if (series === undefined) {
      const id = ++this.count;
      this.#insert.run(device, metric, id, day);
      known.set(metric, { id, newestDay: day });
      return id;
    }
    if (day > series.newestDay) {
      this.#update.run(day, device, metric);
      series.newestDay = day;
    }
    return series.id;
  }
}
