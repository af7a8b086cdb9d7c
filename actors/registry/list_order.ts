/**
 * Orders of lists, and the cursors that go on in them. An order is a list of columns, the last of them
 * the key, so that it is total. A cursor names its order and the last row of its page: it stays valid
 * while rows come and go. Only a row whose sorted column changes between two pages moves.
 */
import { type RawBuilder, sql } from "../../runtime/store/relational_store.ts";
import { BAD_CURSOR } from "./conditions.ts";
import { decodeCursor, encodeCursor } from "./cursor.ts";
import { accepted, invalid, type Outcome, type Page } from "./outcome.ts";

/** `name`, or `-name` for descending. */
export type Sort<Field extends string> = Field | `-${Field}`;

export interface OrderColumn {
  readonly column: string;
  /** Its values stand as whole numbers in the table, not as text. */
  readonly isNumber?: boolean;
}

export interface ListOrder {
  /** As it was asked for; empty: the order of the list itself. */
  readonly sort: string;
  readonly columns: readonly OrderColumn[];
  readonly isDescending: boolean;
}

/** What a page reads. */
export interface PageRows {
  readonly after: RawBuilder<boolean>;
  readonly by: RawBuilder<unknown>;
  readonly limit: number;
}

/** Values of a row, by column; at least those of the order. */
export type Position = Readonly<Record<string, string | number>>;

/** @param columns By field; the empty one is the order of the list itself, always ascending. */
export function orderOf<Field extends string>(
  sort: Sort<Field> | undefined,
  columns: Readonly<Record<Field | "", readonly OrderColumn[]>>,
): ListOrder {
  const isDescending = sort?.startsWith("-") ?? false;
  const field = (isDescending ? sort!.slice(1) : sort ?? "") as Field | "";
  return { sort: sort ?? "", columns: columns[field], isDescending };
}

function cursorAfter(order: ListOrder, row: object): string {
  const position = row as Position;
  return encodeCursor([order.sort, ...order.columns.map(({ column }) => String(position[column]))]);
}

/** @param rows One more than `limit`, if there is one more. */
export function cutPage<Row extends object>(
  order: ListOrder,
  rows: readonly Row[],
  limit: number,
): { readonly rows: readonly Row[]; readonly nextCursor: string | null } {
  if (rows.length <= limit) return { rows, nextCursor: null };
  return { rows: rows.slice(0, limit), nextCursor: cursorAfter(order, rows[limit - 1]!) };
}

/** Undefined: the cursor is none of this order. */
export function positionIn(order: ListOrder, cursor: string): Position | undefined {
  const parts = decodeCursor(cursor, order.columns.length + 1);
  if (parts === undefined || parts[0] !== order.sort) return undefined;
  const position: Record<string, string | number> = {};
  for (const [index, { column, isNumber }] of order.columns.entries()) {
    const value = isNumber ? Number(parts[index + 1]) : parts[index + 1]!;
    if (isNumber && !Number.isSafeInteger(value)) return undefined;
    position[column] = value;
  }
  return position;
}

/** The row comes after the position in this order. */
export function isAfter(order: ListOrder, position: Position): RawBuilder<boolean> {
  return compare(order, order.isDescending ? "<" : ">", position);
}

/** What follows `order by`. */
export function ordering(order: ListOrder): RawBuilder<unknown> {
  const direction = sql.raw(order.isDescending ? "desc" : "asc");
  const parts = order.columns.map(({ column }) => sql`${sql.ref(column)} ${direction}`);
  return sql`${sql.join(parts)}`;
}

/**
 * A page of a list. Refuses a cursor that is none of its order.
 * @param read At most `limit` rows that are `after`, in order of `by`.
 */
export async function pageOf<Field extends string, Row extends object, Item>(
  orders: Readonly<Record<Field | "", readonly OrderColumn[]>>,
  { sort, limit, cursor }: {
    readonly sort?: Sort<Field>;
    readonly limit: number;
    readonly cursor?: string;
  },
  itemOf: (row: Row) => Item,
  read: (rows: PageRows) => Promise<readonly Row[]>,
): Promise<Outcome<Page<Item>>> {
  const order = orderOf(sort, orders);
  const position = cursor === undefined ? undefined : positionIn(order, cursor);
  if (position === undefined && cursor !== undefined) return invalid([BAD_CURSOR]);
  const after = position === undefined ? sql<boolean>`1 = 1` : isAfter(order, position);
  const found = await read({ after, by: ordering(order), limit: limit + 1 });
  const { rows, nextCursor } = cutPage(order, found, limit);
  return accepted({ items: rows.map(itemOf), nextCursor });
}

function compare(order: ListOrder, operator: string, position: Position): RawBuilder<boolean> {
  const columns = sql.join(order.columns.map(({ column }) => sql.ref(column)));
  const values = sql.join(order.columns.map(({ column }) => position[column]));
  return sql<boolean>`(${columns}) ${sql.raw(operator)} (${values})`;
}
