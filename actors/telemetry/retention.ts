/** Removes what is old. It is hidden at once; chunks, by day, and events go in slices. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { InvalidError } from "../../runtime/errors.ts";
import { dayOf, isTime } from "./bounds.ts";
import type { EventTable } from "./event_table.ts";
import { arrays } from "./hot.ts";
import { PAGE_BYTES } from "./schema.ts";
import type { SeriesChunks } from "./series_chunks.ts";
import { type OnStep, transact } from "./transaction.ts";

type ChunkKey = [day: number, series: number, fromAt: number, seq: number];

export class Retention {
  /** Points older than this are gone. -Infinity: nothing ever expired. */
  horizonMs: number;
  readonly #db: DatabaseSync;
  readonly #chunks: SeriesChunks;
  readonly #events: EventTable;
  readonly #onStep: OnStep;
  readonly #saveHorizon: StatementSync;
  readonly #sliceEnd: StatementSync;
  readonly #sums: StatementSync;
  readonly #remove: StatementSync;
  readonly #saveTotals: StatementSync;

  constructor(
    db: DatabaseSync,
    chunks: SeriesChunks,
    events: EventTable,
    horizonMs: number | undefined,
    onStep: OnStep,
  ) {
    this.horizonMs = horizonMs ?? -Infinity;
    this.#db = db;
    this.#chunks = chunks;
    this.#events = events;
    this.#onStep = onStep;
    const upTo = "WHERE (day, series, from_at, seq) <= (?, ?, ?, ?)";
    this.#saveHorizon = db.prepare("UPDATE compaction SET horizon = ?");
    this.#sliceEnd = arrays(
      db,
      `SELECT day, series, from_at, seq FROM
         (SELECT day, series, from_at, seq FROM chunk WHERE day < ?
          ORDER BY day, series, from_at, seq LIMIT ?)
       ORDER BY day DESC, series DESC, from_at DESC, seq DESC LIMIT 1`,
    );
    this.#sums = arrays(
      db,
      `SELECT count(*), coalesce(sum(n), 0), coalesce(sum(length(blob)), 0) FROM chunk ${upTo}`,
    );
    this.#remove = db.prepare(`DELETE FROM chunk ${upTo}`);
    this.#saveTotals = db.prepare("UPDATE compaction SET chunks = ?, points = ?, bytes = ?");
  }

  /** One slice of at most `sliceRows` chunks or events. */
  expire(
    beforeMs: number,
    sliceRows: number,
  ): { readonly isMore: boolean; readonly bytes: number } {
    if (!isTime(beforeMs)) throw new InvalidError(`Cannot expire before ${beforeMs}: not a time`);
    const horizonMs = Math.max(this.horizonMs, beforeMs);
    const end = this.#sliceEnd.get(dayOf(horizonMs), sliceRows) as unknown as ChunkKey | undefined;
    if (end === undefined && horizonMs === this.horizonMs) return this.#expireEvents(sliceRows);
    const totals = this.#chunks.totals;
    const left = transact(this.#db, "expire", this.#onStep, () => {
      this.#saveHorizon.run(horizonMs);
      if (end === undefined) return totals;
      const [count, points, bytes] = this.#sums.get(...end) as unknown as [number, number, number];
      this.#remove.run(...end);
      const left = {
        ...totals,
        chunks: totals.chunks - count,
        points: totals.points - points,
        bytes: totals.bytes - bytes,
      };
      this.#saveTotals.run(left.chunks, left.points, left.bytes);
      return left;
    });
    this.horizonMs = horizonMs;
    if (end !== undefined) this.#chunks.forget(left);
    // The events' turn comes with the next slice.
    return { isMore: true, bytes: PAGE_BYTES + totals.bytes - left.bytes };
  }

  #expireEvents(sliceRows: number): { readonly isMore: boolean; readonly bytes: number } {
    const { removed, isMore, accept } = transact(
      this.#db,
      "expire-events",
      this.#onStep,
      () => this.#events.expire(this.horizonMs, sliceRows),
    );
    accept();
    return { isMore, bytes: removed === 0 ? 0 : PAGE_BYTES * (1 + removed / 8) };
  }
}
