import assert from "node:assert/strict";
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Job } from "../../actors/job/job.ts";
import { JOB_LIMITS } from "../../runtime/job_limits.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { HttpHarness, START_MS } from "../../test/support/http_harness.ts";
import { waitFor } from "../../test/support/wait.ts";

type Headers = Record<string, string>;

const PATH = "/api/v1/jobs/telemetry-import";
const TYPES = { csv: "text/csv", ndjson: "application/x-ndjson" };

interface ImportResult {
  readonly lines: number;
  readonly points: number;
  readonly repeats: number;
  readonly refused: number;
  readonly firstRefusals?: readonly { readonly line: number; readonly rule: string }[];
}

async function opened(): Promise<HttpHarness> {
  const harness = await HttpHarness.start({ rate: { perSecond: 1e6, burst: 1e6 } });
  await harness.provision();
  return harness;
}

async function upload(
  harness: HttpHarness,
  headers: Headers,
  body: BodyInit,
  type: keyof typeof TYPES = "ndjson",
  query = "",
): Promise<Response> {
  const sent = { ...headers, "content-type": TYPES[type] };
  return await harness.send("POST", PATH + query, { headers: sent, body });
}

async function finished(harness: HttpHarness, headers: Headers, id: string): Promise<Job> {
  return await waitFor(async () => {
    await harness.clock.advance(200);
    const answer = await harness.send("GET", `/api/v1/jobs/${id}`, { headers });
    const job = await answer.json() as Job;
    return job.finishedAt === undefined ? undefined : job;
  }, { what: "the end of the import", withinMs: 20_000 });
}

async function imported(
  harness: HttpHarness,
  headers: Headers,
  body: string,
  type: keyof typeof TYPES = "ndjson",
  query = "",
): Promise<ImportResult> {
  const answer = await upload(harness, headers, body, type, query);
  const job = await answer.json();
  assert.equal(answer.status, 202, JSON.stringify(job));
  const ended = await finished(harness, headers, job.id);
  assert.equal(ended.status, "done", JSON.stringify(ended));
  return ended.result as unknown as ImportResult;
}

async function pointsOf(harness: HttpHarness, device: string, metric: string) {
  const span = { fromMs: 0, toMs: START_MS * 2, limit: 10_000 };
  return (await harness.telemetry.range({ device, metrics: [metric], ...span })).series[metric]!;
}

const NASTY: readonly Json[] = [
  ...["=1+1", "'=1", "-5", "1", "true", "null", "", " a ", 'say "no", now', "two\r\nlines\n"],
  ...[-5, 0.1, true, ["a", 1], { a: { b: "=x" } }],
];

Deno.test("what was exported is imported elsewhere as it was, and again changes nothing", async () => {
  for (const format of ["csv", "ndjson"] as const) {
    await using from = await opened();
    await using to = await opened();
    const samples = NASTY.map((value, i) => ({
      device: "pump/p-1",
      atMs: START_MS - i * 1_000,
      values: { any: value, "-key": i },
    }));
    await from.telemetry.importSamples(samples);
    from.runJobs();
    to.runJobs();
    const headers = await from.login("operator");
    const json = { format };
    const started = await from.send("POST", "/api/v1/jobs/telemetry-export", { headers, json });
    const { id } = await started.json();
    await finished(from, headers, id);
    const file = await from.send("GET", `/api/v1/jobs/${id}/result`, { headers });
    const text = await file.text();
    const there = await to.login("operator");
    const first = await imported(to, there, text, format);
    assert.deepEqual([first.points, first.refused], [2 * NASTY.length, 0], JSON.stringify(first));
    const wanted = await pointsOf(from, "pump/p-1", "any");
    assert.deepEqual(await pointsOf(to, "pump/p-1", "any"), wanted, format);
    const again = await imported(to, there, text, format);
    assert.deepEqual([again.points, again.repeats], [0, 2 * NASTY.length]);
    assert.deepEqual(await pointsOf(to, "pump/p-1", "any"), wanted, format);
  }
});

Deno.test("lines that cannot be taken are refused one by one, by line and rule, and listed", async () => {
  await using harness = await opened();
  await harness.projects.create({ id: "plant" });
  await harness.products.create({ key: "theirs", project: "plant" });
  await harness.devices.create({ product: "theirs", device: "d" });
  const day = 86_400_000;
  const late = START_MS - JOB_LIMITS.importLateDaysMax * day - 1;
  const lines: [unknown, string | undefined][] = [
    [{ device: "pump/p-1", key: "t", at: START_MS - 400 * day, value: 1 }, undefined],
    [{ product: "pump", device: "p-1", values: { t: 2, u: "x" }, at: START_MS }, undefined],
    [{ device: "p-1", key: "t", at: 5, value: 3 }, "required"],
    [{ device: "pump/p-2", key: "t", at: START_MS, value: 1 }, "unknown"],
    [{ device: "theirs/d", key: "t", at: START_MS, value: 1 }, "unknown"],
    [
      { device: "pump/p-1", key: "t", at: START_MS + LIMITS.aheadMsMax + 100_000, value: 1 },
      "ahead",
    ],
    [{ device: "pump/p-1", key: "t", at: late, value: 1 }, "late"],
    [{ device: "pump/p-1", key: "t", at: 1.5, value: 1 }, "type"],
    [{ device: "pump/p-1", key: "t", at: "2020", value: 1 }, "type"],
    [{ device: "pump/p-1", key: "a b", at: START_MS, value: 1 }, "name"],
    [{ device: "pump/p-1", key: "t", at: START_MS }, "required"],
    [{ device: "pump/p-1", at: START_MS, values: {} }, "count"],
    [{ device: "pump/p-1", at: START_MS, values: { t: 1 }, extra: 1 }, "unknown"],
    [{ device: "pump/../x", key: "t", at: START_MS, value: 1 }, "name"],
    [{ device: "pump/p-1", product: "theirs", key: "t", at: START_MS, value: 1 }, "product"],
    [{ device: 7, key: "t", at: START_MS, value: 1 }, "type"],
    ["{", "json"],
    ['{"device":"pump/p-1","at":1700000000000,"values":{"__proto__":1}}', "value"],
    ['{"device":"pump/p-1","at":1700000000000,"key":"t","value":1e999}', "value"],
  ];
  const text = lines.map(([line]) => typeof line === "string" ? line : JSON.stringify(line));
  const headers = await harness.login("operator");
  harness.runJobs();
  const answer = await upload(harness, headers, text.join("\n"));
  const { id } = await answer.json();
  const job = await finished(harness, headers, id);
  const result = job.result as unknown as ImportResult;
  assert.deepEqual([result.lines, result.points], [lines.length, 3], JSON.stringify(job));
  const wanted = lines.flatMap(([, rule], i) => rule === undefined ? [] : [[i + 1, rule]]);
  assert.deepEqual(result.firstRefusals!.map(({ line, rule }) => [line, rule]), wanted);
  const report = await harness.send("GET", `/api/v1/jobs/${id}/result`, { headers });
  const listed = (await report.text()).trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(listed.map(({ line, rule }) => [line, rule]), wanted);
  assert.equal(await harness.jobFiles.sizeOf(id, "in"), undefined, "the upload is gone");
});

Deno.test("an import goes on where its runner stopped, and every point is there once", async () => {
  await using harness = await opened();
  const headers = await harness.login("operator");
  const count = 20_000;
  const rows = Array.from({ length: count }, (_, i) => `p-1,t,${START_MS - i},${i}\r\n`);
  const answer = await upload(
    harness,
    headers,
    "device,key,at,value\r\n" + rows.join(""),
    "csv",
    "?product=pump",
  );
  const { id } = await answer.json();
  const progress = async () => {
    await harness.clock.advance(250);
    return (await (await harness.send("GET", `/api/v1/jobs/${id}`, { headers })).json()).progress;
  };
  const runner = harness.runJobs();
  await waitFor(async () => await progress() > 0.2, { what: "some progress", withinMs: 20_000 });
  await runner[Symbol.asyncDispose]();
  assert.ok(await progress() < 1, "it was stopped on its way");
  harness.runJobs();
  const job = await finished(harness, headers, id);
  const { lines, points, repeats, refused } = job.result as unknown as ImportResult;
  assert.deepEqual([lines, points + repeats, refused], [count + 1, count, 0]);
  const span = { fromMs: 0, toMs: START_MS * 2, limit: 100_000 };
  const page = await harness.telemetry.range({ device: "pump/p-1", metrics: ["t"], ...span });
  assert.equal(page.series["t"]!.length, count);
});

Deno.test("an import is cancelled, and its files go", async () => {
  await using harness = await opened();
  const headers = await harness.login("operator");
  const line = JSON.stringify({ device: "pump/p-1", key: "t", at: START_MS, value: 1 });
  const answer = await upload(harness, headers, `${line}\n`.repeat(5_000));
  const { id } = await answer.json();
  harness.runJobs();
  assert.equal((await harness.send("DELETE", `/api/v1/jobs/${id}`, { headers })).status, 204);
  await waitFor(async () => {
    await harness.clock.advance(60_000);
    return harness.jobFiles.bytes === 0;
  }, { what: "its files to be removed", withinMs: 20_000 });
});

Deno.test("an upload is refused by its type, its size, its place and its caller, and leaves nothing", async () => {
  await using harness = await opened();
  const headers = await harness.login("operator");
  const post = async (body: BodyInit, more: Headers, query = "") => {
    const sent = { ...headers, "content-type": TYPES.ndjson, ...more };
    return (await harness.send("POST", PATH + query, { headers: sent, body })).status;
  };
  assert.equal(await post("{}", { "content-type": "application/json" }), 415);
  assert.equal(await post("{}", { "content-type": "text/plain" }), 415);
  assert.equal(await post("{}", { "content-encoding": "gzip" }), 415);
  assert.equal(await post("", {}), 400);
  assert.equal(await post("{}", { "content-length": "1000000000000" }), 413);
  assert.equal(await post("{}", {}, "?product=none"), 404);
  assert.equal(await post("{}", {}, "?surprise=1"), 400);
  const broken = new ReadableStream({ pull: (controller) => controller.error(new Error("gone")) });
  assert.equal(await post(broken, {}), 400);
  const { [`x-csrf-token`]: _, ...withoutToken } = headers;
  const sent = { ...withoutToken, "content-type": TYPES.ndjson };
  assert.equal((await harness.send("POST", PATH, { headers: sent, body: "{}" })).status, 403);
  harness.jobFiles.bytesOf = () => JOB_LIMITS.jobFilesBytesOfProjectMax;
  assert.equal(await post("{}", {}), 429, "the project has its share of the disk");
  assert.equal(harness.jobFiles.bytes, 0);
  assert.deepEqual(harness.jobFiles.ids(), []);
});

Deno.test("uploads that do not come on give way, and only so many come at a time", async () => {
  await using harness = await opened();
  const { jobUploadsMax, jobUploadsOfProjectMax, jobUploadStallMs } = JOB_LIMITS;
  const projects = ["default", "plant-2", "plant-3"];
  const callers: Headers[] = [];
  for (const id of projects) {
    if (id !== "default") assert.ok((await harness.projects.create({ id })).ok);
    callers.push(await harness.login("operator", id));
  }
  const stuck = () => new ReadableStream({ pull: () => new Promise<void>(() => {}) });
  const waiting = callers.slice(0, jobUploadsMax / jobUploadsOfProjectMax).flatMap((headers) =>
    Array.from({ length: jobUploadsOfProjectMax }, () => upload(harness, headers, stuck()))
  );
  await waitFor(() => Promise.resolve(harness.jobFiles.ids().length === jobUploadsMax), {
    what: "the uploads to come",
    withinMs: 20_000,
  });
  const beyond = await Promise.all(callers.map((headers) => upload(harness, headers, "{}")));
  assert.deepEqual(beyond.map(({ status }) => status), [429, 429, 503]);
  assert.ok(beyond.every(({ headers }) => headers.get("retry-after") === "5"));
  assert.match(
    (await beyond[0]!.json()).detail,
    /of the project: 2 come, jobUploadsOfProjectMax is 2/,
  );
  await harness.clock.advance(jobUploadStallMs);
  for (const answer of waiting) assert.equal((await answer).status, 408);
  assert.deepEqual(harness.jobFiles.ids(), []);
  assert.equal((await upload(harness, callers[0]!, "{}")).status, 202);
});
