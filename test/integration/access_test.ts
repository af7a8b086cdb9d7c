import assert from "node:assert/strict";
import { join } from "node:path";
import { createMasterKey, writeKeyFile } from "../../runtime/secret/master_key.ts";
import { systemRandom } from "../../runtime/random.ts";
import { OWNER_PASSWORD, startRoost } from "../support/roost.ts";
import { RoostApi } from "../support/roost_api.ts";

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
