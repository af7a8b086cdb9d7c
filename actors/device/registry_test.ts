import assert from "node:assert/strict";
import type { Outcome } from "../registry/outcome.ts";
import { openTestRegistry, TEST_NOW_MS } from "../../test/support/test_registry.ts";
import { hashSecret } from "./secret.ts";

function valueOf<T>(outcome: Outcome<T>): T {
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.value;
}

function codeOf(outcome: Outcome<unknown>): string {
  assert.ok(!outcome.ok, "it was not refused");
  return outcome.code;
}

Deno.test("a device is created with a secret that is stored as its hash only", async () => {
  await using registry = await openTestRegistry();
  const { devices, products, store } = registry;
  assert.equal(codeOf(await devices.create({ product: "pump", device: "p" })), "not_found");
  valueOf(await products.create({ key: "pump" }));
  const input = { product: "pump", device: "p", name: "Pump ☂", tags: ["north", "north", "wet"] };
  const { device, secret } = valueOf(await devices.create(input));
  assert.deepEqual(device, {
    product: "pump",
    device: "p",
    name: "Pump ☂",
    tags: ["north", "wet"],
    enabled: true,
    version: 1,
    createdAt: TEST_NOW_MS,
    updatedAt: TEST_NOW_MS,
  });
  assert.match(secret, /^[A-Za-z0-9_-]{43}$/);
  const row = store.reader.prepareOne("select * from devices")()!;
  assert.deepEqual(
    new Uint8Array(row.secret_hash as Uint8Array),
    new Uint8Array(hashSecret(secret)),
  );
  assert.ok(!JSON.stringify(row).includes(secret));
  assert.equal(codeOf(await devices.create(input)), "exists");
  const brought = { product: "pump", device: "q", secret: "brought along" };
  assert.equal(valueOf(await devices.create(brought)).secret, "brought along");
});

Deno.test("a device is changed with its version, rotated and deleted", async () => {
  await using registry = await openTestRegistry();
  const { devices, products } = registry;
  valueOf(await products.create({ key: "pump" }));
  const { secret } = valueOf(await devices.create({ product: "pump", device: "p" }));
  const changed = valueOf(await devices.update("pump", "p", { tags: ["a"], enabled: false }, 1));
  assert.deepEqual([changed.version, changed.enabled, changed.tags], [2, false, ["a"]]);
  assert.equal(codeOf(await devices.update("pump", "p", { name: "x" }, 1)), "stale");
  assert.equal(codeOf(await devices.update("pump", "none", { name: "x" })), "not_found");
  const rotated = valueOf(await devices.rotateSecret("pump", "p"));
  assert.notEqual(rotated.secret, secret);
  assert.equal(rotated.device.version, 3);
  assert.equal(codeOf(await devices.rotateSecret("pump", "p", { secret: "short" })), "invalid");
  assert.equal(codeOf(await devices.delete("pump", "p", 1)), "stale");
  assert.equal(valueOf(await devices.delete("pump", "p")), true);
  assert.equal(valueOf(await devices.delete("pump", "p")), false);
});

Deno.test("bad devices are refused", async () => {
  await using registry = await openTestRegistry();
  valueOf(await registry.products.create({ key: "pump" }));
  const create = async (more: object) =>
    codeOf(await registry.devices.create({ product: "pump", device: "p", ...more }));
  for (const device of ["", "a b", "a/b", "__proto__", ".", "x".repeat(65), "\ud800", "a\u0000b"]) {
    assert.equal(await create({ device }), "invalid", JSON.stringify(device));
  }
  assert.equal(await create({ secret: "1234567" }), "invalid");
  assert.equal(await create({ secret: "x".repeat(257) }), "invalid");
  assert.equal(await create({ secret: "lone \ud800 surrogate" }), "invalid");
  assert.equal(await create({ name: "x".repeat(129) }), "invalid");
  assert.equal(await create({ tags: Array.from({ length: 33 }, (_, i) => `${i}`) }), "invalid");
  assert.equal(await create({ tags: [""] }), "invalid");
  assert.equal(await create({ tags: ["a\nb"] }), "invalid");
});
