import assert from "node:assert/strict";
import { join } from "node:path";
import { createMasterKey, writeKeyFile } from "../../runtime/secret/master_key.ts";
import { systemRandom } from "../../runtime/random.ts";
import { OWNER_PASSWORD, startRoost } from "../support/roost.ts";
import { RoostApi } from "../support/roost_api.ts";
import { waitFor } from "../support/wait.ts";

interface Audit {
  readonly items: readonly {
    readonly id: string;
    readonly action: string;
    readonly object: string;
  }[];
}

Deno.test("what was answered is in the audit after kill -9, and the audit is intact", async () => {
  await using roost = await startRoost();
  const owner = await RoostApi.login(roost.urls.http, "owner", OWNER_PASSWORD);
  for (let i = 0; i < 20; i++) await owner.createProduct({ key: `p-${i}` });
  await owner.killChild("readers/views").catch(() => {}); // Not of the registry: appended.
  await roost.restart();
  const again = owner.at(roost.urls.http);
  const { items } = await again.request<Audit>("GET", "/api/v1/audit?limit=500");
  const made = items.filter(({ action }) => action === "products.create");
  assert.deepEqual(
    made.map(({ object }) => object),
    Array.from({ length: 20 }, (_none, i) => `products/p-${19 - i}`),
  );
  assert.ok(items.some(({ action }) => action === "cluster.tree.kill"));
  const checked = await again.request<{ items: { isIntact: boolean; rows: number }[] }>(
    "GET",
    "/api/v1/audit/verification",
  );
  assert.deepEqual(checked.items.map(({ isIntact, rows }) => [isIntact, rows]), [
    [true, items.length],
  ]);
});

Deno.test("a start with another master key, or none, is refused and touches nothing", async () => {
  await using roost = await startRoost();
  const path = join(roost.dataDir, "master.key");
  assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
  await roost.kill("SIGTERM");
  const kept = await Deno.readTextFile(path);
  writeKeyFile(path, [createMasterKey(systemRandom)]);
  await assert.rejects(roost.start(), /Cannot start: the master key \w+ of .* is not \w+/);
  await Deno.remove(path);
  await assert.rejects(
    roost.start(),
    /Cannot start: the master key file .* is missing.*Put it back/,
  );
  await Deno.writeTextFile(path, kept, { mode: 0o600 });
  await roost.start();
});

Deno.test("a master key is changed on the running node, also if it dies in the middle", async () => {
  await using roost = await startRoost();
  const owner = await RoostApi.login(roost.urls.http, "owner", OWNER_PASSWORD);
  const product = { key: "pump", credentials: ["secret", "signed"] };
  await owner.request("POST", "/api/v1/products", product);
  for (let i = 0; i < 30; i++) await owner.createDevice("pump", `p-${i}`);
  type Keys = { items: { id: string; isCurrent: boolean; rows: number }[] };
  const before = await owner.request<Keys>("GET", "/api/v1/master-keys");
  assert.equal(before.items.length, 1);
  const rotated = await owner.request<Keys>("POST", "/api/v1/master-keys/rotate");
  const [fresh, old] = rotated.items;
  assert.deepEqual([fresh!.isCurrent, old!.id], [true, before.items[0]!.id]);
  await roost.restart();
  const again = owner.at(roost.urls.http);
  let keys: Keys["items"] = [];
  await waitFor(async () => {
    keys = (await again.request<Keys>("GET", "/api/v1/master-keys")).items;
    return keys[0]!.id === fresh!.id && keys[1]!.rows === 0;
  }, { what: "everything to be sealed again", withinMs: 10_000, actual: () => keys });
  assert.ok(keys[0]!.rows > 30);
  type Check = { items: { isIntact: boolean }[] };
  const checked = await again.request<Check>("GET", "/api/v1/audit/verification");
  assert.deepEqual(checked.items.map(({ isIntact }) => isIntact), [true]);
  const { items } = await again.request<Audit>("GET", "/api/v1/audit?action=master-keys.rotate");
  assert.equal(items.length, 1);
});
