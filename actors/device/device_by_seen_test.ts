import assert from "node:assert/strict";
import { seededRandom } from "../../runtime/random.ts";
import { openTestRegistry, type TestRegistry } from "../../test/support/test_registry.ts";
import { listBySeen, type SeenListQuery } from "./device_by_seen.ts";
import { importDevices } from "./device_import.ts";
import { createMemoryViews, type ViewsStore } from "./views.ts";

interface Fixture {
  readonly registry: TestRegistry;
  readonly views: ViewsStore;
}

async function see(views: ViewsStore, seen: Readonly<Record<string, number>>): Promise<void> {
  const writes = Object.entries(seen).map(([key, atMs]) => {
    const row = { online: false, session: null, atMs };
    return { view: "presence", key, row, version: atMs, at: atMs };
  });
  await views.write({ writes, cursor: views.cursor + 1 });
}

async function list({ registry, views }: Fixture, query: SeenListQuery) {
  const outcome = await listBySeen({ ...registry, views }, query);
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.value;
}

/** Devices of all pages together, and how many pages there were. */
async function pagesOf(fixture: Fixture, query: SeenListQuery) {
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

Deno.test("devices come by when they were last heard of, those that never were last", async () => {
  await using registry = await openTestRegistry();
  await using views = createMemoryViews();
  const fixture = { registry, views };
  const { devices, products } = registry;
  for (const key of ["lamp", "pump"]) await products.create({ key });
  for (const device of ["1", "2", "3", "4", "5", "6"]) {
    await devices.create({ product: "pump", device, tags: Number(device) % 2 ? ["odd"] : [] });
  }
  await devices.create({ product: "lamp", device: "1", name: "Hall 3" });
  await see(views, { "pump/3": 30, "pump/1": 10, "lamp/1": 20, "pump/6": 20, "pump/gone": 25 });
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
  await using views = createMemoryViews();
  const fixture = { registry, views };
  await registry.products.create({ key: "pump" });
  for (const device of ["1", "2", "3", "4"]) {
    await registry.devices.create({ product: "pump", device });
  }
  await see(views, { "pump/1": 10, "pump/2": 20, "pump/3": 30 });
  const sort = "-lastSeenAt";
  const { items, nextCursor } = await list(fixture, { sort, limit: 1 });
  assert.deepEqual(items.map(({ device }) => device), ["3"]);
  await see(views, { "pump/3": 40, "pump/1": 50 });
  const rest = await list(fixture, { sort, limit: 9, cursor: nextCursor! });
  assert.deepEqual(rest.items.map(({ device }) => device), ["2", "4"], "1 moved to the front");
  const sources = { ...registry, views };
  const foreign = [await list(fixture, { sort: "lastSeenAt", limit: 1 })].map((page) =>
    page.nextCursor!
  );
  const { value } = await registry.devices.list({ limit: 1 }) as { value: { nextCursor: string } };
  for (const cursor of [...foreign, value.nextCursor, "", "x", "9".repeat(900)]) {
    const refused = await listBySeen(sources, { sort, limit: 9, cursor });
    assert.ok(!refused.ok && refused.code === "invalid", cursor);
  }
});

Deno.test("a page that would look at too many devices ends early, and none is lost", async () => {
  await using registry = await openTestRegistry();
  await using views = createMemoryViews();
  const { store, clock } = registry;
  await registry.products.create({ key: "pump" });
  const names = Array.from({ length: 6_000 }, (_, i) => String(i).padStart(4, "0"));
  const random = seededRandom(3);
  const input = names.map((device) => ({ product: "pump", device, secret: "the same for all" }));
  await importDevices({ store, clock, random }, input);
  const expected = ["pump/0777", "pump/5777", "pump/5999"];
  const isRare = (name: string) => expected.includes(`pump/${name}`);
  for (const device of names.filter(isRare)) {
    await registry.devices.update("pump", device, { tags: ["rare"] });
  }
  await see(views, Object.fromEntries(names.map((name, i) => [`pump/${name}`, i + 1])));
  const rare = await pagesOf({ registry, views }, { sort: "lastSeenAt", limit: 3, tag: "rare" });
  assert.deepEqual(rare.names, expected);
  assert.ok(rare.pages > 1, `${rare.pages} pages`);
  // After all that were seen, all are looked at once more for some that never were.
  const all = await pagesOf({ registry, views }, { sort: "-lastSeenAt", limit: 500 });
  assert.deepEqual(all.names, names.map((name) => `pump/${name}`).reverse());
  assert.ok(all.pages > names.length / 500, `${all.pages} pages`);
});

Deno.test("devices of other projects are neither listed by last seen nor named in cursors", async () => {
  await using registry = await openTestRegistry();
  await using views = createMemoryViews();
  const { devices, products } = registry;
  await registry.store.db.insertInto("projects").values({
    id: "other",
    name: "Other",
    version: 1,
    created_at: 0,
    updated_at: 0,
    deleted_at: null,
  }).execute();
  await products.create({ key: "foreign", project: "other" });
  await products.create({ key: "pump" });
  for (const device of ["f0", "f1", "f2", "f3", "f4"]) {
    await devices.create({ product: "foreign", device });
  }
  for (const device of ["1", "2"]) await devices.create({ product: "pump", device });
  await see(views, { "foreign/f0": 1, "foreign/f1": 25, "pump/1": 20, "pump/2": 30 });
  await see(views, { "foreign/f2": 26, "foreign/f3": 99 });
  for (const sort of ["lastSeenAt", "-lastSeenAt"] as const) {
    const seen: string[] = [];
    let cursor: string | null | undefined;
    do {
      const page = await list({ registry, views }, { sort, limit: 1, ...(cursor && { cursor }) });
      seen.push(...page.items.map(({ product, device }) => `${product}/${device}`));
      cursor = page.nextCursor;
      if (cursor !== null) assert.doesNotMatch(atob(cursor), /foreign/);
    } while (cursor !== null);
    assert.deepEqual(seen.sort(), ["pump/1", "pump/2"]);
  }
  for (const after of [undefined, { sort: "lastSeenAt" as const }]) {
    const asked = { sort: "-lastSeenAt", limit: 1, product: "foreign", ...after } as const;
    assert.deepEqual(await list({ registry, views }, asked), { items: [], nextCursor: null });
  }
  const query = { sort: "lastSeenAt", limit: 9, project: "other" } as const;
  const own = await pagesOf({ registry, views }, query);
  assert.equal(own.names.join(), "foreign/f0,foreign/f1,foreign/f2,foreign/f3,foreign/f4");
});
