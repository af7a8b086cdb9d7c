import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import type { Outcome, Page } from "../registry/outcome.ts";
import type { Product, ProductQuery } from "./products.ts";
import { openTestRegistry, TEST_NOW_MS } from "../../test/support/test_registry.ts";

function valueOf<T>(outcome: Outcome<T>): T {
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.value;
}

function codeOf(outcome: Outcome<unknown>): string {
  assert.ok(!outcome.ok, "it was not refused");
  return outcome.code;
}

const MODEL = { properties: [{ identifier: "t", dataType: { type: "int", specs: { max: 5 } } }] };

Deno.test("a product is created, read, changed and deleted", async () => {
  await using registry = await openTestRegistry();
  const { products, clock } = registry;
  const created = valueOf(await products.create({ key: "pump" }));
  assert.deepEqual(created, {
    key: "pump",
    project: "default",
    name: "pump",
    mode: "open",
    model: null,
    modelVersion: 0,
    lateDaysMax: 30,
    retentionDays: null,
    credentials: ["secret"],
    version: 1,
    createdAt: TEST_NOW_MS,
    updatedAt: TEST_NOW_MS,
  });
  assert.equal(codeOf(await products.create({ key: "pump" })), "exists");
  await clock.advance(5);
  const changed = valueOf(
    await products.update("pump", { mode: "strict", model: MODEL }, {
      expectedVersion: 1,
    }),
  );
  assert.equal(changed.version, 2);
  assert.equal(changed.updatedAt, TEST_NOW_MS + 5);
  assert.equal(changed.model!.properties[0]!.accessMode, "rw");
  assert.deepEqual(await products.get("pump"), changed);
  assert.equal(
    codeOf(await products.update("pump", { name: "x" }, { expectedVersion: 1 })),
    "stale",
  );
  assert.equal(codeOf(await products.update("pump", { model: null })), "invalid");
  assert.equal(codeOf(await products.update("other", { name: "x" })), "not_found");
  assert.equal(codeOf(await products.delete("pump", 1)), "stale");
  assert.equal(valueOf(await products.delete("pump", 2)), true);
  assert.equal(valueOf(await products.delete("pump")), false);
  assert.equal(await products.get("pump"), undefined);
});

Deno.test("a product with devices is not deleted", async () => {
  await using registry = await openTestRegistry();
  valueOf(await registry.products.create({ key: "pump" }));
  valueOf(await registry.devices.create({ product: "pump", device: "p-1" }));
  assert.equal(codeOf(await registry.products.delete("pump")), "in_use");
  valueOf(await registry.devices.delete("pump", "p-1"));
  assert.equal(valueOf(await registry.products.delete("pump")), true);
});

Deno.test("bad products are refused with every issue and its path", async () => {
  await using registry = await openTestRegistry();
  const outcome = await registry.products.create({
    key: "a b",
    name: "line\nbreak",
    mode: "loose" as "open",
    lateDaysMax: 0.5,
    model: { properties: [{ identifier: "t" }] },
  });
  assert.ok(!outcome.ok);
  assert.deepEqual(outcome.issues.map((issue) => issue.path), [
    "key",
    "name",
    "mode",
    "lateDaysMax",
    "model.properties.0.dataType",
  ]);
  for (const key of ["", "__proto__", "..", "x".repeat(65), "a/b", "\ud800", "a\u0000", "'--"]) {
    assert.equal(codeOf(await registry.products.create({ key })), "invalid", JSON.stringify(key));
  }
  assert.equal(codeOf(await registry.products.create({ key: "s", mode: "strict" })), "invalid");
});

Deno.test("products are listed by pages that stay valid while products come and go", async () => {
  await using registry = await openTestRegistry();
  const { products } = registry;
  for (const key of ["a", "b", "c", "d", "e"]) valueOf(await products.create({ key }));
  const first = valueOf(await products.list({ limit: 2 }));
  assert.deepEqual(first.items.map(({ key }) => key), ["a", "b"]);
  valueOf(await products.delete("b"));
  valueOf(await products.create({ key: "aa" }));
  const second = valueOf(await products.list({ limit: 2, cursor: first.nextCursor! }));
  assert.deepEqual(second.items.map(({ key }) => key), ["c", "d"]);
  const last = valueOf(await products.list({ limit: 2, cursor: second.nextCursor! }));
  assert.deepEqual(last.items.map(({ key }) => key), ["e"]);
  assert.equal(last.nextCursor, null);
  for (const cursor of ["%", "e30", "WzFd", "x".repeat(600), "WyJhIiwiYiJd"]) {
    assert.equal(codeOf(await products.list({ limit: 2, cursor })), "invalid", cursor);
  }
  valueOf(await products.update("a", { name: "50% off_" }));
  const found = async (q: string) =>
    valueOf(await products.list({ limit: 9, q })).items.map(({ key }) => key);
  assert.deepEqual(await found("0% OFF_"), ["a"]);
  assert.deepEqual(await found("%"), ["a"]);
  assert.deepEqual(await found("' or 1=1 --"), []);
});

Deno.test("a page of products ends early rather than with too many bytes of models", async () => {
  await using registry = await openTestRegistry();
  const { products, store } = registry;
  for (const key of ["a", "b", "c", "d"]) valueOf(await products.create({ key }));
  const large = "{}" + " ".repeat(0.6 * LIMITS.modelPageBytesMax);
  for (const key of ["b", "c"]) {
    await store.db.updateTable("products").set({ model: large }).where("key", "=", key).execute();
  }
  const pages: string[] = [];
  let cursor: string | null = null;
  do {
    const page: Page<Product> = valueOf(
      await products.list({ limit: 9, ...(cursor && { cursor }) }),
    );
    pages.push(page.items.map(({ key }) => key).join(""));
    cursor = page.nextCursor;
  } while (cursor !== null);
  assert.deepEqual(pages, ["ab", "cd"]);
});

Deno.test("products are sorted, counted, and those of another project are not there", async () => {
  await using registry = await openTestRegistry();
  const { products, clock, store } = registry;
  for (const [key, name] of [["b", "Two"], ["c", "One"], ["a", "Two"]] as const) {
    await clock.advance(1);
    valueOf(await products.create({ key, name }));
  }
  await store.db.updateTable("products").set({ project: "other" }).where("key", "=", "c").execute();
  valueOf(await products.create({ key: "d", name: "one" }));
  const sorted = async (sort: ProductQuery["sort"], project = "default") => {
    const keys: string[] = [];
    let cursor: string | null | undefined;
    do {
      const asked = { limit: 1, project, ...(sort && { sort }), ...(cursor && { cursor }) };
      const page = valueOf(await products.list(asked));
      keys.push(...page.items.map(({ key }) => key));
      cursor = page.nextCursor;
    } while (cursor !== null);
    return keys.join("");
  };
  assert.equal(await sorted(undefined), "abd");
  assert.equal(await sorted("key"), "abd");
  assert.equal(await sorted("-key"), "dba");
  assert.equal(await sorted("name"), "abd", "Two, Two, one");
  assert.equal(await sorted("-name"), "dba");
  assert.equal(await sorted("createdAt"), "bad");
  assert.equal(await sorted("-createdAt"), "dab");
  assert.equal(await sorted("-createdAt", "other"), "c");
  assert.deepEqual(
    [await products.count({}), await products.count({ q: "TWO" })],
    [3, 2],
  );
  assert.equal(await products.count({ project: "other", q: "two" }), 0);
});
