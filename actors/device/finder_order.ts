/**
 * Orders of devices, and cursors that go on in them. By last seen, those with a time come first, in its
 * order, then those that were never heard of, by product and name.
 */
import { decodeCursor, encodeCursor } from "../registry/cursor.ts";
import type { Clause, DeviceSort } from "./finder_conditions.ts";

/** Values of a row by which an order goes on. */
export type Position = Readonly<Record<string, string | number>>;

export interface Place {
  /** `never`: among those that were never heard of, which have an order of their own. */
  readonly type: "first" | "never";
  /** Undefined: from the begin. */
  readonly after?: Position | undefined;
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

export class FinderOrder {
  readonly sort: DeviceSort | "";
  readonly isDescending: boolean;
  readonly isBySeen: boolean;
  /** All devices of one product: the index by key has them in the order of this column alone. */
  readonly isByDevice: boolean;
  readonly columns: readonly OrderColumn[];
  /** Position of a row. */
  readonly selected: string;
  readonly ordering: string;
  readonly reversed: string;
  readonly #field: string;
  readonly #product: string | undefined;

  /** @param product Fixed by the filter, if it is. */
  constructor(sort: DeviceSort | undefined, product: string | undefined) {
    this.sort = sort ?? "";
    this.isDescending = this.sort.startsWith("-");
    this.#field = this.isDescending ? this.sort.slice(1) : this.sort;
    this.columns = COLUMNS[this.#field]!;
    this.#product = product;
    this.isBySeen = this.#field === "lastSeenAt";
    this.isByDevice = product !== undefined && (this.#field === "" || this.#field === "device");
    this.selected = this.columns.map(({ name, sql }) => `${sql} as ${name}`).join(", ");
    this.ordering = this.#ordered(this.isDescending);
    this.reversed = this.#ordered(!this.isDescending);
  }

  /** Index of the registry that has its rows in this order. */
  get index(): string {
    return INDEXES[this.isByDevice ? "" : this.#field]!;
  }

  positionOf(row: Position): Position {
    return Object.fromEntries(this.columns.map(({ name }) => [name, row[name]!]));
  }

  isAfter(position: Position | undefined): Clause[] {
    return position === undefined ? [] : [this.#compare(position, this.isDescending ? "<" : ">")];
  }

  isUpTo(position: Position | undefined): Clause[] {
    return position === undefined ? [] : [this.#compare(position, this.isDescending ? ">=" : "<=")];
  }

  #ordered(isDescending: boolean): string {
    const direction = isDescending ? "desc" : "asc";
    const columns = this.isByDevice ? [DEVICE] : this.columns;
    return columns.map(({ sql }) => `${sql} ${direction}`).join(", ");
  }

  #compare(position: Position, operator: string): Clause {
    // A cursor of another product compares by all columns.
    const isOwn = this.isByDevice && position.product === this.#product;
    const columns = isOwn ? [DEVICE] : this.columns;
    const names = columns.map(({ sql }) => sql).join(", ");
    const marks = columns.map(() => "?").join(", ");
    return {
      sql: `(${names}) ${operator} (${marks})`,
      values: columns.map(({ name }) => position[name]!),
    };
  }
}

export function cursorOf(order: FinderOrder, { type, after }: Place): string {
  const columns = columnsOf(order, type);
  return encodeCursor([order.sort, type, ...columns.map(({ name }) => String(after![name]))]);
}

/** Undefined: the cursor is none of this order. */
export function placeOf(order: FinderOrder, cursor: string | undefined): Place | undefined {
  if (cursor === undefined) return { type: "first" };
  for (const type of order.isBySeen ? ["first", "never"] as const : ["first"] as const) {
    const columns = columnsOf(order, type);
    const parts = decodeCursor(cursor, columns.length + 2);
    if (parts === undefined || parts[0] !== order.sort || parts[1] !== type) continue;
    const values = columns.map(({ isNumber }, at) =>
      isNumber ? wholeNumber(parts[at + 2]!) : parts[at + 2]!
    );
    if (values.includes(undefined)) continue;
    return { type, after: Object.fromEntries(columns.map(({ name }, at) => [name, values[at]!])) };
  }
  return undefined;
}

function columnsOf(order: FinderOrder, type: Place["type"]): readonly OrderColumn[] {
  return type === "never" ? COLUMNS[""]! : order.columns;
}

function wholeNumber(text: string): number | undefined {
  if (!/^-?\d{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}
