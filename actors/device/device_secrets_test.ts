import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import { silentLogger } from "../../runtime/logger.ts";
import {
  openTestRegistry,
  TEST_NOW_MS,
  type TestRegistry,
} from "../../test/support/test_registry.ts";
import type { Outcome } from "../registry/outcome.ts";
import { startCredentialSweep } from "./credential_sweep.ts";
import { createDeviceDirectory } from "./device_directory.ts";

const FIRST = "the first secret";
const SECOND = "the second secret";
const HOUR_MS = 3_600_000;

async function opened(credentials: readonly string[] = ["secret"]) {
  const registry = await openTestRegistry();
  valueOf(await registry.products.create({ key: "pump", credentials }));
  valueOf(await registry.devices.create({ product: "pump", device: "p", secret: FIRST }));
  const { store, changes, clock } = registry;
  const directory = createDeviceDirectory({
    reader: store.reader,
    changes,
    clock,
    logger: silentLogger,
  });
  const revoked: string[] = [];
  directory.onRevoked((product, device, reason) =>
    void revoked.push(`${product}/${device} ${reason}`)
  );
  const isIn = (secret: string) => directory.login("pump", "p", secret).ok;
  const rotate = (secret: string, overlapMs?: number) =>
    registry.devices.rotateSecret("pump", "p", {
      secret,
      ...(overlapMs === undefined ? {} : { overlapMs }),
    });
  const resources = new AsyncDisposableStack();
  resources.use(registry);
  resources.use(directory);
  return {
    registry,
    directory,
    revoked,
    isIn,
    rotate,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

function valueOf<T>(outcome: Outcome<T>): T {
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.value;
}

function dump({ store }: TestRegistry): string {
  const tables = ["devices", "device_secrets", "products"];
  return JSON.stringify(
    tables.map((table) => store.reader.prepareAll(`select * from ${table}`)()),
  );
}

Deno.test("during an overlap both secrets let in, after its end the new one only", async () => {
  await using fixture = await opened();
  const { registry, isIn, rotate, revoked } = fixture;
  assert.ok(isIn(FIRST));
  const rotated = valueOf(await rotate(SECOND, HOUR_MS));
  assert.equal(rotated.previousEndsAt, TEST_NOW_MS + HOUR_MS);
  assert.deepEqual([isIn(FIRST), isIn(SECOND), isIn(FIRST)], [true, true, true]);
  assert.deepEqual(revoked, [], "nobody is thrown out by the rotation");
  await registry.clock.advance(HOUR_MS - 1);
  assert.ok(isIn(FIRST));
  await registry.clock.advance(1);
  assert.deepEqual([isIn(FIRST), isIn(SECOND)], [false, true]);
});

Deno.test("who came by the old secret is out at its end, who came back by the new one stays", async () => {
  for (const last of ["old", "new", "connected before"]) {
    await using fixture = await opened();
    const { registry, isIn, rotate, revoked } = fixture;
    assert.ok(isIn(FIRST));
    valueOf(await rotate(SECOND, HOUR_MS));
    if (last === "old") assert.ok(isIn(SECOND) && isIn(FIRST));
    if (last === "new") assert.ok(isIn(FIRST) && isIn(SECOND));
    await registry.clock.advance(HOUR_MS);
    assert.deepEqual(revoked, last === "new" ? [] : ["pump/p device_rotated"], last);
  }
});

Deno.test("another rotation ends the older secret; without overlap both end at once", async () => {
  await using fixture = await opened();
  const { isIn, rotate, revoked } = fixture;
  valueOf(await rotate(SECOND, HOUR_MS));
  valueOf(await rotate("the third secret", HOUR_MS));
  assert.deepEqual([isIn(FIRST), isIn(SECOND), isIn("the third secret")], [false, true, true]);
  valueOf(await rotate("the fourth secret"));
  assert.deepEqual([isIn(SECOND), isIn("the third secret"), isIn("the fourth secret")], [
    false,
    false,
    true,
  ]);
  assert.deepEqual(revoked, ["pump/p device_rotated"]);
});

Deno.test("a device that is deleted or disabled is out by both of its secrets", async () => {
  await using fixture = await opened();
  const { registry, directory, isIn, rotate } = fixture;
  valueOf(await rotate(SECOND, HOUR_MS));
  valueOf(await registry.devices.update("pump", "p", { enabled: false }));
  for (const secret of [FIRST, SECOND]) {
    assert.deepEqual(directory.login("pump", "p", secret), { ok: false, code: "disabled" });
  }
  valueOf(await registry.devices.delete("pump", "p"));
  valueOf(await registry.devices.create({ product: "pump", device: "p", secret: "a new one" }));
  assert.deepEqual([isIn(FIRST), isIn(SECOND), isIn("a new one")], [false, false, true]);
});

Deno.test("secrets are listed without themselves, an overlap is bounded", async () => {
  await using fixture = await opened();
  const { registry, rotate } = fixture;
  const { devices, clock } = registry;
  await clock.advance(1_000);
  valueOf(await rotate(SECOND, HOUR_MS));
  assert.deepEqual(await devices.credentials("pump", "p"), [
    { kind: "secret", createdAt: TEST_NOW_MS + 1_000, endsAt: null, isReadable: false },
    {
      kind: "secret",
      createdAt: TEST_NOW_MS,
      endsAt: TEST_NOW_MS + 1_000 + HOUR_MS,
      isReadable: false,
    },
  ]);
  await clock.advance(HOUR_MS);
  assert.equal((await devices.credentials("pump", "p"))!.length, 1);
  assert.equal(await devices.credentials("pump", "none"), undefined);
  for (const overlapMs of [-1, 0.5, LIMITS.secretOverlapMsMax + 1, NaN]) {
    const refused = await rotate("another secret", overlapMs);
    assert.ok(!refused.ok && refused.issues[0]!.path === "overlapMs", String(overlapMs));
  }
  assert.ok(!dump(registry).includes(FIRST) && !dump(registry).includes(SECOND));
});

Deno.test("secrets are readable only where the product allows signed logins", async () => {
  await using fixture = await opened(["secret", "signed"]);
  const { registry, rotate } = fixture;
  const { devices, products, store, changes, clock } = registry;
  assert.deepEqual(await devices.signingSecrets("pump", "p"), [FIRST]);
  valueOf(await rotate(SECOND, HOUR_MS));
  assert.deepEqual(await devices.signingSecrets("pump", "p"), [SECOND, FIRST]);
  assert.ok(!dump(registry).includes(FIRST) && !dump(registry).includes(SECOND));
  const listed = await devices.credentials("pump", "p");
  assert.deepEqual(listed!.map(({ isReadable }) => isReadable), [true, true]);
  await using sweep = startCredentialSweep({ store, changes, clock, logger: silentLogger });
  await sweep.idle();
  assert.equal((await devices.signingSecrets("pump", "p")).length, 2, "they stay while allowed");
  valueOf(await products.update("pump", { credentials: ["secret"] }));
  await sweep.idle();
  assert.deepEqual(await devices.signingSecrets("pump", "p"), []);
  assert.ok(!dump(registry).includes("v1."), "nothing sealed is left");
  assert.ok(fixture.isIn(SECOND) && fixture.isIn(FIRST), "they still log in");
  await clock.advance(2 * HOUR_MS);
  await sweep.idle();
  const left = store.reader.prepareOne("select count(*) n from device_secrets")()!.n;
  assert.equal(left, 0, "the old one is gone for good");
});

Deno.test("a sealed secret that is moved to another device does not open", async () => {
  await using fixture = await opened(["signed", "secret"]);
  const { devices, store } = fixture.registry;
  valueOf(await devices.create({ product: "pump", device: "q", secret: SECOND }));
  const { secret_sealed } = await store.db.selectFrom("devices").select("secret_sealed")
    .where("device", "=", "q").executeTakeFirstOrThrow();
  await store.db.updateTable("devices").set({ secret_sealed }).where("device", "=", "p").execute();
  await assert.rejects(devices.signingSecrets("pump", "p"), { code: "codec" });
});

Deno.test("a product that allows no secrets lets nobody in by one, from now on", async () => {
  await using fixture = await opened();
  const { registry, directory, isIn } = fixture;
  assert.ok(isIn(FIRST));
  valueOf(await registry.products.update("pump", { credentials: ["x509"] }));
  assert.ok(!isIn(FIRST));
  assert.deepEqual(directory.credentialsOf("pump"), ["x509"]);
  assert.deepEqual(directory.credentialsOf("none"), []);
  for (const credentials of [[], ["secret", "secret"], ["password"]]) {
    const refused = await registry.products.update("pump", { credentials });
    assert.ok(!refused.ok && refused.code === "invalid", credentials.join());
  }
});

Deno.test("two rotations at once: one after the other, and the older secret is the first one's", async () => {
  await using fixture = await opened(["secret", "signed"]);
  const { isIn, rotate, registry } = fixture;
  const rotated = await Promise.all([rotate(SECOND, HOUR_MS), rotate("the third secret", HOUR_MS)]);
  assert.ok(rotated.every(({ ok }) => ok));
  const [current, old] = await registry.devices.signingSecrets("pump", "p");
  assert.deepEqual([current, old].sort(), [SECOND, "the third secret"].sort());
  assert.ok(isIn(current!) && isIn(old!) && !isIn(FIRST));
});
