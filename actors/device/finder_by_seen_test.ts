import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import { seededRandom } from "../../runtime/random.ts";
import { openTestRegistry, type TestRegistry } from "../../test/support/test_registry.ts";
import { FinderPlace } from "../../test/support/finder_place.ts";
import { codeOf, valueOf } from "../../test/support/outcomes.ts";
import type { FinderQuery } from "./device_finder.ts";
import { FINDER_BOUNDS } from "./finder_walk.ts";
import { importDevices } from "./device_import.ts";

async function list({ finder }: FinderPlace, query: FinderQuery) {
  return valueOf(await finder.list(query));
}

/** Devices of all pages together, and how many pages there were. */
async function pagesOf(fixture: FinderPlace, query: FinderQuery) {
  const names: string[] = [];
  let cursor: string | null | undefined;
  let pages = 0;
  do {
    const page = await list(fixture, cursor ? { ...query, cursor } : query);
    assert.ok(page.items.length <= query.limit && ++pages < 1_000);
    names.push(...page.items.map(({ product, device }) => `${product}/${device}`));
    cursor = page.nextCursor;
  } while (cursor !== null);
  return { names, pages };
}

/** Another project, with a product. */
async function createForeign({ store, products }: TestRegistry): Promise<void> {
  await store.db.insertInto("projects").values({
    id: "other",
    name: "Other",
    version: 1,
    created_at: 0,
    updated_at: 0,
    deleted_at: null,
  }).execute();
  valueOf(await products.create({ key: "foreign", project: "other" }));
}

Deno.test("devices come by when they were last heard of, those that never were last", async () => {
  await using registry = await openTestRegistry();
  await using fixture = new FinderPlace(registry.folder, registry.clock);
  const { devices, products } = registry;
  for (const key of ["lamp", "pump"]) await products.create({ key });
  for (const device of ["1", "2", "3", "4", "5", "6"]) {
    await devices.create({ product: "pump", device, tags: Number(device) % 2 ? ["odd"] : [] });
  }
  await devices.create({ product: "lamp", device: "1", name: "Hall 3" });
  await fixture.see({ "pump/3": 30, "pump/1": 10, "lamp/1": 20, "pump/6": 20, "pump/gone": 25 });
  const never = ["pump/2", "pump/4", "pump/5"];
  for (const limit of [1, 2, 3, 50]) {
    const oldest = await pagesOf(fixture, { sort: "lastSeenAt", limit });
    assert.deepEqual(oldest.names, ["pump/1", "lamp/1", "pump/6", "pump/3", ...never]);
    const latest = await pagesOf(fixture, { sort: "-lastSeenAt", limit });
    assert.deepEqual(latest.names, ["pump/3", "pump/6", "lamp/1", "pump/1", ...never]);
  }
  const filtered = async (filter: object) =>
    (await pagesOf(fixture, { sort: "-lastSeenAt", limit: 2, ...filter })).names.join();
  assert.equal(await filtered({ product: "lamp" }), "lamp/1");
  assert.equal(await filtered({ tag: "odd" }), "pump/3,pump/1,pump/5");
  assert.equal(await filtered({ q: "3" }), "pump/3,lamp/1");
  assert.equal(await filtered({ product: "pump", tag: "odd", q: "5" }), "pump/5");
  assert.equal(await filtered({ product: "none" }), "");
});

Deno.test("a cursor by last seen stays valid while devices are heard of", async () => {
  await using registry = await openTestRegistry();
  await using fixture = new FinderPlace(registry.folder, registry.clock);
  await registry.products.create({ key: "pump" });
  for (const device of ["1", "2", "3", "4"]) {
    await registry.devices.create({ product: "pump", device });
  }
  await fixture.see({ "pump/1": 10, "pump/2": 20, "pump/3": 30 });
  const sort = "-lastSeenAt";
  const { items, nextCursor } = await list(fixture, { sort, limit: 1 });
  assert.deepEqual(items.map(({ device }) => device), ["3"]);
  await fixture.see({ "pump/3": 40, "pump/1": 50 });
  const rest = await list(fixture, { sort, limit: 9, cursor: nextCursor! });
  assert.deepEqual(rest.items.map(({ device }) => device), ["2", "4"], "1 moved to the front");
  const foreign = [await list(fixture, { sort: "lastSeenAt", limit: 1 })].map((page) =>
    page.nextCursor!
  );
  const unsorted = await list(fixture, { limit: 1 });
  for (const cursor of [...foreign, unsorted.nextCursor!, "", "x", "9".repeat(900)]) {
    assert.equal(codeOf(await fixture.finder.list({ sort, limit: 9, cursor })), "invalid", cursor);
  }
});

Deno.test("a page that would take too long ends early, and none is lost or comes twice", async () => {
  await using registry = await openTestRegistry();
  const { store, clock } = registry;
  let nowMs = 0;
  const hasty = { ...clock, monotonicMs: () => nowMs += LIMITS.searchMsMax };
  await using fixture = new FinderPlace(registry.folder, hasty);
  await registry.products.create({ key: "pump" });
  const count = 2 * LIMITS.searchSliceRows + 1_000;
  const names = Array.from({ length: count }, (_, i) => String(i).padStart(5, "0"));
  const random = seededRandom(3);
  const input = names.map((device) => {
    return { product: "pump", device, name: /[05]777$/.test(device) ? "rare" : "" };
  });
  await importDevices({ store, clock, random }, input);
  const expected = ["pump/00777", "pump/05777", "pump/10777"];
  const seen = names.slice(0, count - 300);
  await fixture.see(Object.fromEntries(seen.map((name, i) => [`pump/${name}`, i + 1])));
  for (const sort of ["lastSeenAt", "-lastSeenAt", "name", "-device"] as const) {
    const rare = await pagesOf(fixture, { sort, limit: 3, q: "rare" });
    assert.deepEqual([...rare.names].sort(), expected, sort);
    assert.ok(rare.pages > 2, `${sort}: ${rare.pages} pages`);
  }
  const all = await pagesOf(fixture, { sort: "-lastSeenAt", limit: 500 });
  const never = names.slice(count - 300);
  assert.deepEqual(all.names, [...seen.reverse(), ...never].map((name) => `pump/${name}`));
});

Deno.test("devices of other projects are neither listed by last seen nor named in cursors", async () => {
  await using registry = await openTestRegistry();
  await using fixture = new FinderPlace(registry.folder, registry.clock);
  const { devices, products } = registry;
  await createForeign(registry);
  await products.create({ key: "pump" });
  for (const device of ["f0", "f1", "f2", "f3", "f4"]) {
    await devices.create({ product: "foreign", device });
  }
  for (const device of ["1", "2"]) await devices.create({ product: "pump", device });
  await fixture.see({ "foreign/f0": 1, "foreign/f1": 25, "pump/1": 20, "pump/2": 30 });
  await fixture.see({ "foreign/f2": 26, "foreign/f3": 99 });
  for (const sort of ["lastSeenAt", "-lastSeenAt"] as const) {
    const seen: string[] = [];
    let cursor: string | null | undefined;
    do {
      const page = await list(fixture, { sort, limit: 1, ...(cursor && { cursor }) });
      seen.push(...page.items.map(({ product, device }) => `${product}/${device}`));
      cursor = page.nextCursor;
      if (cursor !== null) assert.doesNotMatch(atob(cursor), /foreign/);
    } while (cursor !== null);
    assert.deepEqual(seen.sort(), ["pump/1", "pump/2"]);
  }
  for (const after of [undefined, { sort: "lastSeenAt" as const }]) {
    const asked = { sort: "-lastSeenAt", limit: 1, product: "foreign", ...after } as const;
    assert.deepEqual(await list(fixture, asked), { items: [], nextCursor: null });
  }
  const query = { sort: "lastSeenAt", limit: 9, project: "other" } as const;
  const own = await pagesOf(fixture, query);
  assert.equal(own.names.join(), "foreign/f0,foreign/f1,foreign/f2,foreign/f3,foreign/f4");
});

Deno.test("a project of few devices is listed by last seen without a walk past those of others", async () => {
  let slices = 0;
  const bounds = { ...FINDER_BOUNDS, sliceRows: 5, chunkKeys: 5, walkRows: 10, turnMs: 0 };
  // Few enough to be looked at first, or after a walk.
  for (const narrowKeys of [2_000, 0]) {
    await using registry = await openTestRegistry();
    const { clock, devices, products } = registry;
    const soon = (callback: () => void) => {
      slices++;
      clock.soon(callback);
    };
    const counting = { ...clock, soon };
    await using fixture = new FinderPlace(registry.folder, counting, { ...bounds, narrowKeys });
    await createForeign(registry);
    await products.create({ key: "pump" });
    for (const device of ["1", "2", "3"]) await devices.create({ product: "pump", device });
    const foreign = Array.from({ length: 300 }, (_, at) => [`foreign/${at}`, at] as const);
    await fixture.see({ ...Object.fromEntries(foreign), "pump/1": -1, "pump/2": 400 });
    slices = 0;
    const page = await list(fixture, { sort: "lastSeenAt", limit: 9 });
    assert.deepEqual(page.items.map(({ device }) => device), ["1", "2", "3"]);
    assert.ok(slices < 10, `${slices} slices`);
  }
});

Deno.test("a device that is heard of while a page is found comes once in it", async () => {
  await using registry = await openTestRegistry();
  const { clock, devices, products } = registry;
  let onSlice: (() => Promise<void>) | undefined;
  const soon = (callback: () => void) => {
    const act = onSlice;
    onSlice = undefined;
    if (act === undefined) clock.soon(callback);
    else void act().then(callback);
  };
  const bounds = { ...FINDER_BOUNDS, chunkKeys: 2, turnMs: 0 };
  await using fixture = new FinderPlace(registry.folder, { ...clock, soon }, bounds);
  await products.create({ key: "pump" });
  for (const device of ["1", "2", "3", "4"]) await devices.create({ product: "pump", device });
  await fixture.see({ "pump/1": 10, "pump/2": 20, "pump/3": 30, "pump/4": 40 });
  onSlice = () => fixture.see({ "pump/1": 50 });
  const { names } = await pagesOf(fixture, { sort: "lastSeenAt", limit: 9 });
  assert.deepEqual(names, ["pump/1", "pump/2", "pump/3", "pump/4"]);
});

Deno.test("searches at the same time take turns, one slice in one go", async () => {
  await using registry = await openTestRegistry();
  const { clock, devices, products } = registry;
  let [waiting, most, turns] = [0, 0, 0];
  const soon = (callback: () => void) => {
    most = Math.max(most, ++waiting);
    turns++;
    clock.soon(() => {
      waiting--;
      callback();
    });
  };
  const bounds = { ...FINDER_BOUNDS, sliceRows: 2, chunkKeys: 2, turnMs: 0 };
  await using fixture = new FinderPlace(registry.folder, { ...clock, soon }, bounds);
  await products.create({ key: "pump" });
  for (let at = 0; at < 9; at++) await devices.create({ product: "pump", device: `d${at}` });
  const searches = Array.from({ length: 20 }, async (_, at) => {
    const { items } = await list(fixture, { q: `d${at % 9}`, limit: 9 });
    const count = await fixture.finder.count({ q: "d" });
    return `${items.map(({ device }) => device).join()} ${count}`;
  });
  assert.deepEqual(
    await Promise.all(searches),
    Array.from({ length: 20 }, (_, at) => `d${at % 9} 9`),
  );
  assert.equal(most, 1);
  assert.ok(turns > 100, `${turns} turns`);
});
