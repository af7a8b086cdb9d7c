/** Retention of products in the real process. */
import assert from "node:assert/strict";
import { systemClock } from "../../runtime/clock.ts";
import type { Job } from "../../actors/job/job.ts";
import { startRoost } from "../support/roost.ts";
import type { RoostApi } from "../support/roost_api.ts";
import { waitFor } from "../support/wait.ts";

const DAY_MS = 86_400_000;
const DAYS = 60;
const WITHIN_MS = 60_000;

async function importDays(api: RoostApi, nowMs: number): Promise<void> {
  const rows = ["a", "b"].flatMap((product) =>
    Array.from({ length: DAYS }, (_, day) => `${product}/d,t,${nowMs - day * DAY_MS},${day}\n`)
  );
  const text = "device,key,at,value\n" + rows.join("");
  const answer = await api.upload("/api/v1/jobs/telemetry-import", "text/csv", text);
  const { id } = await answer.json();
  await waitFor(async () => {
    const { status } = await api.request<Job>("GET", `/api/v1/jobs/${id}`);
    return status === "done";
  }, { what: "the import", withinMs: WITHIN_MS });
}

async function countOf(api: RoostApi, product: string): Promise<number> {
  const page = await api.telemetry(product, "d", { keys: "t", from: 0 });
  return page.series["t"]!.length;
}

Deno.test("a product that keeps less loses what is older at once, the others nothing, also after a restart", async () => {
  await using roost = await startRoost();
  const api = await roost.api();
  for (const key of ["a", "b"]) {
    await api.createProduct({ key });
    await api.createDevice(key, "d");
  }
  const nowMs = systemClock.nowMs();
  await importDays(api, nowMs);
  assert.deepEqual([await countOf(api, "a"), await countOf(api, "b")], [DAYS, DAYS]);
  await api.request("PATCH", "/api/v1/products/a", { retentionDays: 7 });
  const kept = await waitFor(async () => {
    const count = await countOf(api, "a");
    return count < DAYS ? count : undefined;
  }, { what: "the old points to be gone", withinMs: WITHIN_MS });
  assert.equal(kept, 8, "today and seven days");
  assert.equal(await countOf(api, "b"), DAYS);
  await roost.restart();
  const again = await roost.api();
  await again.request("PATCH", "/api/v1/products/a", { retentionDays: null });
  await importDays(again, nowMs);
  assert.deepEqual([await countOf(again, "a"), await countOf(again, "b")], [8, DAYS]);
});
