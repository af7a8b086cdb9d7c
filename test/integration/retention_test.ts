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

/** Today and seven days, of points a day apart; one less if midnight came since they were made. */
function assertKept(count: number, madeAtMs: number): void {
  const dayOf = (atMs: number) => Math.floor(atMs / DAY_MS);
  const isNextDay = dayOf(systemClock.nowMs()) > dayOf(madeAtMs);
  assert.ok(count === 8 || (isNextDay && count === 7), `${count} points are left`);
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
  await waitFor(async () => await countOf(api, "a") < DAYS, {
    what: "the old points to be gone",
    withinMs: WITHIN_MS,
  });
  // A query that was under way may have had some of them still; the next one has none.
  assertKept(await countOf(api, "a"), nowMs);
  assert.equal(await countOf(api, "b"), DAYS);
  await roost.restart();
  const again = await roost.api();
  await again.request("PATCH", "/api/v1/products/a", { retentionDays: null });
  await importDays(again, nowMs);
  assertKept(await countOf(again, "a"), nowMs);
  assert.equal(await countOf(again, "b"), DAYS);
});
