import assert from "node:assert/strict";
import type { Job } from "../../actors/job/job.ts";
import { JOB_LIMITS } from "../../runtime/job_limits.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { EventReader } from "../../test/support/event_reader.ts";
import { HttpHarness, START_MS } from "../../test/support/http_harness.ts";
import { waitFor } from "../../test/support/wait.ts";

type Headers = Record<string, string>;

async function prepared(points: number): Promise<HttpHarness> {
  const harness = await HttpHarness.start({ rate: { perSecond: 1e6, burst: 1e6 } });
  await harness.provision();
  const samples = Array.from({ length: points }, (_, offset) => ({
    device: "pump/p-1",
    atMs: START_MS + offset,
    partition: 0,
    offset,
    position: 0,
    values: new TextEncoder().encode(
      JSON.stringify({ t: -offset, "=note": offset % 2 === 0 ? "=1+1" : "plain" }),
    ),
  }));
  await harness.telemetry.write({ samples, cursor: 1 });
  return harness;
}

async function startExport(
  harness: HttpHarness,
  headers: Headers,
  change: Record<string, unknown> = {},
): Promise<Job> {
  const json = { format: "csv", to: START_MS + 1e6, ...change };
  const answer = await harness.send("POST", "/api/v1/jobs/telemetry-export", { headers, json });
  const body = await answer.json();
  assert.equal(answer.status, 202, JSON.stringify(body));
  assert.equal(answer.headers.get("location"), `/api/v1/jobs/${body.id}`);
  return body;
}

async function read(harness: HttpHarness, headers: Headers, id: string): Promise<Job> {
  const answer = await harness.send("GET", `/api/v1/jobs/${id}`, { headers });
  assert.equal(answer.status, 200);
  return await answer.json();
}

async function finished(harness: HttpHarness, headers: Headers, id: string): Promise<Job> {
  return await waitFor(async () => {
    await harness.clock.advance(200);
    const job = await read(harness, headers, id);
    return job.finishedAt === undefined ? undefined : job;
  }, { what: "the end of the job", withinMs: 20_000 });
}

async function fetchResult(harness: HttpHarness, headers: Headers, id: string, more: Headers = {}) {
  const path = `/api/v1/jobs/${id}/result`;
  return await harness.send("GET", path, { headers: { ...headers, ...more } });
}

/** Of the fetch, whose body nobody wants. */
async function resultStatus(harness: HttpHarness, headers: Headers, id: string): Promise<number> {
  const answer = await fetchResult(harness, headers, id);
  await answer.body?.cancel();
  return answer.status;
}

Deno.test("history is exported as CSV, with formulas guarded, and followed live", async () => {
  await using harness = await prepared(5_000);
  const headers = await harness.login("operator");
  const live = await harness.send("GET", "/api/v1/live?topics=jobs", { headers });
  await using feed = new EventReader(live.body!);
  await feed.nextOf("hello");
  harness.runJobs();
  const { id, status, progress } = await startExport(harness, headers);
  assert.deepEqual([status, progress], ["queued", 0]);
  const job = await finished(harness, headers, id);
  assert.equal(job.status, "done", JSON.stringify(job));
  const result = job.result as { points: number; bytes: number; expiresAt: number };
  assert.equal(result.points, 10_000);
  assert.equal(job.detail, "1 of 1 devices, 10000 points", "what it was at last");
  const answer = await fetchResult(harness, headers, id);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("content-type"), "text/csv; charset=utf-8");
  assert.match(
    answer.headers.get("content-disposition")!,
    /^attachment; filename="telemetry-.*csv"$/,
  );
  const text = await answer.text();
  assert.equal(text.length, result.bytes);
  const lines = text.trimEnd().split("\r\n");
  assert.equal(lines.length, 10_001);
  assert.equal(lines[0], "product,device,key,at,value");
  assert.ok(lines.includes(`pump,p-1,t,${START_MS + 7},-7`));
  assert.ok(lines.includes(`pump,p-1,'=note,${START_MS + 8},'=1+1`));
  assert.ok(!lines.some((line) => line.split(",").some((cell) => /^[=@+]/.test(cell))));
  const statuses = new Set<string>();
  while (!statuses.has("done")) statuses.add((await feed.nextOf("change")).data.value.status);
  assert.ok(statuses.has("queued") && statuses.has("running"));
});

Deno.test("NDJSON has the points of one moment in a line; devices and keys can be chosen", async () => {
  await using harness = await prepared(10);
  await harness.devices.create({ product: "pump", device: "p-2", secret: "secret-2" });
  const headers = await harness.login("owner");
  harness.runJobs();
  const { id } = await startExport(harness, headers, { format: "ndjson", devices: ["pump/p-1"] });
  await finished(harness, headers, id);
  const lines = (await (await fetchResult(harness, headers, id)).text()).trimEnd().split("\n");
  assert.equal(lines.length, 10);
  assert.deepEqual(JSON.parse(lines[2]!), {
    product: "pump",
    device: "p-1",
    at: START_MS + 2,
    values: { "=note": "=1+1", t: -2 },
  });
  const span = { keys: ["t"], from: START_MS + 3, to: START_MS + 5, product: "pump" };
  const some = await startExport(harness, headers, span);
  const { result } = await finished(harness, headers, some.id);
  assert.deepEqual(
    [(result as { points: number }).points, (result as { devices: number }).devices],
    [
      ...[2, 2],
    ],
  );
});

Deno.test("a part of the file can be fetched, by the range that was asked for", async () => {
  await using harness = await prepared(20);
  const headers = await harness.login("operator");
  harness.runJobs();
  const { id } = await startExport(harness, headers, { keys: ["t"] });
  await finished(harness, headers, id);
  const whole = await (await fetchResult(harness, headers, id)).text();
  const size = whole.length;
  const etag = `"${id}"`;
  const cases: [Headers, number, string | undefined][] = [
    [{ range: "bytes=0-6" }, 206, whole.slice(0, 7)],
    [{ range: "bytes=10-" }, 206, whole.slice(10)],
    [{ range: "bytes=-5" }, 206, whole.slice(-5)],
    [{ range: `bytes=5-${size + 100}` }, 206, whole.slice(5)],
    [{ range: "bytes=0-6", "if-range": etag }, 206, whole.slice(0, 7)],
    [{ range: "bytes=0-6", "if-range": '"other"' }, 200, whole],
    [{ range: "bytes=0-1,4-5" }, 200, whole],
    [{ range: "bytes=9-3" }, 200, whole],
    [{ range: "lines=1-2" }, 200, whole],
    [{ range: `bytes=${size}-` }, 416, undefined],
    [{ range: "bytes=-0" }, 416, undefined],
  ];
  for (const [more, status, text] of cases) {
    const answer = await fetchResult(harness, headers, id, more);
    const said = JSON.stringify(more);
    assert.equal(answer.status, status, said);
    const body = await answer.text();
    if (text === undefined) assert.equal(answer.headers.get("content-range"), `bytes */${size}`);
    else assert.equal(body, text, said);
    if (status !== 206) continue;
    const [, from, to] = /^bytes (\d+)-(\d+)\//.exec(answer.headers.get("content-range")!)!;
    assert.equal(whole.slice(Number(from), Number(to) + 1), text, said);
  }
  const head = await harness.send("HEAD", `/api/v1/jobs/${id}/result`, { headers });
  assert.equal(head.headers.get("content-length"), String(size));
});

Deno.test("a file expires, and is removed with its job's cancellation", async () => {
  await using harness = await prepared(5);
  const headers = await harness.login("owner");
  harness.runJobs();
  const one = await startExport(harness, headers);
  const two = await startExport(harness, headers);
  await finished(harness, headers, one.id);
  await finished(harness, headers, two.id);
  const removed = await harness.send("DELETE", `/api/v1/jobs/${one.id}`, { headers });
  assert.equal(removed.status, 204);
  assert.equal(await resultStatus(harness, headers, one.id), 410);
  assert.equal((await read(harness, headers, one.id)).status, "done");
  assert.equal(await resultStatus(harness, headers, two.id), 200);
  await harness.clock.advance(JOB_LIMITS.jobResultMs);
  const again = await harness.login("operator");
  assert.equal(await resultStatus(harness, again, two.id), 410);
  await waitFor(async () => {
    await harness.clock.advance(60_000);
    return harness.jobFiles.bytes === 0;
  }, { what: "the files to be removed", withinMs: 20_000 });
});

Deno.test("a job is cancelled while it waits or runs, and ends nothing else", async () => {
  await using harness = await prepared(20_000);
  const headers = await harness.login("operator");
  const waiting = await startExport(harness, headers);
  assert.equal(
    (await harness.send("DELETE", `/api/v1/jobs/${waiting.id}`, { headers })).status,
    204,
  );
  assert.equal((await read(harness, headers, waiting.id)).status, "cancelled");
  const { id } = await startExport(harness, headers);
  harness.runJobs();
  await waitFor(async () => {
    await harness.clock.advance(1);
    return (await read(harness, headers, id)).status === "running";
  }, { what: "the job to run", withinMs: 20_000 });
  for (let i = 0; i < 2; i++) {
    assert.equal((await harness.send("DELETE", `/api/v1/jobs/${id}`, { headers })).status, 204);
  }
  await waitFor(async () => {
    await harness.clock.advance(200);
    return harness.jobFiles.bytes === 0;
  }, { what: "its file to be removed", withinMs: 20_000 });
  assert.equal((await read(harness, headers, id)).status, "cancelled");
  assert.equal(await resultStatus(harness, headers, id), 409);
  const list = await (await harness.send("GET", "/api/v1/jobs?limit=1", { headers })).json();
  assert.equal(list.items[0].id, id);
  const path = `/api/v1/jobs?cursor=${encodeURIComponent(list.nextCursor)}`;
  const rest = await (await harness.send("GET", path, { headers })).json();
  assert.deepEqual(rest.items.map((job: Job) => job.id), [waiting.id]);
  assert.equal((await harness.send("GET", "/api/v1/jobs?cursor=x", { headers })).status, 400);
  for (const [filter, count] of [["", 2], ["&status=done", 0], ["&kind=deviceImport", 0]]) {
    const counted = await harness.send("GET", `/api/v1/jobs?limit=1&count=true${filter}`, {
      headers,
    });
    assert.equal((await counted.json()).count, count, `${filter}`);
  }
});

Deno.test("jobs are of their project, and reading what they made takes the right to make it", async () => {
  await using harness = await prepared(3);
  const headers = await harness.login("operator");
  harness.runJobs();
  const { id } = await startExport(harness, headers);
  await finished(harness, headers, id);
  const statusOf = (of: Headers) => resultStatus(harness, of, id);
  assert.equal(await statusOf(await harness.key("jobs:read")), 403, "not without devices:read");
  assert.equal(await statusOf(await harness.key("jobs:read", "devices:read")), 200);
  assert.equal(await statusOf(await harness.login("viewer")), 403);
  const refused: [unknown, number][] = [
    [{ format: "xlsx" }, 400],
    [{}, 400],
    [{ format: "csv", product: "other" }, 404],
    [{ format: "csv", devices: ["pump/p-9"] }, 404],
    [{ format: "csv", devices: ["../../etc/passwd"] }, 404],
    [{ format: "csv", devices: [] }, 400],
    [{ format: "csv", path: "/etc/passwd" }, 400],
  ];
  for (const [json, status] of refused) {
    const answer = await harness.send("POST", "/api/v1/jobs/telemetry-export", { headers, json });
    assert.equal(answer.status, status, JSON.stringify(json));
  }
  for (const other of ["x", "..%2f..%2fregistry", encodeURIComponent("' or 1=1 --")]) {
    assert.equal((await harness.send("GET", `/api/v1/jobs/${other}`, { headers })).status, 404);
    assert.equal(await resultStatus(harness, headers, other), 404);
  }
});

Deno.test("open jobs of a project are bounded", async () => {
  await using harness = await prepared(1);
  const headers = await harness.login("operator");
  for (let i = 0; i < JOB_LIMITS.jobsOpenMax; i++) await startExport(harness, headers);
  const answer = await harness.send("POST", "/api/v1/jobs/telemetry-export", {
    headers,
    json: { format: "csv" },
  });
  assert.equal(answer.status, 409);
  assert.match((await answer.json()).detail, /jobsOpenMax/);
});

Deno.test("what a device with a clock ahead has reported is read and exported with the rest", async () => {
  await using harness = await prepared(3);
  const atMs = START_MS + LIMITS.aheadMsMax;
  const values = new TextEncoder().encode('{"t":7}');
  const ahead = { device: "pump/p-1", atMs, partition: 0, offset: 9, position: 0, values };
  await harness.telemetry.write({ samples: [ahead], cursor: 2 });
  const headers = await harness.login("operator");
  const path = "/api/v1/devices/pump/p-1/telemetry?keys=t";
  const { series } = await (await harness.send("GET", path, { headers })).json();
  assert.deepEqual(series.t.at(-1), [atMs, 7]);
  harness.runJobs();
  const json = { format: "csv", keys: ["t"] };
  const started = await harness.send("POST", "/api/v1/jobs/telemetry-export", { headers, json });
  const { id } = await started.json();
  await finished(harness, headers, id);
  const text = await (await fetchResult(harness, headers, id)).text();
  assert.deepEqual(text.trim().split("\r\n").at(-1), `pump,p-1,t,${atMs},7`);
});

Deno.test("events are exported page by page, newest first, by name if need be", async () => {
  await using harness = await prepared(1);
  const count = LIMITS.eventsPageMax + 20;
  const events = Array.from({ length: count }, (_, offset) => ({
    device: "pump/p-1",
    event: offset % 2 === 0 ? "=hot" : "cold",
    atMs: START_MS + offset,
    partition: 0,
    offset: 100 + offset,
    body: new TextEncoder().encode(JSON.stringify({ n: offset, say: "=1+1, now" })),
  }));
  await harness.telemetry.write({ samples: [], events, cursor: 2 });
  const headers = await harness.login("operator");
  harness.runJobs();
  const all = await startExport(harness, headers, { kind: "events", product: "pump" });
  const { result } = await finished(harness, headers, all.id);
  assert.deepEqual([(result as Record<string, number>).events, count], [count, count]);
  const answer = await fetchResult(harness, headers, all.id);
  assert.match(answer.headers.get("content-disposition")!, /filename="events-.*csv"/);
  const lines = (await answer.text()).trimEnd().split("\r\n");
  assert.equal(lines.length, count + 1);
  assert.equal(lines[0], "product,device,event,at,data");
  assert.equal(
    lines[2],
    `pump,p-1,'=hot,${START_MS + count - 2},"{""n"":${count - 2},""say"":""=1+1, now""}"`,
  );
  const asked = { kind: "events", format: "ndjson", keys: ["cold", "none"], to: START_MS + 3 };
  const some = await startExport(harness, headers, asked);
  await finished(harness, headers, some.id);
  const text = await (await fetchResult(harness, headers, some.id)).text();
  assert.deepEqual(JSON.parse(text), {
    product: "pump",
    device: "p-1",
    event: "cold",
    at: START_MS + 1,
    data: { n: 1, say: "=1+1, now" },
  });
  const points = await startExport(harness, headers, { kind: "points", keys: ["t"] });
  assert.equal(
    ((await finished(harness, headers, points.id)).result as { points: number }).points,
    1,
  );
  const bad = { format: "csv", kind: "alarms" };
  const path = "/api/v1/jobs/telemetry-export";
  assert.equal((await harness.send("POST", path, { headers, json: bad })).status, 400);
});

Deno.test("one Idempotency-Key starts one job", async () => {
  await using harness = await prepared(1);
  const headers = { ...await harness.login("operator"), "idempotency-key": "k-1" };
  const one = await startExport(harness, headers);
  const again = await startExport(harness, headers);
  assert.equal(again.id, one.id);
  const list = await (await harness.send("GET", "/api/v1/jobs", { headers })).json();
  assert.equal(list.items.length, 1);
});
