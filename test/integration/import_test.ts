/** Imports of the real process: one that lives through `kill -9` beside devices that go on sending. */
import assert from "node:assert/strict";
import { systemClock } from "../../runtime/clock.ts";
import type { Job } from "../../actors/job/job.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import type { RoostApi } from "../support/roost_api.ts";
import { waitFor } from "../support/wait.ts";

const LINES = 150_000;
const JOB_MS = 90_000;
const PATH = "/api/v1/jobs/telemetry-import";

async function upload(api: RoostApi, text: string, path = PATH): Promise<Job> {
  const answer = await api.upload(path, "text/csv", text);
  const job = await answer.json();
  assert.equal(answer.status, 202, JSON.stringify(job));
  return job;
}

async function ended(api: RoostApi, id: string): Promise<Job> {
  const job = await waitFor(async () => {
    const found = await api.request<Job>("GET", `/api/v1/jobs/${id}`);
    return found.finishedAt === undefined ? undefined : found;
  }, { what: "the end of the import", withinMs: JOB_MS });
  assert.equal(job.status, "done", JSON.stringify(job));
  return job;
}

async function post(roost: TestRoost, secret: string, n: number): Promise<void> {
  const answer = await fetch(`${roost.urls.http}/ingest/v1/pump/live/properties`, {
    method: "POST",
    headers: {
      authorization: `Basic ${btoa(`pump/live:${secret}`)}`,
      "content-type": "application/json",
    },
    body: JSON.stringify({ n }),
  });
  const text = await answer.text();
  assert.equal(answer.status, 202, text);
}

Deno.test("an import that was killed on its way, and run twice, has every point once", async () => {
  await using roost = await startRoost();
  const api = await roost.api();
  await api.createProduct({ key: "pump" });
  await api.createDevice("pump", "old");
  const { secret } = await api.createDevice("pump", "live");
  const toMs = systemClock.nowMs() - 3_600_000;
  const fromMs = toMs - LINES * 60_000;
  const rows = Array.from({ length: LINES }, (_, n) => `pump/old,n,${fromMs + n * 60_000},${n}\n`);
  const text = "device,key,at,value\n" + rows.join("");
  const { id } = await upload(api, text);
  let posts = 0;
  await waitFor(async () => {
    await post(roost, secret, posts++); // What devices send is taken all the while.
    return (await api.request<Job>("GET", `/api/v1/jobs/${id}`)).progress > 0.05;
  }, { what: "the import to be under way", withinMs: JOB_MS, everyMs: 5 });
  await roost.restart();
  const again = await roost.api();
  const { result } = await ended(again, id);
  const first = result as { lines: number; points: number; repeats: number; refused: number };
  assert.deepEqual([first.lines, first.points + first.repeats], [LINES + 1, LINES]);
  assert.equal(first.refused, 0);
  const second = (await ended(again, (await upload(again, text)).id)).result;
  assert.deepEqual(
    second,
    { lines: LINES + 1, points: 0, repeats: LINES, expired: 0, refused: 0 },
  );
  const points = await again.history("pump", "old", "n", { fromMs, toMs });
  assert.equal(points.length, LINES);
  points.forEach(([at, value], n) => {
    if (at !== fromMs + n * 60_000 || value !== n) assert.fail(`point ${n}: ${at} ${value}`);
  });
  await waitFor(async () => {
    const page = await again.telemetry("pump", "live", { keys: "n", from: toMs });
    return page.series["n"]?.length === posts;
  }, { what: "what the device sent to be stored", withinMs: JOB_MS });
});

Deno.test("devices whose import was killed on its way are made once, with secrets that let them in", async () => {
  await using roost = await startRoost();
  const api = await roost.api();
  await api.createProduct({ key: "pump" });
  const names = Array.from({ length: 20_000 }, (_, n) => `pump,d-${n}\n`);
  const path = "/api/v1/jobs/device-import";
  const { id } = await upload(api, "product,device\n" + names.join(""), path);
  await waitFor(
    async () => (await api.request<Job>("GET", `/api/v1/jobs/${id}`)).progress > 0.1,
    { what: "the import to be under way", withinMs: JOB_MS, everyMs: 5 },
  );
  await roost.restart();
  const again = await roost.api();
  const { result } = await ended(again, id);
  const { created, existing, refused } = result as Record<string, number>;
  assert.deepEqual([created, existing, refused], [20_000, 0, 0]);
  const file = await again.fetch("GET", `/api/v1/jobs/${id}/result`);
  const lines = (await file.text()).trimEnd().split("\r\n").slice(1).map((line) => line.split(","));
  assert.deepEqual(lines.map(([, , device]) => device), names.map((_, n) => `d-${n}`));
  for (let n = 0; n < lines.length; n += 199) { // From before, around and after the kill.
    const [, product, device, , secret] = lines[n]!;
    const answer = await fetch(`${roost.urls.http}/ingest/v1/${product}/${device}/properties`, {
      method: "POST",
      headers: {
        authorization: `Basic ${btoa(`${product}/${device}:${secret}`)}`,
        "content-type": "application/json",
      },
      body: '{"n":1}',
    });
    assert.equal(answer.status, 202, `${device}: ${await answer.text()}`);
  }
});
