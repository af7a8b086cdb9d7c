import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { UnavailableError } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { openTestRegistry, type TestRegistry } from "../../test/support/test_registry.ts";
import type { Outcome } from "../registry/outcome.ts";
import { startChangesFollower } from "./changes.ts";
import { createDeviceDirectory } from "./device_directory.ts";
import { startDeviceRemovals } from "./device_removals.ts";

const SECRET = "a secret of p";

async function openWithDevice(): Promise<TestRegistry> {
  const registry = await openTestRegistry();
  await accepted(registry.products.create({ key: "pump" }));
  await accepted(registry.devices.create({ product: "pump", device: "p", secret: SECRET }));
  return registry;
}

async function accepted<T>(pending: Promise<Outcome<T>>): Promise<T> {
  const outcome = await pending;
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.value;
}

function directoryOf({ store, changes, clock }: TestRegistry) {
  return createDeviceDirectory({ reader: store.reader, changes, clock, logger: silentLogger });
}

Deno.test("a login takes the right secret only, and is one object while it lasts", async () => {
  await using registry = await openWithDevice();
  using directory = directoryOf(registry);
  const first = directory.login("pump", "p", SECRET);
  assert.deepEqual(first, { ok: true, login: { product: "pump", device: "p" } });
  const second = directory.login("pump", "p", SECRET);
  assert.ok(first.ok && second.ok && first.login === second.login);
  const wrong = directory.login("pump", "p", "another secret");
  assert.deepEqual(wrong, { ok: false, code: "bad_credentials" });
  assert.deepEqual(directory.login("pump", "unknown", SECRET), wrong);
  for (const hostile of ["", "\u0000", "\ud800", "' or 1=1 --", "x".repeat(100_000), "p/../p"]) {
    assert.deepEqual(directory.login(hostile, hostile, hostile), wrong);
    assert.deepEqual(directory.login("pump", hostile, SECRET), wrong);
    assert.deepEqual(directory.login("pump", "p", hostile), wrong);
  }
  assert.deepEqual(directory.login("pump", "p", SECRET + "\u0000"), wrong);
});

Deno.test("a failed login does the same work for a known and an unknown device", async () => {
  await using registry = await openWithDevice();
  const { store, changes, clock } = registry;
  let lookups = 0;
  const reader = {
    ...store.reader,
    prepareOne(sql: string) {
      const query = store.reader.prepareOne(sql);
      return (...parameters: Parameters<typeof query>) => {
        lookups++;
        return query(...parameters);
      };
    },
  };
  using directory = createDeviceDirectory({ reader, changes, clock, logger: silentLogger });
  const lookupsOf = (device: string, secret: string): number => {
    const before = lookups;
    directory.login("pump", device, secret);
    return lookups - before;
  };
  assert.equal(lookupsOf("p", "wrong"), 1, "known, not kept");
  assert.equal(lookupsOf("p", SECRET), 1);
  assert.equal(lookupsOf("p", SECRET), 0, "kept");
  assert.equal(lookupsOf("p", "wrong"), 1, "known, kept");
  assert.equal(lookupsOf("unknown", "wrong"), 1);
  assert.equal(lookupsOf("unknown", "wrong"), 1, "unknown again");
});

Deno.test("disabling, rotating and deleting take effect before the caller is answered", async () => {
  await using registry = await openWithDevice();
  using directory = directoryOf(registry);
  const told: string[] = [];
  directory.onRevoked(() => {
    throw new Error("a listener that fails");
  });
  directory.onRevoked((product, device, reason) => told.push(`${product}/${device} ${reason}`));
  assert.ok(directory.login("pump", "p", SECRET).ok);
  await accepted(registry.devices.update("pump", "p", { enabled: false }));
  assert.deepEqual(directory.login("pump", "p", SECRET), { ok: false, code: "disabled" });
  assert.deepEqual(directory.login("pump", "p", "guess of it"), {
    ok: false,
    code: "bad_credentials",
  });
  await accepted(registry.devices.update("pump", "p", { enabled: true }));
  assert.ok(directory.login("pump", "p", SECRET).ok);
  await accepted(registry.devices.update("pump", "p", { name: "renamed" }));
  const { secret } = await accepted(registry.devices.rotateSecret("pump", "p"));
  assert.ok(!directory.login("pump", "p", SECRET).ok);
  assert.ok(directory.login("pump", "p", secret).ok);
  await accepted(registry.devices.delete("pump", "p"));
  assert.ok(!directory.login("pump", "p", secret).ok);
  assert.deepEqual(told, [
    "pump/p device_disabled",
    "pump/p device_rotated",
    "pump/p device_deleted",
  ]);
});

Deno.test("a model changes with its product", async () => {
  await using registry = await openWithDevice();
  using directory = directoryOf(registry);
  assert.ok(directory.accepts("pump", { t: 180 }));
  assert.equal(directory.lateDaysMax("pump"), 30);
  const model = {
    properties: [{ identifier: "t", dataType: { type: "int", specs: { max: 120 } } }],
  };
  await accepted(registry.products.update("pump", { mode: "strict", model, lateDaysMax: 7 }));
  assert.ok(!directory.accepts("pump", { t: 180 }));
  assert.deepEqual(directory.validate("pump", { t: 180, u: 1 }).refused.map(({ rule }) => rule), [
    "max",
    "unknown",
  ]);
  assert.equal(directory.lateDaysMax("pump"), 7);
  assert.deepEqual(directory.validateDesired("pump", { t: null }).refused, []);
  assert.ok(!directory.accepts("unknown", { t: 1 }));
  assert.equal(directory.validate("unknown", { t: 1 }).refused[0]!.rule, "product");
});

Deno.test("changes of another process are followed by polling", async () => {
  await using registry = await openWithDevice();
  using directory = directoryOf(registry);
  const told: string[] = [];
  directory.onRevoked((_product, device, reason) => told.push(`${device} ${reason}`));
  assert.ok(directory.login("pump", "p", SECRET).ok);
  const other = new DatabaseSync(registry.path);
  other.exec(
    `begin; update devices set enabled = 0;
     insert into changes (kind, product, device, at) values ('device_disabled', 'pump', 'p', 1);
     commit`,
  );
  other.close();
  assert.deepEqual(told, []);
  await registry.clock.advance(1_000);
  assert.deepEqual(told, ["p device_disabled"]);
  assert.equal(directory.login("pump", "p", SECRET).ok, false);
});

Deno.test("a follower that missed changes compares all it keeps", async () => {
  await using registry = await openWithDevice();
  using directory = directoryOf(registry);
  await accepted(registry.devices.create({ product: "pump", device: "q", secret: SECRET }));
  const told: string[] = [];
  directory.onRevoked((_product, device, reason) => told.push(`${device} ${reason}`));
  assert.ok(directory.login("pump", "p", SECRET).ok && directory.login("pump", "q", SECRET).ok);
  const other = new DatabaseSync(registry.path);
  other.exec(
    `update devices set enabled = 0 where device = 'p'; delete from changes;
     insert into changes (id, kind, product, device, at)
       values (999, 'device_enabled', 'pump', 'z', 1)`,
  );
  other.close();
  registry.changes.catchUp();
  assert.deepEqual(told, ["p device_disabled"]);
  assert.equal(registry.changes.position, 999);
});

Deno.test("changes come in order, once, and those of before the start do not", async () => {
  await using registry = await openWithDevice();
  const { store, clock } = registry;
  await using late = startChangesFollower({ store, clock, logger: silentLogger, pollMs: 10 });
  const seen: string[] = [];
  late.onChange((change) => seen.push(change.kind));
  await accepted(registry.devices.update("pump", "p", { enabled: false }));
  await accepted(registry.devices.delete("pump", "p"));
  await accepted(registry.products.delete("pump"));
  await clock.advance(10);
  late.catchUp();
  assert.deepEqual(seen, ["device_disabled", "device_deleted", "product_deleted"]);
});

Deno.test("the table of changes is bounded, but keeps what a durable follower has not read", async () => {
  await using registry = await openWithDevice();
  const { store, devices } = registry;
  const count = store.reader.prepareOne("select count(*) n from changes");
  const jump = (id: number) =>
    store.db.insertInto("changes")
      .values({ id, kind: "device_enabled", product: "x", device: "y", at: 1 }).execute();
  await store.db.insertInto("followers").values({ name: "slow", position: 0 }).execute();
  await jump(LIMITS.changesKeptMax + 10);
  await accepted(devices.update("pump", "p", { enabled: false }));
  assert.equal(count()!.n, 3);
  await store.db.updateTable("followers").set({ position: 5 }).execute();
  await accepted(devices.update("pump", "p", { enabled: true }));
  assert.equal(count()!.n, 3, "the first one is gone, the new one is there");
});

Deno.test("the actor of a deleted device is told, also after a crash before the message", async () => {
  await using registry = await openWithDevice();
  const { store, changes, clock } = registry;
  const sent: string[] = [];
  let isDown = true;
  const remove = (product: string, device: string) => {
    if (isDown) return Promise.reject(new Error("the log is down"));
    sent.push(`${product}/${device}`);
    return Promise.resolve();
  };
  const start = () => startDeviceRemovals({ store, changes, clock, logger: silentLogger, remove });
  {
    await using removals = start();
    await accepted(registry.devices.delete("pump", "p"));
    await removals.idle();
    assert.deepEqual(sent, []);
  }
  isDown = false;
  {
    await using removals = start();
    await removals.idle();
    assert.deepEqual(sent, ["pump/p"]);
    await accepted(registry.devices.create({ product: "pump", device: "q" }));
    await accepted(registry.devices.delete("pump", "q"));
    await removals.idle();
  }
  await using removals = start();
  await removals.idle();
  assert.deepEqual(sent, ["pump/p", "pump/q"]);
});

Deno.test("a device of a deleted one's name is made once the deleted one is removed", async () => {
  await using registry = await openWithDevice();
  const { store, changes, clock, devices } = registry;
  const removing = Promise.withResolvers<void>();
  const remove = () => removing.promise;
  await using removals = startDeviceRemovals({
    ...{ store, changes, clock, logger: silentLogger, remove },
  });
  await accepted(devices.delete("pump", "p"));
  await accepted(devices.create({ product: "pump", device: "other" }));
  let isMade = false;
  const late = devices.create({ product: "pump", device: "p" });
  const refused = assert.rejects(late.finally(() => isMade = true), UnavailableError);
  await clock.advance(1_900);
  assert.equal(isMade, false);
  await clock.advance(200);
  await refused;
  const made = devices.create({ product: "pump", device: "p" });
  removing.resolve();
  await removals.idle();
  await clock.advance(100);
  assert.equal((await accepted(made)).device.device, "p");
});

Deno.test("a certificate is a login where the product takes them, and then only", async () => {
  await using registry = await openWithDevice();
  using directory = directoryOf(registry);
  const bad = { ok: false, code: "bad_credentials" } as const;
  assert.deepEqual(directory.loginByCertificate("pump", "p"), bad);
  await accepted(registry.products.create({ key: "valve", credentials: ["x509"] }));
  await accepted(registry.devices.create({ product: "valve", device: "v", secret: SECRET }));
  const login = { product: "valve", device: "v" };
  assert.deepEqual(directory.loginByCertificate("valve", "v"), { ok: true, login });
  assert.deepEqual(directory.login("valve", "v", SECRET), bad, "no secret is");
  for (const [product, device] of [["valve", "w"], ["nothing", "v"], ["pump", "v"]] as const) {
    assert.deepEqual(directory.loginByCertificate(product, device), bad);
  }
  await accepted(registry.devices.update("valve", "v", { enabled: false }));
  assert.deepEqual(directory.loginByCertificate("valve", "v"), { ok: false, code: "disabled" });
});
