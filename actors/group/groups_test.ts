import assert from "node:assert/strict";
import { DEVICE_LIMITS } from "../../runtime/device_limits.ts";
import { codeOf, valueOf } from "../../test/support/outcomes.ts";
import { openTestRegistry } from "../../test/support/test_registry.ts";
import type { Groups } from "./groups.ts";

const PROJECT = "default";

async function made(groups: Groups, name: string, parent: string | null = null): Promise<string> {
  return valueOf(await groups.create(PROJECT, { name, parent })).id;
}

Deno.test("a group is made, read, renamed, moved and removed", async () => {
  await using registry = await openTestRegistry();
  const { groups } = registry;
  const plant = await made(groups, "plant");
  const hall = valueOf(await groups.create(PROJECT, { name: "hall", parent: plant }));
  assert.deepEqual(await groups.get(PROJECT, hall.id), hall);
  assert.equal(hall.parent, plant);
  const moved = valueOf(await groups.update(PROJECT, hall.id, { parent: null, name: "h" }, 1));
  assert.deepEqual([moved.parent, moved.name, moved.version], [null, "h", 2]);
  assert.equal(codeOf(await groups.update(PROJECT, hall.id, { name: "x" }, 1)), "stale");
  assert.equal(codeOf(await groups.update(PROJECT, "none", { name: "x" })), "not_found");
  assert.equal(codeOf(await groups.create(PROJECT, { name: "" })), "invalid");
  assert.equal(codeOf(await groups.create(PROJECT, { name: "a\nb" })), "invalid");
  assert.equal(codeOf(await groups.create(PROJECT, { name: "a", parent: "none" })), "not_found");
  assert.equal(codeOf(await groups.create("none", { name: "a" })), "not_found");
  assert.equal(codeOf(await groups.delete(PROJECT, hall.id, 1)), "stale");
  assert.equal(valueOf(await groups.delete(PROJECT, hall.id)), true);
  assert.equal(valueOf(await groups.delete(PROJECT, hall.id)), false);
});

Deno.test("names are unique beside each other only", async () => {
  await using registry = await openTestRegistry();
  const { groups } = registry;
  const a = await made(groups, "a");
  const inA = await made(groups, "x", a);
  const x = await made(groups, "x");
  assert.equal(codeOf(await groups.create(PROJECT, { name: "x" })), "exists");
  assert.equal(codeOf(await groups.create(PROJECT, { name: "x", parent: a })), "exists");
  assert.equal(codeOf(await groups.update(PROJECT, inA, { parent: null })), "exists");
  valueOf(await groups.update(PROJECT, x, { name: "x" }));
});

Deno.test("no group is put into itself or into one below it", async () => {
  await using registry = await openTestRegistry();
  const { groups } = registry;
  const a = await made(groups, "a");
  const b = await made(groups, "b", a);
  const c = await made(groups, "c", b);
  for (const parent of [a, b, c]) {
    assert.equal(codeOf(await groups.update(PROJECT, a, { parent })), "in_use", parent);
  }
  valueOf(await groups.update(PROJECT, c, { parent: a }));
  valueOf(await groups.update(PROJECT, b, { parent: c }));
  assert.deepEqual(new Set(await groups.withNested(PROJECT, a)), new Set([a, b, c]));
  assert.deepEqual(new Set(await groups.withNested(PROJECT, c)), new Set([b, c]));
  assert.deepEqual(await groups.withNested("other", c), []);
});

Deno.test("groups nest no deeper than the bound, also when a tree is moved", async () => {
  await using registry = await openTestRegistry();
  const { groups } = registry;
  let deepest: string | null = null;
  for (let level = 1; level <= DEVICE_LIMITS.groupDepthMax; level++) {
    deepest = await made(groups, `level ${level}`, deepest);
  }
  const full = await groups.create(PROJECT, { name: "below", parent: deepest });
  assert.equal(codeOf(full), "in_use");
  const top = await made(groups, "top");
  await made(groups, "below", top);
  const seventh = (await groups.get(PROJECT, deepest!))!.parent;
  assert.equal(codeOf(await groups.update(PROJECT, top, { parent: seventh })), "in_use");
  const sixth = (await groups.get(PROJECT, seventh!))!.parent;
  valueOf(await groups.update(PROJECT, top, { parent: sixth }));
});

Deno.test("a group with groups in it is not removed, one with devices is", async () => {
  await using registry = await openTestRegistry();
  const { groups, products, devices, store } = registry;
  valueOf(await products.create({ key: "pump" }));
  const a = await made(groups, "a");
  const b = await made(groups, "b", a);
  assert.equal(codeOf(await groups.delete(PROJECT, a)), "in_use");
  const count = 2_300; // More than two transactions let go.
  valueOf(await devices.create({ product: "pump", device: "p-0" }));
  const rows = Array.from({ length: count }, (_, at) => {
    return { group_id: b, product: "pump", device: `p-${at}` };
  });
  for (let at = 0; at < count; at += 500) {
    await store.db.insertInto("group_devices").values(rows.slice(at, at + 500)).execute();
  }
  const removal = groups.delete(PROJECT, b);
  await registry.clock.advance(0);
  while (await Promise.race([removal, registry.clock.advance(0)]) === undefined);
  assert.equal(valueOf(await removal), true);
  const left = await store.db.selectFrom("group_devices").selectAll().execute();
  assert.deepEqual(left, []);
  assert.ok(await devices.get("pump", "p-0"));
  valueOf(await groups.delete(PROJECT, a));
});

Deno.test("a device is in a group once, in several up to the bound, and leaves with its end", async () => {
  await using registry = await openTestRegistry();
  const { groups, products, devices, store } = registry;
  valueOf(await products.create({ key: "pump" }));
  valueOf(await devices.create({ product: "pump", device: "p-1" }));
  const ids: string[] = [];
  for (let at = 0; at <= DEVICE_LIMITS.groupsPerDeviceMax; at++) {
    ids.push(await made(groups, `g${at}`));
  }
  const last = ids.pop()!;
  for (const id of ids) {
    valueOf(await groups.add(PROJECT, id, "pump", "p-1"));
    valueOf(await groups.add(PROJECT, id, "pump", "p-1"));
  }
  assert.equal(codeOf(await groups.add(PROJECT, last, "pump", "p-1")), "in_use");
  assert.equal(codeOf(await groups.add(PROJECT, last, "pump", "none")), "not_found");
  assert.equal(codeOf(await groups.add("other", last, "pump", "p-1")), "not_found");
  assert.equal(codeOf(await groups.remove("other", ids[0]!, "pump", "p-1")), "not_found");
  assert.equal(valueOf(await groups.remove(PROJECT, ids[0]!, "pump", "p-1")), true);
  assert.equal(valueOf(await groups.remove(PROJECT, ids[0]!, "pump", "p-1")), false);
  const device = { product: "pump", device: "p-1" };
  const { items } = valueOf(await groups.list(PROJECT, { device, limit: 100 }));
  assert.equal(items.length, DEVICE_LIMITS.groupsPerDeviceMax - 1);
  assert.equal(await groups.count(PROJECT, { device }), items.length);
  valueOf(await devices.delete("pump", "p-1"));
  assert.deepEqual(await store.db.selectFrom("group_devices").selectAll().execute(), []);
});
