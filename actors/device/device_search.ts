/**
 * Lists of devices, by key. A search for a part of a name has no index: it scans in slices, lets
 * other work run in between, and ends a page early rather than late.
 */
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { sql } from "../../runtime/store/relational_store.ts";
import { contains } from "../registry/conditions.ts";
import { encodeCursor } from "../registry/cursor.ts";
import type { RegistryStore } from "../registry/registry_store.ts";
import type { DevicesTable } from "../registry/tables.ts";
import type { DeviceQuery } from "./registry.ts";

type Key = readonly [product: string, device: string];

export interface DeviceRows {
  readonly rows: readonly DevicesTable[];
  readonly nextCursor: string | null;
}

export async function searchDevices(
  store: RegistryStore,
  clock: Clock,
  query: DeviceQuery,
  after: Key,
): Promise<DeviceRows> {
  const deadlineMs = clock.monotonicMs() + LIMITS.searchMsMax;
  const rows: DevicesTable[] = [];
  const isSearch = query.q !== undefined && query.q !== "";
  for (let from = after;;) {
    const wanted = query.limit - rows.length + 1;
    const slice = await readSlice(store, query, from, wanted);
    rows.push(...slice);
    if (rows.length > query.limit) {
      const items = rows.slice(0, query.limit);
      const last = items.at(-1)!;
      return { rows: items, nextCursor: encodeCursor([last.product, last.device]) };
    }
    const end = isSearch ? await sliceEnd(store, query, from) : undefined;
    if (end === undefined) return { rows, nextCursor: null };
    if (clock.monotonicMs() >= deadlineMs) return { rows, nextCursor: encodeCursor(end) };
    from = end;
    await new Promise<void>((resolve) => clock.soon(resolve));
  }
}

async function readSlice(
  store: RegistryStore,
  query: DeviceQuery,
  after: Key,
  limit: number,
): Promise<DevicesTable[]> {
  const { q } = query;
  const keyed = filtered(store, query, after).selectAll("devices")
    .orderBy("devices.product").orderBy("devices.device");
  if (q === undefined || q === "") return await keyed.limit(limit).execute();
  return await store.db.selectFrom(keyed.limit(LIMITS.searchSliceRows).as("slice")).selectAll()
    .where((where) => where.or([contains("device", q), contains("name", q)]))
    .orderBy("product").orderBy("device").limit(limit).execute();
}

/** Key of the last row of a full slice; undefined if the slice was the last one. */
async function sliceEnd(
  store: RegistryStore,
  query: DeviceQuery,
  after: Key,
): Promise<Key | undefined> {
  const row = await filtered(store, query, after).select(["devices.product", "devices.device"])
    .orderBy("devices.product").orderBy("devices.device")
    .limit(1).offset(LIMITS.searchSliceRows - 1).executeTakeFirst();
  return row === undefined ? undefined : [row.product, row.device];
}

function filtered(store: RegistryStore, query: DeviceQuery, [product, device]: Key) {
  let select = store.db.selectFrom("devices");
  if (query.product === undefined) {
    select = select.where(
      sql<boolean>`(devices.product, devices.device) > (${product}, ${device})`,
    );
  } else {
    // A cursor of another product starts this one anew, or is past its end.
    const from = product < query.product ? "" : product > query.product ? undefined : device;
    select = from === undefined
      ? select.where(sql<boolean>`1 = 0`)
      : select.where("devices.product", "=", query.product).where("devices.device", ">", from);
  }
  if (query.tag === undefined) return select;
  const { tag } = query;
  return select.where(({ exists, selectFrom }) =>
    exists(
      selectFrom("device_tags").select("device_tags.tag").where("device_tags.tag", "=", tag)
        .whereRef("device_tags.product", "=", "devices.product")
        .whereRef("device_tags.device", "=", "devices.device"),
    )
  );
}
