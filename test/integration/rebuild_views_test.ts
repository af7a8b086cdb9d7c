/** The views of the real process, damaged by hand and rebuilt. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Job } from "../../actors/job/job.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import type { DeviceLogin } from "../bench/load/options.ts";
import type { RoostApi } from "../support/roost_api.ts";
import { waitFor } from "../support/wait.ts";

const DEVICES = 300;
const WITHIN_MS = 60_000;

interface Listed {
  readonly device: string;
  readonly status: string;
  readonly lastSeenAt: number | null;
}

async function post(roost: TestRoost, { product, device, secret }: DeviceLogin): Promise<void> {
  const answer = await fetch(`${roost.urls.http}/ingest/v1/${product}/${device}/properties`, {
    method: "POST",
    headers: {
      authorization: `Basic ${btoa(`${product}/${device}:${secret}`)}`,
      "content-type": "application/json",
    },
    body: '{"t":1}',
  });
  assert.equal(answer.status, 202, await answer.text());
}

async function list(api: RoostApi, query: string): Promise<readonly Listed[]> {
  const path = `/api/v1/devices?limit=500&${query}`;
  return (await api.request<{ items: Listed[] }>("GET", path)).items;
}

Deno.test("rows that were damaged by hand are put right, and lists agree again", async () => {
  await using roost = await startRoost();
  const api = await roost.api();
  await api.createProduct({ key: "pump" });
  const devices = await api.createDevices("pump", DEVICES);
  for (const device of devices.slice(0, DEVICES - 20)) await post(roost, device);
  await waitFor(async () => {
    const found = await list(api, "sort=-lastSeenAt");
    return found.filter(({ lastSeenAt }) => lastSeenAt !== null).length === DEVICES - 20;
  }, { what: "all devices in the view", withinMs: WITHIN_MS });
  // A device that was heard of while a list was made stands where it was before.
  const seen = await list(api, "sort=-lastSeenAt");
  const byName = await list(api, "sort=device");
  await roost.kill("SIGTERM");
  const database = new DatabaseSync(join(roost.dataDir, "views.db"));
  database.exec(`
    delete from rows where key like 'pump/d-1%';
    update rows set row = json_set(row, '$.atMs', 5), seen = 5 where key like 'pump/d-2%';
    update rows set version = 1e300, row = json_set(row, '$.online', json('true'))
      where key like 'pump/d-3%';
    insert into rows (view, key, row, version, at, session, seen) values
      ('presence', 'pump/d-299', '{"online":true,"session":"1.1","atMs":7}', 1e300, 7, '1.1', 7);
  `);
  database.close();
  await roost.start();
  const again = await roost.api();
  assert.notDeepEqual(await list(again, "sort=-lastSeenAt"), seen, "the damage shows");
  const { id } = await again.request<Job>("POST", "/api/v1/jobs/rebuild-views");
  const job = await waitFor(async () => {
    const found = await again.request<Job>("GET", `/api/v1/jobs/${id}`);
    return found.finishedAt === undefined ? undefined : found;
  }, { what: "the end of the rebuild", withinMs: WITHIN_MS });
  assert.equal(job.status, "done", JSON.stringify(job));
  assert.ok((job.result as { changed: number }).changed > 150, JSON.stringify(job.result));
  assert.deepEqual(await list(again, "sort=-lastSeenAt"), seen);
  assert.deepEqual(await list(again, "sort=device"), byName);
});
