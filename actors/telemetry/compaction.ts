/**
 * Moves samples from the hot table into chunks, in steps of a few milliseconds.
 *
 * A run takes the oldest rows: it reads them (`collect`), packs them device by device (`pack`), and
 * raises the floor when all are done; rows below the floor are deleted afterwards. Each `pack` step
 * is one transaction that writes chunks *and* the floors of its devices, so that after a crash at
 * any moment each point is either above its device's floor in the hot table or in a chunk, never in
 * both and never in neither. In memory the same step drops the rows from the hot index.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { dayOf } from "./bounds.ts";
import type { HotTable } from "./hot.ts";
import type { NameTable } from "./name_table.ts";
import { columnsOf, type MetricColumn } from "./sample_columns.ts";
import { type ChunkTotals, inOrder, type SeriesChunks } from "./series_chunks.ts";
import type { SeriesTable } from "./series_table.ts";
import { type OnStep, transact } from "./transaction.ts";

/** Rows of one device that a run has read; those before `done` are packed. */
interface RunRows {
  readonly seqs: number[];
  readonly ats: number[];
  readonly texts: string[];
  done: number;
}

interface Run {
  /** All rows up to here belong to the run. Grows while it collects. */
  through: number;
  /** Where collecting ends. */
  readonly until: number;
  isCollected: boolean;
  rows: number;
  bytes: number;
  readonly devices: Map<number, RunRows>;
}

interface Counters {
  readonly runs: number;
  readonly unreadable: number;
}

export interface CompactionOptions {
  readonly db: DatabaseSync;
  readonly clock: Clock;
  readonly hot: HotTable;
  readonly chunks: SeriesChunks;
  readonly series: SeriesTable;
  readonly metrics: NameTable;
  readonly counters: Counters;
  readonly compactAtRows: number;
  readonly compactAfterMs: number;
  /** Points of a device that are older than this are not kept. */
  readonly horizonOf: (device: number) => number;
  readonly onStep: OnStep;
}

/** Rows of one device that one transaction packs. */
const DEVICE_ROWS_MAX = 2_048;

export class Compaction {
  counters: Counters;
  readonly #options: CompactionOptions;
  readonly #saveFloor: StatementSync;
  readonly #dropFloors: StatementSync;
  readonly #saveState: StatementSync;
  readonly #deleteRows: StatementSync;
  #run: Run | undefined;
  /** Monotonic time since when there are rows to compact. */
  #pendingSinceMs: number | undefined;

  constructor(options: CompactionOptions) {
    this.#options = options;
    this.counters = options.counters;
    const { db } = options;
    this.#saveFloor = db.prepare("INSERT OR REPLACE INTO floor VALUES (?, ?)");
    this.#dropFloors = db.prepare("DELETE FROM floor WHERE seq <= ?");
    this.#saveState = db.prepare(
      `UPDATE compaction SET floor = ?, chunk_seq = ?, series_count = ?, chunks = ?, points = ?,
       bytes = ?, runs = ?, unreadable = ?`,
    );
    this.#deleteRows = db.prepare("DELETE FROM hot WHERE seq <= ?");
  }

  /** One step; the hot index must be complete. True if there is more to do. */
  step(isForced: boolean): boolean {
    const { hot } = this.#options;
    if (hot.deletedThrough < hot.floor) {
      this.#deleteSlice();
      return hot.deletedThrough < hot.floor || this.#isDue(isForced);
    }
    if (this.#run === undefined) {
      if (!this.#isDue(isForced)) return false;
      this.#run = {
        through: hot.floor,
        until: Math.min(hot.lastSeq, hot.floor + LIMITS.compactionRowsMax),
        isCollected: false,
        rows: 0,
        bytes: 0,
        devices: new Map(),
      };
    }
    try {
      if (!this.#run.isCollected) this.#collect(this.#run);
      else if (this.#run.devices.size > 0) this.#pack(this.#run);
      else this.#finish(this.#run);
    } catch (fault) { // What was not committed is done again, from the floors.
      this.#run = undefined;
      throw fault;
    }
    return true;
  }

  #isDue(isForced: boolean): boolean {
    const { hot, clock, compactAtRows, compactAfterMs } = this.#options;
    if (this.#run !== undefined) return true;
    if (hot.pendingRows === 0) {
      this.#pendingSinceMs = undefined;
      return false;
    }
    const now = clock.monotonicMs();
    this.#pendingSinceMs ??= now;
    return isForced || hot.pendingRows >= compactAtRows ||
      hot.longestRows >= LIMITS.compactAtDeviceRows ||
      now - this.#pendingSinceMs >= compactAfterMs;
  }

  #collect(run: Run): void {
    const { hot } = this.#options;
    const limit = Math.min(LIMITS.hotSliceRows, run.until - run.through);
    const rows = hot.scan(run.through, limit);
    for (const [seq, device, at, text] of rows) {
      run.through = seq;
      run.rows++;
      run.bytes += text.length;
      if (seq <= (hot.floors.get(device) ?? 0)) continue;
      let own = run.devices.get(device);
      if (own === undefined) {
        run.devices.set(device, own = { seqs: [], ats: [], texts: [], done: 0 });
      }
      own.seqs.push(seq);
      own.ats.push(at);
      own.texts.push(text);
      if (run.bytes >= LIMITS.compactionBytesMax) break;
    }
    run.isCollected = rows.length === 0 || run.through >= run.until ||
      run.bytes >= LIMITS.compactionBytesMax;
  }

  #pack(run: Run): void {
    const { db, hot, chunks, series, metrics, onStep } = this.#options;
    const before = { totals: chunks.totals, series: series.count, counters: this.counters };
    const packed: { device: number; rows: RunRows; done: number; seq: number }[] = [];
    try {
      transact(db, "compaction", onStep, () => {
        let points = 0;
        for (const [device, rows] of run.devices) {
          const done = Math.min(rows.done + DEVICE_ROWS_MAX, rows.seqs.length);
          points += this.#packDevice(device, rows, done);
          const seq = rows.seqs[done - 1]!;
          this.#saveFloor.run(device, seq);
          packed.push({ device, rows, done, seq });
          if (points >= LIMITS.compactionSlicePoints) break;
        }
        this.#save(hot.floor, chunks.totals, this.counters);
      });
    } catch (fault) {
      chunks.forget(before.totals);
      series.count = before.series;
      this.counters = before.counters;
      metrics.forget();
      throw fault;
    }
    for (const { device, rows, done, seq } of packed) {
      rows.done = done;
      hot.floors.set(device, seq);
      hot.dropThrough(device, seq);
      if (done === rows.seqs.length) run.devices.delete(device);
    }
  }

  /** Returns how many points there were. */
  #packDevice(device: number, rows: RunRows, done: number): number {
    const { series, metrics } = this.#options;
    const ats = rows.ats.slice(rows.done, done);
    const columns = columnsOf(ats, rows.texts.slice(rows.done, done));
    let points = ats.length; // Rows without points cost time too.
    if (columns.unreadable > 0) {
      const unreadable = this.counters.unreadable + columns.unreadable;
      this.counters = { ...this.counters, unreadable };
    }
    const ids = series.of(device);
    const horizonMs = this.#options.horizonOf(device);
    for (const [name, column] of columns.metrics) {
      points += column.ats.length;
      this.#packMetric(device, metrics.intern(name), ids, column, horizonMs);
    }
    return points;
  }

  #packMetric(
    device: number,
    metric: number,
    ids: ReturnType<SeriesTable["of"]>,
    column: MetricColumn,
    horizonMs: number,
  ): void {
    const { chunks, series } = this.#options;
    const { ats, values } = inOrder([column]);
    let from = 0;
    while (from < ats.length && ats[from]! < horizonMs) from++;
    while (from < ats.length) {
      const day = dayOf(ats[from]!);
      let to = from + 1;
      while (to < ats.length && dayOf(ats[to]!) === day) to++;
      const id = series.intern(device, metric, day, ids);
      chunks.append(id, day, slice(ats, from, to), slice(values, from, to));
      from = to;
    }
  }

  #finish(run: Run): void {
    const { db, hot, chunks, onStep } = this.#options;
    const counters = { ...this.counters, runs: this.counters.runs + 1 };
    transact(db, "compaction-finish", onStep, () => {
      this.#dropFloors.run(run.through);
      this.#save(run.through, chunks.totals, counters);
    });
    this.counters = counters;
    hot.raiseFloor(run.through);
    this.#run = undefined;
    this.#pendingSinceMs = undefined;
  }

  #save(floor: number, totals: ChunkTotals, counters: Counters): void {
    this.#saveState.run(
      floor,
      totals.chunkSeq,
      this.#options.series.count,
      totals.chunks,
      totals.points,
      totals.bytes,
      counters.runs,
      counters.unreadable,
    );
  }

  #deleteSlice(): void {
    const { db, hot, onStep } = this.#options;
    const through = Math.min(hot.floor, hot.deletedThrough + 4 * LIMITS.hotSliceRows);
    transact(db, "compaction-delete", onStep, () => void this.#deleteRows.run(through));
    hot.deleted(through);
  }
}

function slice<T>(list: ArrayLike<T>, from: number, to: number): T[] {
  return from === 0 && to === list.length
    ? list as T[]
    : Array.prototype.slice.call(list, from, to);
}
