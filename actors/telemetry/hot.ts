/**
 * The hot table: samples in order of acceptance, one row each, and in memory per device the rows
 * that are not compacted yet. Opening is instant: the index is read back in slices, and queries and
 * compaction wait for `indexed`.
 *
 * Invariants: rows `deletedThrough < seq <= lastSeq` exist, without gaps;
 * `deletedThrough <= floor <= lastSeq`; the index (when complete) holds exactly the rows whose seq
 * is above `floor` and above the floor of their device: those that no chunk has.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";

/** Rows of one device in order of acceptance. */
export interface HotRows {
  readonly seqs: number[];
  readonly ats: number[];
}

export type HotRow = readonly [seq: number, device: number, at: number, text: string];

const ROWS_PER_INSERT = 8;
/** Rows that one look-up by a list of numbers fetches. */
const LOOK_UP_ROWS = 512;

export class HotTable {
  readonly indexed: Promise<void>;
  /** Device → last row that its chunks hold, where that is above `floor`. */
  readonly floors = new Map<number, number>();
  readonly #index = new Map<number, HotRows>();
  readonly #insertMany: StatementSync;
  readonly #insertOne: StatementSync;
  readonly #scan: StatementSync;
  readonly #between: StatementSync;
  readonly #listed: StatementSync;
  /** Begins at 0 after each run of compaction; the next row of a device counts its rest again. */
  #longestRows = 0;
  #isIndexed = false;
  #isClosed = false;
  #lastSeq: number;
  #deletedThrough: number;
  floor: number;

  constructor(db: DatabaseSync, clock: Clock, floor: number) {
    const values = "(?, ?, ?, ?)";
    const insert = "INSERT INTO hot (seq, device, at, body) VALUES ";
    this.#insertMany = db.prepare(insert + Array(ROWS_PER_INSERT).fill(values).join(", "));
    this.#insertOne = db.prepare(insert + values);
    const text = "CAST(body AS TEXT)";
    this.#scan = arrays(db, `SELECT seq, device, at, ${text} FROM hot WHERE seq > ? LIMIT ?`);
    this.#between = arrays(
      db,
      `SELECT seq, ${text} FROM hot WHERE seq BETWEEN ? AND ? AND device = ?`,
    );
    this.#listed = arrays(
      db,
      `SELECT seq, ${text} FROM hot WHERE seq IN (SELECT value FROM json_each(?))`,
    );
    this.floor = floor;
    const ends = db.prepare("SELECT min(seq) AS first, max(seq) AS last FROM hot").get()!;
    this.#lastSeq = Math.max(floor, (ends["last"] ?? 0) as number);
    this.#deletedThrough = ends["first"] === null ? this.#lastSeq : (ends["first"] as number) - 1;
    for (const row of db.prepare("SELECT device, seq FROM floor").all()) {
      this.floors.set(row["device"] as number, row["seq"] as number);
    }
    this.indexed = this.#readIndex(
      arrays(db, "SELECT seq, device, at FROM hot WHERE seq > ? LIMIT ?"),
      clock,
    );
  }

  /** Rows in the table, compacted ones that are not deleted yet included. */
  get rows(): number {
    return this.#lastSeq - this.#deletedThrough;
  }

  /** Rows of the device that has most, as of its last row: what a read of it has to parse. */
  get longestRows(): number {
    return this.#longestRows;
  }

  /** Rows that are in no complete run of compaction yet. */
  get pendingRows(): number {
    return this.#lastSeq - this.floor;
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }

  get deletedThrough(): number {
    return this.#deletedThrough;
  }

  /** Inside a transaction: rows `[device, at, body]` flattened. They count from `accept` on. */
  insert(fields: readonly (number | Uint8Array)[]): void {
    let seq = this.#lastSeq;
    let at = 0;
    const many: (number | Uint8Array)[] = new Array(ROWS_PER_INSERT * 4);
    for (; at + ROWS_PER_INSERT * 3 <= fields.length;) {
      for (let i = 0; i < many.length; i += 4, at += 3) {
        many[i] = ++seq;
        many[i + 1] = fields[at]!;
        many[i + 2] = fields[at + 1]!;
        many[i + 3] = fields[at + 2]!;
      }
      this.#insertMany.run(...many);
    }
    for (; at < fields.length; at += 3) {
      this.#insertOne.run(++seq, fields[at]!, fields[at + 1]!, fields[at + 2]!);
    }
  }

  /** After the commit of the same `fields`. */
  accept(fields: readonly (number | Uint8Array)[]): void {
    for (let at = 0; at < fields.length; at += 3) {
      this.#lastSeq++;
      // An incomplete index reads the new rows in their turn, behind the older ones.
      if (this.#isIndexed) {
        this.#add(fields[at] as number, this.#lastSeq, fields[at + 1] as number);
      }
    }
  }

  rowsOf(device: number): HotRows | undefined {
    return this.#index.get(device);
  }

  /** The rows of `device` up to `seq` are in chunks now. */
  dropThrough(device: number, seq: number): void {
    const rows = this.#index.get(device);
    if (rows === undefined) return;
    let count = 0;
    while (count < rows.seqs.length && rows.seqs[count]! <= seq) count++;
    if (count === rows.seqs.length) {
      this.#index.delete(device);
      return;
    }
    rows.seqs.splice(0, count);
    rows.ats.splice(0, count);
  }

  /** Every device's rows up to `floor` are in chunks. */
  raiseFloor(floor: number): void {
    this.floor = floor;
    this.#longestRows = 0;
    for (const [device, seq] of this.floors) if (seq <= floor) this.floors.delete(device);
  }

  deleted(through: number): void {
    this.#deletedThrough = through;
  }

  /** Rows after `seq`, in order. */
  scan(seq: number, limit: number): HotRow[] {
    return this.#scan.all(seq, limit) as unknown as HotRow[];
  }

  /** Bodies of rows of one device, in the order of `seqs`. */
  texts(device: number, seqs: readonly number[]): string[] {
    const found = new Map<number, string>();
    for (let i = 0; i < seqs.length; i += LOOK_UP_ROWS) {
      const block = seqs.slice(i, i + LOOK_UP_ROWS);
      let first = block[0]!;
      let last = first;
      for (const seq of block) {
        if (seq < first) first = seq;
        if (seq > last) last = seq;
      }
      // Close together, passing over the rows of others is cheaper than seeking each.
      const rows = last - first < block.length * 4
        ? this.#between.all(first, last, device)
        : this.#listed.all(JSON.stringify(block));
      for (const [seq, text] of rows as unknown as [number, string][]) found.set(seq, text);
    }
    return seqs.map((seq) => found.get(seq)!);
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return this.indexed;
  }

  async #readIndex(slice: StatementSync, clock: Clock): Promise<void> {
    let read = this.floor;
    while (!this.#isClosed) {
      const rows = slice.all(read, LIMITS.hotSliceRows) as unknown as [number, number, number][];
      for (const [seq, device, at] of rows) {
        if (seq > (this.floors.get(device) ?? 0)) this.#add(device, seq, at);
        read = seq;
      }
      if (rows.length < LIMITS.hotSliceRows) break;
      await new Promise<void>((resolve) => clock.soon(resolve));
    }
    this.#isIndexed = true;
  }

  #add(device: number, seq: number, at: number): void {
    const rows = this.#index.get(device);
    if (rows === undefined) {
      this.#index.set(device, { seqs: [seq], ats: [at] });
      return;
    }
    rows.seqs.push(seq);
    rows.ats.push(at);
    if (rows.seqs.length > this.#longestRows) this.#longestRows = rows.seqs.length;
  }
}

/** A statement whose rows are arrays: a third of the time that objects take. */
export function arrays(db: DatabaseSync, sql: string): StatementSync {
  const statement = db.prepare(sql) as StatementSync & { setReturnArrays(isOn: boolean): void };
  statement.setReturnArrays(true);
  return statement;
}
