/**
 * Lists of devices in any order with any filter, over three stores that one thread reads together: the
 * registry (`registry.db`), who was heard of when (`views.db`), and last values (`search.db`). Where a
 * condition has few matches these are looked at; else the list is walked along an index, in slices: other
 * work runs in between, and a page ends early rather than late.
 */
import { DatabaseSync } from "node:sqlite";
import type { Clock } from "../../runtime/clock.ts";
import { DEVICE_LIMITS } from "../../runtime/device_limits.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { BAD_CURSOR } from "../registry/conditions.ts";
import { accepted, invalid, type Outcome, type Page } from "../registry/outcome.ts";
import { type Device, deviceOf } from "./device_row.ts";
import {
  type Clause,
  clauses,
  conditionsOf,
  type DeviceFilter,
  type DeviceSort,
  NEVER_SEEN,
  sourcesOf,
} from "./finder_conditions.ts";
import {
  cursorOf,
  type FinderOrder,
  orderOf,
  type Place,
  placeOf,
  type Position,
} from "./finder_order.ts";
import type { DevicesTable } from "../registry/tables.ts";

export type { DeviceFilter };

export interface FinderQuery extends DeviceFilter {
  /** Default: by product and device. */
  readonly sort?: DeviceSort;
  /** 1 to 500. */
  readonly limit: number;
  readonly cursor?: string;
}

export interface DeviceFinder {
  /** A page may be short, even empty, while `nextCursor` is not null. Refuses a foreign cursor. */
  list(query: FinderQuery): Promise<Outcome<Page<Device>>>;
  /** How many pass; null: more than `rowsMax` would have to be looked at. */
  count(filter: DeviceFilter, rowsMax?: number): Promise<number | null>;
}

export interface FinderPaths {
  readonly registry: string;
  readonly views: string;
  readonly search: string;
}

type Row = DevicesTable & { readonly seen: number | null; readonly key: string };

/** Rows of one order among what passes; walked in slices unless few rows are in it. */
interface Part {
  readonly order: FinderOrder;
  /** `from`, with a narrow source or an index to walk. */
  readonly from: Clause;
  /** What the walked index is cut by; undefined: everything is read at once. */
  readonly slices: Clause | undefined;
  readonly fixed: readonly Clause[];
  readonly filters: readonly Clause[];
}

const COLUMNS = `d.product, d.device, d.name, d.tags, d.enabled, d.version, d.created_at,
  d.updated_at`;

/** All three files must be there. */
export function openDeviceFinder(paths: FinderPaths, clock: Clock): DeviceFinder & Disposable {
  const database = new DatabaseSync(paths.registry, {
    readOnly: true,
    timeout: LIMITS.storeBusyMs,
  });
  database.prepare("attach database ? as v").run(paths.views);
  database.prepare("attach database ? as s").run(paths.search);
  return new SqliteFinder(database, clock);
}

class SqliteFinder implements DeviceFinder, Disposable {
  readonly #database: DatabaseSync;
  readonly #clock: Clock;
  readonly #statements = new Map<string, ReturnType<DatabaseSync["prepare"]>>();

  constructor(database: DatabaseSync, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  async list(query: FinderQuery): Promise<Outcome<Page<Device>>> {
    const order = orderOf(query.sort, query.product);
    const start = placeOf(order, query.cursor);
    if (start === undefined) return invalid([BAD_CURSOR]);
    const deadlineMs = this.#clock.monotonicMs() + LIMITS.searchMsMax;
    const rows: { readonly row: Row; readonly place: Place }[] = [];
    const page = (nextCursor: string | null) =>
      accepted({ items: rows.slice(0, query.limit).map(({ row }) => deviceOf(row)), nextCursor });
    const source = this.#narrowest(query);
    for (let place: Place | undefined = start; place !== undefined;) {
      const part = this.#partOf(query, order, place, source);
      const wanted = query.limit + 1 - rows.length;
      const read = await this.#read(part, place.after, wanted, deadlineMs);
      const type: Place["type"] = place.type;
      for (const row of read.rows) {
        rows.push({ row, place: { type, after: part.order.positionOf(row) } });
      }
      if (rows.length > query.limit) return page(cursorOf(order, rows[query.limit - 1]!.place));
      if (read.goOnAfter !== undefined) {
        return page(cursorOf(order, { type, after: read.goOnAfter }));
      }
      place = order.isBySeen && type === "first" ? { type: "never" } : undefined;
    }
    return page(null);
  }

  async count(filter: DeviceFilter, rowsMax = LIMITS.countRowsMax): Promise<number | null> {
    const order = orderOf(undefined, filter.product);
    const part = this.#partOf(filter, order, { type: "first" }, this.#narrowest(filter));
    let count = 0;
    let after: Position | undefined;
    for (let looked = 0; looked <= rowsMax; looked += LIMITS.searchSliceRows) {
      const end = this.#sliceEnd(part, after);
      const isFull = end !== undefined && part.filters.length === 0;
      count += isFull ? LIMITS.searchSliceRows : this.#countSlice(part, after, end);
      if (end === undefined) return count;
      after = end;
      await this.#letOthersRun();
    }
    return null;
  }

  [Symbol.dispose](): void {
    if (this.#database.isOpen) this.#database.close();
  }

  async #read(
    part: Part,
    start: Position | undefined,
    wanted: number,
    deadlineMs: number,
  ): Promise<{ readonly rows: readonly Row[]; readonly goOnAfter: Position | undefined }> {
    const rows: Row[] = [];
    for (let after = start;;) {
      const end = this.#sliceEnd(part, after);
      rows.push(...this.#readSlice(part, after, end, wanted - rows.length));
      if (rows.length >= wanted || end === undefined) return { rows, goOnAfter: undefined };
      const goOnAfter = this.#clock.monotonicMs() < deadlineMs
        ? undefined
        : this.#toldPosition(part, after, end);
      if (goOnAfter !== undefined) return { rows, goOnAfter };
      after = end;
      await this.#letOthersRun();
    }
  }

  /** The last row of a full slice; undefined if it is the last one. */
  #sliceEnd(part: Part, after: Position | undefined): Position | undefined {
    const { order, slices, fixed } = part;
    if (slices === undefined) return undefined;
    const where = clauses([...fixed, ...order.isAfter(after)]);
    const sql = `select ${order.selected} from ${slices.sql} ${where.sql}
      order by ${order.ordering} limit 1 offset ${LIMITS.searchSliceRows - 1}`;
    return this.#all<Position>(sql, [...slices.values, ...where.values])[0];
  }

  /** A cursor must not name another project's device: the last own row up to the end. */
  #toldPosition(part: Part, after: Position | undefined, end: Position): Position | undefined {
    const { order, from, fixed } = part;
    if (!order.isBySeen) return end;
    const own = part.filters.filter(({ name }) => name === "project");
    const range = [...order.isAfter(after), ...order.isUpTo(end)];
    const where = clauses([...fixed, ...own, ...range]);
    const sql = `select ${order.selected} from ${from.sql} ${where.sql}
      order by ${order.reversed} limit 1`;
    return this.#all<Position>(sql, [...from.values, ...where.values])[0];
  }

  #readSlice(part: Part, after: Position | undefined, end: Position | undefined, limit: number) {
    const { order, from, fixed, filters } = part;
    const range = [...order.isAfter(after), ...order.isUpTo(end)];
    const where = clauses([...fixed, ...range, ...filters]);
    const seen = order.isBySeen ? ", p.seen, p.key" : "";
    const sql = `select ${COLUMNS}${seen} from ${from.sql} ${where.sql}
      order by ${order.ordering} limit ?`;
    return this.#all<Row>(sql, [...from.values, ...where.values, limit]);
  }

  #countSlice(part: Part, after: Position | undefined, end: Position | undefined): number {
    const { order, from, fixed, filters } = part;
    const where = clauses([...fixed, ...order.isAfter(after), ...order.isUpTo(end), ...filters]);
    const sql = `select count(*) as count from ${from.sql} ${where.sql}`;
    return this.#all<{ count: number }>(sql, [...from.values, ...where.values])[0]!.count;
  }

  #partOf(
    filter: DeviceFilter,
    order: FinderOrder,
    { type }: Place,
    source: Clause | undefined,
  ): Part {
    const filters = conditionsOf(filter);
    const isSeen = order.isBySeen && type === "first";
    const walked = type === "never" ? orderOf(undefined, filter.product) : order;
    if (type === "never") filters.push(NEVER_SEEN);
    if (source !== undefined) {
      const seen = isSeen
        ? ` cross join v.rows p on p.view = 'presence' and p.key = d.product || '/' || d.device`
        : "";
      const from = { sql: source.sql + seen, values: source.values };
      return { order: walked, from, slices: undefined, fixed: [], filters };
    }
    const { table, fixed, rest } = walked.walk(filters);
    return { order: walked, from: table.rows, slices: table.index, fixed, filters: rest };
  }

  /** The condition with the fewest matches, if they are few. */
  #narrowest(filter: DeviceFilter): Clause | undefined {
    let fewest: number = DEVICE_LIMITS.searchNarrowRows + 1;
    let narrowest: Clause | undefined;
    for (const { count, from } of sourcesOf(filter)) {
      const sql = `select count(*) as count from (${count.sql} limit ?)`;
      const [row] = this.#all<{ count: number }>(sql, [...count.values, fewest]);
      if (row!.count >= fewest) continue;
      fewest = row!.count;
      narrowest = from;
    }
    return narrowest;
  }

  #all<Found>(sql: string, values: Clause["values"]): Found[] {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      if (this.#statements.size >= LIMITS.preparedStatementsMax) this.#statements.clear();
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement.all(...values) as Found[];
  }

  #letOthersRun(): Promise<void> {
    return new Promise((resolve) => this.#clock.soon(resolve));
  }
}
