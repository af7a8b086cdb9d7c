/** The chunks of series: which exist, adding points to them, and removing whole days. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Json } from "../../runtime/actor/behaviour.ts";
import { CodecError } from "../../runtime/errors.ts";
import { type Column, decodeChunk, encodeChunk } from "./chunk_codec.ts";
import { arrays } from "./hot.ts";

/** A chunk that later points of the same series and day may be merged with. */
interface TailChunk {
  readonly fromAt: number;
  readonly seq: number;
  readonly n: number;
  readonly bytes: number;
}

interface Tail {
  readonly day: number;
  /** Rising seqs; nothing of this day and series was accepted after the last one. */
  readonly chunks: TailChunk[];
}

/** A chunk's place and points; the points of equal times in two chunks stand in order of `seq`. */
export interface StoredColumn extends Column {
  readonly seq: number;
}

export interface ChunkTotals {
  readonly chunkSeq: number;
  readonly chunks: number;
  readonly points: number;
  readonly bytes: number;
}

/** A series with more chunks in a day than this, unknown in memory, starts a new one. */
const TAIL_CHUNKS_MAX = 64;
const TAILS_MAX = 65_536;
/** Larger chunks (long texts) are not rewritten for a few points more. */
const MERGE_BYTES_MAX = 65_536;
/** Chunks fetched at a time: a day may have any number of them. */
const READ_CHUNKS = 64;
const PIECE_BYTES_MAX = 262_144;

export class SeriesChunks {
  totals: ChunkTotals;
  readonly #tails = new Map<number, Tail>();
  readonly #pointsMax: number;
  readonly #insert: StatementSync;
  readonly #delete: StatementSync;
  readonly #one: StatementSync;
  readonly #tail: StatementSync;
  readonly #within: StatementSync;
  readonly #newest: StatementSync;
  readonly #nextDay: StatementSync;

  constructor(db: DatabaseSync, totals: ChunkTotals, pointsMax: number) {
    this.totals = totals;
    this.#pointsMax = pointsMax;
    const key = "day = ? AND series = ? AND from_at = ? AND seq = ?";
    this.#insert = db.prepare("INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
    this.#delete = db.prepare(`DELETE FROM chunk WHERE ${key}`);
    this.#one = arrays(db, `SELECT codec, blob FROM chunk WHERE ${key}`);
    this.#tail = arrays(
      db,
      `SELECT from_at, seq, n, length(blob) FROM chunk WHERE day = ? AND series = ? LIMIT ?`,
    );
    this.#within = arrays(
      db,
      `SELECT from_at, seq, codec, blob FROM chunk
       WHERE day = ? AND series = ? AND (from_at, seq) > (?, ?) AND from_at < ? AND to_at >= ?
       ORDER BY from_at, seq LIMIT ${READ_CHUNKS}`,
    );
    this.#newest = arrays(
      db,
      `SELECT codec, blob FROM chunk WHERE day = ? AND series = ? ORDER BY to_at DESC, seq DESC
       LIMIT 1`,
    );
    this.#nextDay = arrays(db, "SELECT min(day) FROM chunk WHERE day >= ?");
  }

  /** First day not before `day` that has chunks of any series. */
  nextDay(day: number): number | undefined {
    const [found] = this.#nextDay.get(day) as unknown as [number | null];
    return found ?? undefined;
  }

  /**
   * Inside a transaction: adds points of one day, in order of time, accepted after all before. Small
   * chunks at the end are rewritten together with them (each time at least doubling, so that a
   * point is rewritten a few times at most).
   */
  append(series: number, day: number, ats: number[], values: Json[]): void {
    const tail = this.#tailOf(series, day);
    const merged: Column[] = [];
    let total = ats.length;
    let { chunkSeq, chunks, points, bytes } = this.totals;
    for (let last = tail.chunks.at(-1); last !== undefined; last = tail.chunks.at(-1)) {
      const isMerged = last.n <= total && last.n + total <= this.#pointsMax &&
        last.bytes <= MERGE_BYTES_MAX;
      if (!isMerged) break;
      const column = this.#column(day, series, last);
      if (column === undefined) { // Damaged: left where it is, for whoever reads it to be told.
        tail.chunks.length = 0;
        break;
      }
      merged.unshift(column);
      this.#delete.run(day, series, last.fromAt, last.seq);
      tail.chunks.pop();
      total += last.n;
      chunks--;
      points -= last.n;
      bytes -= last.bytes;
    }
    const all = merged.length === 0 ? { ats, values } : inOrder([...merged, { ats, values }]);
    for (let from = 0; from < total;) {
      const to = pieceEnd(all.values, from, Math.min(from + this.#pointsMax, total));
      const { codec, bytes: blob } = encodeChunk(all.ats, all.values, from, to);
      const fromAt = all.ats[from]!;
      this.#insert.run(day, series, fromAt, ++chunkSeq, all.ats[to - 1]!, to - from, codec, blob);
      tail.chunks.push({ fromAt, seq: chunkSeq, n: to - from, bytes: blob.length });
      chunks++;
      points += to - from;
      bytes += blob.length;
      from = to;
    }
    // Only the last few can be merged again, and each at least doubles.
    if (tail.chunks.length > TAIL_CHUNKS_MAX) tail.chunks.splice(0, TAIL_CHUNKS_MAX / 2);
    this.totals = { chunkSeq, chunks, points, bytes };
  }

  /** Chunks of a day that touch `[fromAt, toAt)`, decoded one by one in order of their first time. */
  *within(
    series: number,
    day: number,
    fromAt: number,
    toAt: number,
  ): Generator<{ readonly fromAt: number; readonly column: StoredColumn }> {
    let last: [fromAt: number, seq: number] = [-Infinity, 0];
    for (let count = READ_CHUNKS; count === READ_CHUNKS;) {
      const rows = this.#within.all(day, series, ...last, toAt, fromAt) as unknown as [
        number,
        number,
        number,
        Uint8Array,
      ][];
      for (const [from, seq, codec, blob] of rows) {
        yield { fromAt: from, column: { seq, ...decodeChunk(codec, blob) } };
        last = [from, seq];
      }
      count = rows.length;
    }
  }

  /** The chunk with the newest point of the day. */
  newest(series: number, day: number): Column | undefined {
    const row = this.#newest.get(day, series) as unknown as [number, Uint8Array] | undefined;
    return row === undefined ? undefined : decodeChunk(row[0], row[1]);
  }

  /** After a rollback: what is cached may not be so. */
  forget(totals: ChunkTotals): void {
    this.totals = totals;
    this.#tails.clear();
  }

  #tailOf(series: number, day: number): Tail {
    const cached = this.#tails.get(series);
    if (cached?.day === day) return cached;
    const rows = this.#tail.all(day, series, TAIL_CHUNKS_MAX) as unknown as [
      number,
      number,
      number,
      number,
    ][];
    const chunks = rows
      .map(([fromAt, seq, n, bytes]) => ({ fromAt, seq, n, bytes }))
      .sort((a, b) => a.seq - b.seq);
    // Without knowing all, the last in order of acceptance is not known: nothing is merged.
    const tail = { day, chunks: rows.length < TAIL_CHUNKS_MAX ? chunks : [] };
    if (this.#tails.size >= TAILS_MAX) this.#tails.delete(this.#tails.keys().next().value!);
    this.#tails.set(series, tail);
    return tail;
  }

  #column(day: number, series: number, chunk: TailChunk): Column | undefined {
    const row = this.#one.get(day, series, chunk.fromAt, chunk.seq);
    const [codec, blob] = row as unknown as [number, Uint8Array];
    try {
      return decodeChunk(codec, blob);
    } catch (fault) {
      if (fault instanceof CodecError) return undefined;
      throw fault;
    }
  }
}

/** At most `end`; earlier where the values are long. */
function pieceEnd(values: ArrayLike<Json>, from: number, end: number): number {
  if (values instanceof Float64Array) return end;
  let bytes = 0;
  for (let i = from; i < end; i++) {
    const value = values[i]!;
    if (typeof value === "string") bytes += value.length;
    else if (typeof value === "object" && value !== null) bytes += JSON.stringify(value).length;
    if (bytes > PIECE_BYTES_MAX) return Math.max(i, from + 1);
  }
  return end;
}

/** Columns given in order of acceptance, as one in order of time; equal times keep their order. */
export function inOrder(columns: readonly { ats: ArrayLike<number>; values: ArrayLike<Json> }[]): {
  ats: ArrayLike<number>;
  values: ArrayLike<Json>;
} {
  const ats: number[] = [];
  const values: Json[] = [];
  let isRising = true;
  let before = -Infinity;
  for (const column of columns) {
    for (let i = 0; i < column.ats.length; i++) {
      const at = column.ats[i]!;
      if (at < before) isRising = false;
      before = at;
      ats.push(at);
      values.push(column.values[i]!);
    }
  }
  if (isRising) return { ats, values };
  const order = ats.map((_, index) => index).sort((a, b) => ats[a]! - ats[b]! || a - b);
  return {
    ats: order.map((index) => ats[index]!),
    values: order.map((index) => values[index]!),
  };
}
