import assert from "node:assert/strict";
import type { Page } from "../registry/outcome.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { seededRandom } from "../../runtime/random.ts";
import { FinderPlace } from "../../test/support/finder_place.ts";
import { codeOf, valueOf } from "../../test/support/outcomes.ts";
import { readSeed } from "../../test/support/seed.ts";
import { openTestRegistry } from "../../test/support/test_registry.ts";
import type { DeviceFilter, DeviceFinder, FinderQuery } from "./device_finder.ts";
import { importDevices } from "./device_import.ts";
import type { Device } from "./registry.ts";

function keysOf(page: Page<Device>): string[] {
  return page.items.map(({ product, device }) => `${product}/${device}`);
}

Deno.test("lists page by key, filter, and stay stable while rows change", async () => {
  await using registry = await openTestRegistry();
  await using place = new FinderPlace(registry.folder, registry.clock);
  const { finder } = place;
  const { devices, products } = registry;
  for (const key of ["lamp", "pump", "valve"]) valueOf(await products.create({ key }));
  for (const product of ["lamp", "pump"]) {
    for (const device of ["1", "2", "3"]) {
      const tags = device === "2" ? ["two", product] : [product];
      valueOf(await devices.create({ product, device, tags, name: `${product} No_${device}%` }));
    }
  }
  const list = async (query: object) => valueOf(await finder.list({ limit: 50, ...query }));
  const first = await list({ limit: 2 });
  assert.deepEqual(keysOf(first), ["lamp/1", "lamp/2"]);
  valueOf(await devices.delete("lamp", "2"));
  valueOf(await devices.create({ product: "lamp", device: "11" }));
  const second = await list({ limit: 2, cursor: first.nextCursor });
  assert.deepEqual(keysOf(second), ["lamp/3", "pump/1"]);
  const third = await list({ limit: 2, cursor: second.nextCursor });
  assert.deepEqual(keysOf(third), ["pump/2", "pump/3"]);
  assert.equal(third.nextCursor, null);
  assert.deepEqual(keysOf(await list({ product: "pump", limit: 2 })), ["pump/1", "pump/2"]);
  assert.deepEqual(keysOf(await list({ tag: "two" })), ["pump/2"]);
  assert.deepEqual(keysOf(await list({ tag: "lamp", product: "pump" })), []);
  assert.deepEqual(keysOf(await list({ q: "NO_3%" })), ["lamp/3", "pump/3"]);
  assert.deepEqual(keysOf(await list({ q: "%", tag: "two" })), ["pump/2"]);
  assert.deepEqual(keysOf(await list({ q: "' or ''='" })), []);
  assert.deepEqual(keysOf(await list({ product: "valve" })), []);
  // A cursor of one filter under another one: never rows before it, never a fault.
  const cursor = second.nextCursor!;
  assert.deepEqual(keysOf(await list({ product: "lamp", cursor })), []);
  assert.deepEqual(keysOf(await list({ product: "pump", cursor })), ["pump/2", "pump/3"]);
  assert.equal(codeOf(await finder.list({ limit: 5, cursor: "nonsense" })), "invalid");
});

Deno.test("a cursor holds the longest name in any letters", async () => {
  await using registry = await openTestRegistry();
  await using place = new FinderPlace(registry.folder, registry.clock);
  const product = "p".repeat(LIMITS.nameCharactersMax);
  valueOf(await registry.products.create({ key: product }));
  for (const last of ["a", "b"]) {
    const device = last.padStart(LIMITS.nameCharactersMax, "d");
    const name = "泵".repeat(LIMITS.titleCharactersMax);
    valueOf(await registry.devices.create({ product, device, name }));
  }
  const query = { sort: "-name", limit: 1 } as const;
  const { nextCursor } = valueOf(await place.finder.list(query));
  const { items } = valueOf(await place.finder.list({ ...query, cursor: nextCursor! }));
  assert.deepEqual(items.map(({ device }) => device.at(-1)), ["a"]);
});

Deno.test("every order and filter is what a plain sort and filter of all devices is", async () => {
  await using registry = await openTestRegistry();
  await using place = new FinderPlace(registry.folder, registry.clock);
  const { finder } = place;
  const { devices, products, clock } = registry;
  const seed = readSeed();
  const random = seededRandom(seed);
  const any = <T>(list: readonly T[]) => list[Math.floor(random.fraction() * list.length)]!;
  const all: Device[] = [];
  for (const key of ["a", "a-b", "b"]) valueOf(await products.create({ key }));
  for (let i = 0; i < 90; i++) {
    if (random.fraction() < 0.5) await clock.advance(1);
    const input = {
      product: any(["a", "a-b", "b"]),
      device: `${any(["x", "Y", "z-1"])}${Math.floor(random.fraction() * 60)}`,
      name: any(["", "Pump", "pump", "Ünder", "%_!", "~"]),
      tags: any([[], ["t"], ["t", "u"]]),
    };
    const made = await devices.create(input);
    if (made.ok) all.push(made.value.device);
  }
  const keys = {
    device: ({ device, product }: Device) => [device, product],
    name: ({ name, product, device }: Device) => [name, product, device],
    createdAt: ({ createdAt, product, device }: Device) => [createdAt, product, device],
    "": ({ product, device }: Device) => [product, device],
  };
  const queries: readonly DeviceFilter[] = [
    {},
    { product: "a" },
    { product: "none" },
    { tag: "t" },
    { q: "1" },
    { q: "_" },
    { product: "a-b", tag: "u" },
    { product: "a", q: "UMP" },
    { tag: "t", q: "y" },
  ];
  for (const [field, keyOf] of Object.entries(keys)) {
    for (const sort of field === "" ? [undefined] : [field, `-${field}`]) {
      for (const query of queries) {
        const expected = all.filter((device) => passes(device, query))
          .sort((one, other) => compareKeys(keyOf(one), keyOf(other)))
          .map(({ product, device }) => `${product}/${device}`);
        if (sort?.startsWith("-")) expected.reverse();
        const asked = { ...query, limit: 7, ...(sort && { sort }) } as FinderQuery;
        const what = `seed ${seed}: ${JSON.stringify(asked)}`;
        assert.deepEqual(await pagesOf(finder, asked), expected, what);
        assert.equal(await finder.count(query), expected.length, what);
      }
    }
  }
});

Deno.test("a cursor stays valid while rows come, go and change, in its own order only", async () => {
  await using registry = await openTestRegistry();
  await using place = new FinderPlace(registry.folder, registry.clock);
  const { finder } = place;
  const { devices, products, clock } = registry;
  valueOf(await products.create({ key: "pump" }));
  for (let i = 0; i < 9; i++) {
    await clock.advance(1);
    valueOf(await devices.create({ product: "pump", device: `p-${i}`, name: `n-${8 - i}` }));
  }
  for (const sort of ["device", "-device", "name", "-name", "createdAt", "-createdAt"] as const) {
    const first = valueOf(await finder.list({ sort, limit: 3 }));
    const [gone, , last] = first.items;
    // What the cursor stands on goes, and what was on the page; something new comes before it.
    valueOf(await devices.delete("pump", gone!.device));
    valueOf(await devices.delete("pump", last!.device));
    const cursor = first.nextCursor!;
    const rest = await pagesOf(finder, { sort, limit: 2, cursor });
    assert.equal(rest.length, 6, sort);
    const page = new Set(keysOf(first));
    assert.ok(rest.every((key) => !page.has(key)), sort);
    for (const { device, name } of [gone!, last!]) {
      valueOf(await devices.create({ product: "pump", device, name }));
    }
    for (const other of [undefined, "device", "-device", "name", "createdAt"] as const) {
      if (other === sort) continue;
      const asked = { limit: 3, cursor, ...(other && { sort: other }) };
      assert.equal(codeOf(await finder.list(asked)), "invalid", `${sort} as ${other}`);
    }
  }
});

function passes(device: Device, { product = device.product, tag, q = "" }: DeviceFilter): boolean {
  const texts = [device.device, device.name].map((text) => text.toLowerCase());
  return device.product === product && (tag === undefined || device.tags.includes(tag)) &&
    texts.some((text) => text.includes(q.toLowerCase()));
}

function compareKeys(one: (string | number)[], other: (string | number)[]): number {
  const at = one.findIndex((part, index) => part !== other[index]);
  return at === -1 ? 0 : one[at]! < other[at]! ? -1 : 1;
}

/** Keys of all pages together. */
async function pagesOf(finder: DeviceFinder, query: FinderQuery): Promise<string[]> {
  const keys: string[] = [];
  let { cursor } = query;
  for (let pages = 0; pages < 1_000; pages++) {
    const { cursor: _, ...rest } = query;
    const page = valueOf(await finder.list(cursor === undefined ? rest : { ...rest, cursor }));
    assert.ok(page.items.length <= query.limit);
    keys.push(...keysOf(page));
    if (page.nextCursor === null) return keys;
    cursor = page.nextCursor;
  }
  assert.fail("a list without end");
}

Deno.test("a search over more devices than one slice finds each exactly once", async () => {
  await using registry = await openTestRegistry();
  await using place = new FinderPlace(registry.folder, registry.clock);
  const { finder } = place;
  const { store, clock } = registry;
  valueOf(await registry.products.create({ key: "pump" }));
  const names = Array.from({ length: 25_000 }, (_, i) => `d-${String(i).padStart(5, "0")}`);
  const random = seededRandom(2);
  const secret = "the same for all";
  const input = names.map((device) => ({ product: "pump", device, secret }));
  assert.equal(await importDevices({ store, clock, random }, input), 25_000);
  const again = [...input.slice(0, 10), {
    product: "pump",
    device: "new",
    tags: ["fresh"],
    secret,
  }];
  assert.equal(await importDevices({ store, clock, random }, again), 1);
  const found: string[] = [];
  let cursor: string | undefined;
  for (let pages = 0; pages < 100; pages++) {
    const page = valueOf(
      await finder.list({ limit: 7, q: "99", ...(cursor === undefined ? {} : { cursor }) }),
    );
    found.push(...page.items.map(({ device }) => device));
    if (page.nextCursor === null) break;
    cursor = page.nextCursor;
  }
  assert.deepEqual(found, names.filter((name) => name.includes("99")));
  assert.deepEqual(keysOf(valueOf(await finder.list({ limit: 7, tag: "fresh" }))), ["pump/new"]);
  const matching = names.filter((name) => name.includes("99"));
  for (const sort of ["device", "-device", "name", "-name", "createdAt", "-createdAt"] as const) {
    const searched = await pagesOf(finder, { sort, q: "99", limit: 200 });
    const expected = sort.startsWith("-") ? matching.toReversed() : matching;
    assert.deepEqual(searched, expected.map((name) => `pump/${name}`), sort);
    assert.deepEqual(await pagesOf(finder, { sort, tag: "fresh", limit: 5 }), ["pump/new"], sort);
    assert.deepEqual(await pagesOf(finder, { sort, product: "none", limit: 5 }), [], sort);
  }
  assert.equal(await finder.count({}), 25_001);
  assert.equal(await finder.count({ product: "pump" }), 25_001);
  assert.equal(await finder.count({ product: "none" }), 0);
  assert.equal(await finder.count({ q: "99" }), matching.length);
  assert.equal(await finder.count({ product: "pump", q: "99" }), matching.length);
  assert.equal(await finder.count({ tag: "fresh", q: "ne" }), 1);
  assert.equal(await finder.count({ product: "pump" }, 25_000), 25_001);
  assert.equal(await finder.count({ product: "pump" }, 14_999), null);
  assert.equal(await finder.count({ q: "99" }, 14_999), null);
  await assert.rejects(
    importDevices({ store, clock, random }, [{ product: "pump", device: "a b" }]),
    { code: "invalid" },
  );
});
