/**
 * Devices by when they were last heard of. The times stand in the views, the devices in the registry:
 * first come those with a time, in its order, then those that were never heard of, by product and name.
 */
import { BAD_CURSOR } from "../registry/conditions.ts";
import { decodeCursor, encodeCursor } from "../registry/cursor.ts";
import { cursorAfter, type Sort } from "../registry/list_order.ts";
import { accepted, invalid, type Outcome, type Page } from "../registry/outcome.ts";
import type { Products } from "../product/products.ts";
import { DEFAULT_PROJECT } from "../registry/registry_store.ts";
import { DEFAULT_ORDER, type DeviceFilter } from "./device_search.ts";
import type { Device, DeviceRegistry } from "./registry.ts";
import type { Views } from "./views.ts";

export interface SeenSources {
  readonly devices: Pick<DeviceRegistry, "find" | "list">;
  readonly products: Pick<Products, "keysOf">;
  readonly views: Pick<Views, "bySeen" | "presence">;
}

export interface SeenListQuery extends DeviceFilter {
  readonly sort: Sort<"lastSeenAt">;
  /** 1 to 500. */
  readonly limit: number;
  readonly cursor?: string;
}

/** After which device a page goes on. `never` has a cursor of the registry's own list. */
type Place =
  | { readonly type: "seen"; readonly after?: { readonly atMs: number; readonly key: string } }
  | { readonly type: "never"; readonly cursor: string | undefined };

interface Round {
  readonly found: readonly { readonly device: Device; readonly place: Place }[];
  /** Where the next round goes on; undefined: this was the last one. */
  readonly next: Place | undefined;
}

/** Devices looked at in one round, and rounds of one page: it ends early rather than late. */
const ROUND_DEVICES = 500;
const ROUNDS_MAX = 10;

/** A page may be short, even empty, while `nextCursor` is not null. Refuses a foreign cursor. */
export async function listBySeen(
  sources: SeenSources,
  query: SeenListQuery,
): Promise<Outcome<Page<Device>>> {
  const start = placeOf(query);
  if (start === undefined) return invalid([BAD_CURSOR]);
  const { product, project = DEFAULT_PROJECT } = query;
  // A cursor holds the last key that was looked at: it must not be another project's.
  const own = await sources.products.keysOf(project);
  if (product !== undefined && own?.includes(product) === false) {
    return accepted({ items: [], nextCursor: null });
  }
  const items: Device[] = [];
  let last = start;
  let place = start;
  for (let rounds = 0; rounds < ROUNDS_MAX; rounds++) {
    const round = place.type === "seen"
      ? await seenRound(sources, query, product === undefined ? own : undefined, place.after)
      : await neverRound(sources, query, place.cursor);
    if (round === undefined) return invalid([BAD_CURSOR]);
    for (const { device, place: own } of round.found) {
      if (items.length === query.limit) {
        return accepted({ items, nextCursor: cursorOf(query, last) });
      }
      items.push(device);
      last = own;
    }
    if (round.next === undefined) return accepted({ items, nextCursor: null });
    place = round.next;
  }
  return accepted({ items, nextCursor: cursorOf(query, place) });
}

async function seenRound(
  { devices, views }: SeenSources,
  query: SeenListQuery,
  own: readonly string[] | undefined,
  after: { readonly atMs: number; readonly key: string } | undefined,
): Promise<Round> {
  const { product, q, tag, groups, limit } = query;
  const isFiltered = (q ?? "") !== "" || tag !== undefined || groups !== undefined;
  const looked = isFiltered ? ROUND_DEVICES : Math.min(ROUND_DEVICES, limit + 1);
  const seen = await views.bySeen({
    isDescending: query.sort === "-lastSeenAt",
    limit: looked,
    ...(product === undefined ? undefined : { product }),
    ...(own === undefined ? undefined : { products: own }),
    ...(after === undefined ? undefined : { after }),
  });
  const passing = await devices.find(seen.map(({ key }) => key), query);
  const byKey = new Map(passing.map((device) => [keyOf(device), device]));
  const places = seen.map(({ key, row: { atMs } }): Place => ({
    type: "seen",
    after: { atMs, key },
  }));
  const found = seen.flatMap(({ key }, index) => {
    const device = byKey.get(key); // The row of a deleted device leaves a moment later.
    return device === undefined ? [] : [{ device, place: places[index]! }];
  });
  const isLast = seen.length < looked;
  return { found, next: isLast ? { type: "never", cursor: undefined } : places.at(-1)! };
}

/** Undefined: the cursor is none of the registry's. */
async function neverRound(
  { devices, views }: SeenSources,
  { sort: _, ...filter }: SeenListQuery,
  cursor: string | undefined,
): Promise<Round | undefined> {
  const { cursor: _other, ...asked } = { ...filter, limit: ROUND_DEVICES };
  const page = await devices.list(cursor === undefined ? asked : { ...asked, cursor });
  if (!page.ok) return undefined;
  const { items, nextCursor } = page.value;
  const rows = await views.presence(items.map(keyOf));
  const found = items.filter((device) => !rows.has(keyOf(device))).map((device) => {
    return {
      device,
      place: { type: "never", cursor: cursorAfter(DEFAULT_ORDER, device) } as const,
    };
  });
  return { found, next: nextCursor === null ? undefined : { type: "never", cursor: nextCursor } };
}

function keyOf({ product, device }: Device): string {
  return `${product}/${device}`;
}

function cursorOf({ sort }: SeenListQuery, place: Place): string {
  if (place.type === "never") return encodeCursor([sort, "never", place.cursor ?? "", ""]);
  return encodeCursor([sort, "seen", String(place.after?.atMs ?? ""), place.after?.key ?? ""]);
}

/** Undefined: the cursor is none of this list. */
function placeOf({ sort, cursor }: SeenListQuery): Place | undefined {
  if (cursor === undefined) return { type: "seen" };
  const [ownSort, type, first, second] = decodeCursor(cursor, 4) ?? [];
  if (ownSort !== sort || first === undefined || second === undefined) return undefined;
  if (type === "never") return { type, cursor: first === "" ? undefined : first };
  const atMs = first === "" ? NaN : Number(first);
  return type === "seen" && Number.isFinite(atMs)
    ? { type, after: { atMs, key: second } }
    : undefined;
}
