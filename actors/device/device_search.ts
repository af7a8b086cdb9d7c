/**
 * Lists of devices in any of their orders, and how many there are. What no index serves is looked at in
 * slices of an index: other work runs in between, and a page ends early rather than late.
 */
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { type RawBuilder, sql } from "../../runtime/store/relational_store.ts";
import { contains } from "../registry/conditions.ts";
import {
  columnsOf,
  cursorAfter,
  cutPage,
  isAfter,
  isUpTo,
  type ListOrder,
  ordering,
  orderOf,
  type Position,
} from "../registry/list_order.ts";
import { DEFAULT_PROJECT, type RegistryStore } from "../registry/registry_store.ts";
import type { DevicesTable } from "../registry/tables.ts";

/** What devices are filtered by. */
export interface DeviceFilter {
  /** Default: `default`. */
  readonly project?: string;
  readonly product?: string;
  /** Part of device or name; ASCII letters in either case. */
  readonly q?: string;
  readonly tag?: string;
  /** In one of these groups; none: no device passes. */
  readonly groups?: readonly string[];
}

export interface DeviceRows {
  readonly rows: readonly DevicesTable[];
  readonly nextCursor: string | null;
}

const PRODUCT = { column: "product" };
const DEVICE = { column: "device" };

/** Each has an index of its columns after that of the project (`migrations.ts`). */
export const DEVICE_ORDERS = {
  "": [PRODUCT, DEVICE],
  device: [DEVICE, PRODUCT],
  name: [{ column: "name" }, PRODUCT, DEVICE],
  createdAt: [{ column: "created_at", isNumber: true }, PRODUCT, DEVICE],
} as const;

export const DEFAULT_ORDER: ListOrder = orderOf(undefined, DEVICE_ORDERS);

/** A walk along one index. */
interface Scan {
  readonly table: "devices" | "device_tags";
  /** What the index skips by itself. */
  readonly fixed: readonly RawBuilder<boolean>[];
  /** The product, if it is fixed: its column is none of `walk`. */
  readonly product: string | undefined;
  /** The order among what is fixed; ends where `order` does. */
  readonly walk: ListOrder;
  readonly order: ListOrder;
  /** What is looked at row by row. */
  readonly filters: readonly RawBuilder<boolean>[];
}

const NOTHING = sql<boolean>`1 = 0`;

export async function searchDevices(
  store: RegistryStore,
  clock: Clock,
  query: DeviceFilter & { readonly limit: number },
  order: ListOrder,
  after: Position | undefined,
): Promise<DeviceRows> {
  const deadlineMs = clock.monotonicMs() + LIMITS.searchMsMax;
  const scan = scanOf(query, order);
  const rows: DevicesTable[] = [];
  for (let from = after;;) {
    const end = scan.filters.length === 0 ? undefined : await sliceEnd(store, scan, from);
    rows.push(...await readSlice(store, scan, from, end, query.limit - rows.length + 1));
    if (rows.length > query.limit || end === undefined) return cutPage(order, rows, query.limit);
    if (clock.monotonicMs() >= deadlineMs) return { rows, nextCursor: cursorAfter(order, end) };
    from = end;
    await letOthersRun(clock);
  }
}

/** How many devices pass; null: more than `rowsMax` would have to be looked at. */
export async function countDevices(
  store: RegistryStore,
  clock: Clock,
  filter: DeviceFilter,
  rowsMax: number = LIMITS.countRowsMax,
): Promise<number | null> {
  const scan = scanOf(filter, DEFAULT_ORDER);
  // All rows are counted by pages of an index, a hundred times as fast as one by one.
  const isWhole = scan.fixed.length === 1 && scan.filters.length === 0;
  if (isWhole && await isOnlyProject(store)) return await countAll(store);
  let count = 0;
  let from: Position | undefined;
  for (let looked = 0; looked <= rowsMax; looked += LIMITS.searchSliceRows) {
    const end = await sliceEnd(store, scan, from);
    const isFull = end !== undefined && scan.filters.length === 0;
    count += isFull ? LIMITS.searchSliceRows : await countSlice(store, scan, from, end);
    if (end === undefined) return count;
    from = end;
    await letOthersRun(clock);
  }
  return null;
}

/** Those of the keys `{product}/{device}` that are there and pass. */
export async function findDevices(
  store: RegistryStore,
  keys: readonly string[],
  filter: DeviceFilter,
): Promise<DevicesTable[]> {
  const found: DevicesTable[] = [];
  const products = Map.groupBy(keys, (key) => key.slice(0, key.indexOf("/")));
  for (const [product, ofProduct] of products) {
    if (filter.product !== undefined && filter.product !== product) continue;
    const { project, q = "" } = filter;
    const asked = { q, product, ...(project === undefined ? undefined : { project }) };
    const { fixed, filters } = scanOf(asked, DEFAULT_ORDER);
    const names = sql.join(ofProduct.map((key) => key.slice(product.length + 1)));
    const conditions = [...fixed, sql<boolean>`device in (${names})`, ...filters];
    if (filter.tag !== undefined) conditions.push(hasTag(filter.tag));
    if (filter.groups !== undefined) conditions.push(isInGroup(filter.groups));
    const { rows } = await sql<DevicesTable>`select * from devices ${where(conditions)}`
      .execute(store.db);
    found.push(...rows);
  }
  return found;
}

function scanOf(filter: DeviceFilter, order: ListOrder): Scan {
  const { project = DEFAULT_PROJECT, product, tag, q } = filter;
  const isSearch = q !== undefined && q !== "";
  const isByKey = order.columns === DEVICE_ORDERS[""];
  const canFix = isByKey || order.columns === DEVICE_ORDERS.device;
  // Tags are in order of product and device, and know no names.
  const isPlain = !isSearch && filter.groups === undefined;
  const isOfTag = tag !== undefined && isPlain && canFix && (isByKey || product !== undefined);
  const fixed = [isOfTag ? sql<boolean>`tag = ${tag}` : sql<boolean>`project = ${project}`];
  const filters: RawBuilder<boolean>[] = [];
  if (isOfTag) filters.push(isOfProject(project));
  const isFixed = product !== undefined && canFix;
  if (isFixed) fixed.push(sql`product = ${product}`);
  // The sign keeps SQLite from taking the index of the product, and sorting all of it.
  else if (product !== undefined) filters.push(sql`+product = ${product}`);
  if (isSearch) filters.push(sql`(${contains("device", q)} or ${contains("name", q)})`);
  if (tag !== undefined && !isOfTag) filters.push(hasTag(tag));
  if (filter.groups !== undefined) filters.push(isInGroup(filter.groups));
  return {
    table: isOfTag ? "device_tags" : "devices",
    fixed,
    product: isFixed ? product : undefined,
    walk: isFixed ? { ...order, columns: [DEVICE] } : order,
    order,
    filters,
  };
}

/** A tag knows no project. */
function isOfProject(project: string): RawBuilder<boolean> {
  return sql`exists (select 1 from products where products.key = device_tags.product
    and products.project = ${project})`;
}

function hasTag(tag: string): RawBuilder<boolean> {
  return sql`exists (select 1 from device_tags where device_tags.tag = ${tag}
    and device_tags.product = devices.product and device_tags.device = devices.device)`;
}

function isInGroup(groups: readonly string[]): RawBuilder<boolean> {
  if (groups.length === 0) return NOTHING;
  return sql`exists (select 1 from group_devices where group_devices.product = devices.product
    and group_devices.device = devices.device and group_devices.group_id in (${sql.join(groups)}))`;
}

/** After `from`, up to `end`. */
function range(
  scan: Scan,
  from: Position | undefined,
  end?: Position,
): RawBuilder<boolean>[] {
  const conditions = [...scan.fixed];
  if (from !== undefined) conditions.push(...startOf(scan, from));
  if (end !== undefined) conditions.push(isUpTo(scan.walk, end));
  return conditions;
}

function startOf({ product, walk, order }: Scan, from: Position): RawBuilder<boolean>[] {
  if (product === undefined || from.product === product) return [isAfter(walk, from)];
  if (order.columns !== DEVICE_ORDERS[""]) return [isAfter(walk, from)];
  // A cursor of another product: this one is still to come whole, or past.
  return (from.product! < product) !== order.isDescending ? [] : [NOTHING];
}

/** The last row of a full slice; undefined if the slice is the last one. */
async function sliceEnd(
  store: RegistryStore,
  scan: Scan,
  from: Position | undefined,
): Promise<Position | undefined> {
  const { rows } = await sql<Position>`
    select ${columnsOf(scan.order)} from ${sql.table(scan.table)} ${where(range(scan, from))}
    order by ${ordering(scan.walk)} limit 1 offset ${LIMITS.searchSliceRows - 1}`
    .execute(store.db);
  return rows[0];
}

async function readSlice(
  store: RegistryStore,
  scan: Scan,
  from: Position | undefined,
  end: Position | undefined,
  limit: number,
): Promise<DevicesTable[]> {
  // Keys first: an index has them, and what is filtered by, without the rows themselves. A cross join
  // is one that SQLite does not turn round.
  const { rows } = await sql<DevicesTable>`
    select devices.* from (
      select product, device from ${sql.table(scan.table)}
      ${where([...range(scan, from, end), ...scan.filters])}
      order by ${ordering(scan.walk)} limit ${limit}
    ) as page
    cross join devices on devices.product = page.product and devices.device = page.device
    order by ${ordering(scan.order, "devices")}`.execute(store.db);
  return rows;
}

async function countSlice(
  store: RegistryStore,
  scan: Scan,
  from?: Position,
  end?: Position,
): Promise<number> {
  const { rows } = await sql<{ readonly count: number }>`
    select count(*) as count from ${sql.table(scan.table)}
    ${where([...range(scan, from, end), ...scan.filters])}`.execute(store.db);
  return Number(rows[0]!.count);
}

async function isOnlyProject(store: RegistryStore): Promise<boolean> {
  const rows = await store.db.selectFrom("projects").select("id").limit(2).execute();
  return rows.length === 1;
}

async function countAll(store: RegistryStore): Promise<number> {
  const { count } = await store.db.selectFrom("devices")
    .select((select) => select.fn.countAll<number>().as("count")).executeTakeFirstOrThrow();
  return Number(count);
}

function where(conditions: readonly RawBuilder<boolean>[]): RawBuilder<unknown> {
  return conditions.length === 0 ? sql`` : sql`where ${sql.join(conditions, sql` and `)}`;
}

function letOthersRun(clock: Clock): Promise<void> {
  return new Promise((resolve) => clock.soon(resolve));
}
