/**
 * Orders of devices, the indexes that have them, and cursors that go on in them. By last seen, those with
 * a time come first, in its order, then those that were never heard of, by product and name.
 */
import { decodeCursor, encodeCursor } from "../registry/cursor.ts";
import type { Clause, DeviceSort } from "./finder_conditions.ts";

/** Values of a row by which an order goes on. */
export type Position = Readonly<Record<string, string | number>>;

export interface Place {
  readonly type: "first" | "never";
  readonly after?: Position | undefined;
}

interface Walk {
  /** `index` alone has what slices are cut by; `rows` the devices too. */
  readonly table: { readonly index: Clause; readonly rows: Clause };
  readonly fixed: readonly Clause[];
  readonly rest: readonly Clause[];
}

interface OrderColumn {
  readonly name: string;
  readonly sql: string;
  readonly isNumber?: boolean;
}

const PRODUCT = { name: "product", sql: "d.product" };
const DEVICE = { name: "device", sql: "d.device" };
const COLUMNS: Readonly<Record<string, readonly OrderColumn[]>> = {
  "": [PRODUCT, DEVICE],
  device: [DEVICE, PRODUCT],
  name: [{ name: "name", sql: "d.name" }, PRODUCT, DEVICE],
  createdAt: [{ name: "created_at", sql: "d.created_at", isNumber: true }, PRODUCT, DEVICE],
  lastSeenAt: [{ name: "seen", sql: "p.seen", isNumber: true }, { name: "key", sql: "p.key" }],
};
/** See `migrations.ts`: each begins with the project. */
const INDEXES: Readonly<Record<string, string>> = {
  "": "devices_of_project_by_key",
  device: "devices_of_project_by_device",
  name: "devices_of_project_by_name",
  createdAt: "devices_of_project_by_created",
};
const SEEN = "v.rows as p indexed by rows_seen";
const SEEN_DEVICES = `${SEEN} cross join devices d
  on d.product = substr(p.key, 1, instr(p.key, '/') - 1)
  and d.device = substr(p.key, instr(p.key, '/') + 1)`;

/** @param product Fixed by the filter, if it is. */
export function orderOf(sort: DeviceSort | undefined, product: string | undefined): FinderOrder {
  return new FinderOrder(sort ?? "", product);
}

export class FinderOrder {
  readonly isBySeen: boolean;
  /** Position of a row. */
  readonly selected: string;
  readonly ordering: string;
  readonly reversed: string;
  readonly #field: string;
  readonly #isDescending: boolean;
  readonly #columns: readonly OrderColumn[];
  readonly #product: string | undefined;
  /** Among devices of one product that the index has together, this column alone is the order. */
  readonly #isByDevice: boolean;

  constructor(readonly sort: string, product: string | undefined) {
    this.#isDescending = sort.startsWith("-");
    this.#field = this.#isDescending ? sort.slice(1) : sort;
    this.#columns = COLUMNS[this.#field]!;
    this.#product = product;
    this.isBySeen = this.#field === "lastSeenAt";
    this.#isByDevice = product !== undefined && (this.#field === "" || this.#field === "device");
    this.selected = this.#columns.map(({ name, sql }) => `${sql} as ${name}`).join(", ");
    this.ordering = this.#ordered(this.#isDescending);
    this.reversed = this.#ordered(!this.#isDescending);
  }

  get columns(): readonly OrderColumn[] {
    return this.#columns;
  }

  positionOf(row: object): Position {
    const values = row as Position;
    return Object.fromEntries(this.#columns.map(({ name }) => [name, values[name]!]));
  }

  isAfter(position: Position | undefined): Clause[] {
    return position === undefined ? [] : [this.#compare(position, this.#isDescending ? "<" : ">")];
  }

  isUpTo(position: Position | undefined): Clause[] {
    return position === undefined
      ? []
      : [this.#compare(position, this.#isDescending ? ">=" : "<=")];
  }

  /** How the rows that pass `filters` are walked along an index. */
  walk(filters: readonly Clause[]): Walk {
    if (this.isBySeen) {
      const fixed = [{ sql: "p.seen is not null", values: [] }];
      const table = { index: plain(SEEN), rows: plain(SEEN_DEVICES) };
      return { table, fixed, rest: [...this.#ofProduct(), ...filters] };
    }
    const isFixed = ({ name }: Clause) =>
      name === "project" || name === "product" && this.#isByDevice;
    const index = INDEXES[this.#isByDevice ? "" : this.#field]!;
    const devices = plain(`devices d indexed by ${index}`);
    return {
      table: { index: devices, rows: devices },
      fixed: filters.filter(isFixed),
      rest: filters.filter((clause) => !isFixed(clause)),
    };
  }

  /** Keys of a product stand between `/` and `0`, which follows it: no look at their devices. */
  #ofProduct(): Clause[] {
    if (this.#product === undefined) return [];
    return [{
      sql: "p.key >= ? and p.key < ?",
      values: [`${this.#product}/`, `${this.#product}0`],
    }];
  }

  #ordered(isDescending: boolean): string {
    const direction = isDescending ? "desc" : "asc";
    const columns = this.#isByDevice ? [DEVICE] : this.#columns;
    return columns.map(({ sql }) => `${sql} ${direction}`).join(", ");
  }

  #compare(position: Position, operator: string): Clause {
    // A cursor of another product compares by all columns.
    const isOwn = this.#isByDevice && position.product === this.#product;
    const columns = isOwn ? [DEVICE] : this.#columns;
    const names = columns.map(({ sql }) => sql).join(", ");
    const marks = columns.map(() => "?").join(", ");
    const values = columns.map(({ name }) => position[name]!);
    return { sql: `(${names}) ${operator} (${marks})`, values };
  }
}

export function cursorOf(order: FinderOrder, { type, after }: Place): string {
  const { columns } = type === "never" ? orderOf(undefined, undefined) : order;
  return encodeCursor([order.sort, type, ...columns.map(({ name }) => String(after![name]))]);
}

/** Undefined: the cursor is none of this order. */
export function placeOf(order: FinderOrder, cursor: string | undefined): Place | undefined {
  if (cursor === undefined) return { type: "first" };
  for (const type of order.isBySeen ? ["first", "never"] as const : ["first"] as const) {
    const { columns } = type === "never" ? orderOf(undefined, undefined) : order;
    const parts = decodeCursor(cursor, columns.length + 2);
    if (parts === undefined || parts[0] !== order.sort || parts[1] !== type) continue;
    const values = columns.map(({ isNumber }, at) =>
      isNumber ? Number(parts[at + 2]) : parts[at + 2]!
    );
    if (values.some((value) => typeof value === "number" && !Number.isSafeInteger(value))) continue;
    return { type, after: Object.fromEntries(columns.map(({ name }, at) => [name, values[at]!])) };
  }
  return undefined;
}

function plain(sql: string): Clause {
  return { sql, values: [] };
}
