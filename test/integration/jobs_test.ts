/** Jobs of the real process: an export that lives through `kill -9` has every point once. */
import assert from "node:assert/strict";
import { systemClock } from "../../runtime/clock.ts";
import type { Job } from "../../actors/job/job.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import type { RoostApi } from "../support/roost_api.ts";
import { waitFor } from "../support/wait.ts";

const POSTS = 120;
const POINTS_PER_POST = 1_000;
const POINTS = POSTS * POINTS_PER_POST;
const JOB_MS = 60_000;

async function report(roost: TestRoost, api: RoostApi, fromMs: number): Promise<void> {
  await api.createProduct({ key: "pump" });
  const { secret } = await api.createDevice("pump", "p-1");
  const authorization = `Basic ${btoa(`pump/p-1:${secret}`)}`;
  for (let post = 0; post < POSTS; post++) {
    const samples = Array.from({ length: POINTS_PER_POST }, (_, i) => {
      const n = post * POINTS_PER_POST + i;
      return { at: fromMs + n, values: { n } };
    });
    const answer = await fetch(`${roost.urls.http}/ingest/v1/pump/p-1/properties`, {
      method: "POST",
      headers: { authorization, "content-type": "application/json" },
      body: JSON.stringify(samples),
    });
    const text = await answer.text();
    assert.equal(answer.status, 202, text);
  }
}

Deno.test("an export is whole though the process was killed while it ran", async () => {
  await using roost = await startRoost();
  const api = await roost.api();
  const fromMs = systemClock.nowMs() - 3_600_000;
  await report(roost, api, fromMs);
  await waitFor(async () => {
    const page = await api.telemetry("pump", "p-1", { keys: "n", from: fromMs + POINTS - 1 });
    return page.series["n"]?.length === 1;
  }, { what: "the last point to be stored", withinMs: JOB_MS });
  const path = "/api/v1/jobs/telemetry-export";
  const { id } = await api.request<Job>("POST", path, { format: "csv", keys: ["n"] });
  await waitFor(async () => {
    const { status, detail } = await api.request<Job>("GET", `/api/v1/jobs/${id}`);
    return status === "running" && detail !== undefined && !detail.includes(" 0 points");
  }, { what: "the export to be under way", withinMs: JOB_MS, everyMs: 5 });
  await roost.restart();
  const again = await roost.api();
  const job = await waitFor(async () => {
    const found = await again.request<Job>("GET", `/api/v1/jobs/${id}`);
    return found.finishedAt === undefined ? undefined : found;
  }, { what: "the end of the export", withinMs: JOB_MS });
  assert.equal(job.status, "done", JSON.stringify(job));
  const answer = await again.fetch("GET", `/api/v1/jobs/${id}/result`);
  const lines = (await answer.text()).trimEnd().split("\r\n").slice(1);
  assert.equal(lines.length, POINTS);
  lines.forEach((line, n) => {
    if (line !== `pump,p-1,n,${fromMs + n},${n}`) assert.fail(`line ${n}: ${line}`);
  });
});
