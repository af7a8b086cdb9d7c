import assert from "node:assert/strict";
import type { Job } from "../../actors/job/job.ts";
import { cellsOf } from "../../actors/job/csv.ts";
import { JOB_LIMITS } from "../../runtime/job_limits.ts";
import { HttpHarness } from "../../test/support/http_harness.ts";
import { waitFor } from "../../test/support/wait.ts";

type Headers = Record<string, string>;

const PATH = "/api/v1/jobs/device-import";

async function opened(): Promise<HttpHarness> {
  const harness = await HttpHarness.start({ rate: { perSecond: 1e6, burst: 1e6 } });
  await harness.provision();
  return harness;
}

async function started(
  harness: HttpHarness,
  headers: Headers,
  body: string,
  type: string,
  query = "",
): Promise<string> {
  const sent = { ...headers, "content-type": type };
  const answer = await harness.send("POST", PATH + query, { headers: sent, body });
  const job = await answer.json();
  assert.equal(answer.status, 202, JSON.stringify(job));
  return job.id;
}

async function read(harness: HttpHarness, headers: Headers, id: string): Promise<Job> {
  await harness.clock.advance(200);
  return await (await harness.send("GET", `/api/v1/jobs/${id}`, { headers })).json();
}

async function ended(harness: HttpHarness, headers: Headers, id: string): Promise<Job> {
  const job = await waitFor(async () => {
    const found = await read(harness, headers, id);
    return found.finishedAt === undefined ? undefined : found;
  }, { what: "the end of the import", withinMs: 20_000 });
  assert.equal(job.status, "done", JSON.stringify(job));
  return job;
}

async function fileOf(harness: HttpHarness, headers: Headers, id: string): Promise<string> {
  return await (await harness.send("GET", `/api/v1/jobs/${id}/result`, { headers })).text();
}

Deno.test("devices of a table are made, with secrets that let them in, for an hour to be fetched", async () => {
  await using harness = await opened();
  const headers = await harness.login("operator");
  harness.runJobs();
  const rows = Array.from({ length: 600 }, (_, i) => `d-${i},Pump ${i},hall-2; spare ,`);
  const table = [
    "device,name,tags,secret",
    ...rows,
    "own,,,a secret of its own",
    "p-1,,,",
    "d-5,,,",
  ];
  const id = await started(harness, headers, table.join("\r\n"), "text/csv", "?product=pump");
  const { result } = await ended(harness, headers, id);
  const { expiresAt: _, ...counts } = result as Record<string, number>;
  assert.deepEqual(counts, { lines: 604, created: 601, existing: 2, refused: 0 });
  const lines = (await fileOf(harness, headers, id)).trimEnd().split("\r\n");
  assert.equal(lines[0], "line,product,device,status,secret,path,rule,message");
  const secrets = new Map(
    lines.slice(1).map((line) => {
      const [, product, device, , secret] = cellsOf(line)!.cells;
      return [`${product}/${device}`, secret!];
    }),
  );
  assert.equal(secrets.size, 601);
  const { directory } = harness.ports;
  for (let i = 0; i < 600; i++) {
    const secret = secrets.get(`pump/d-${i}`)!;
    assert.match(secret, /^[A-Za-z0-9]/, "it stands in the table as it is");
    assert.ok(directory.login("pump", `d-${i}`, secret).ok, `d-${i}`);
  }
  assert.equal(secrets.get("pump/own"), "", "what was brought along is not told again");
  assert.ok(directory.login("pump", "own", "a secret of its own").ok);
  const made = (await harness.devices.get("pump", "d-7"))!;
  assert.deepEqual([made.name, made.tags, made.enabled], ["Pump 7", ["hall-2", "spare"], true]);
  await harness.clock.advance(JOB_LIMITS.jobSecretResultMs);
  const late = await harness.send("GET", `/api/v1/jobs/${id}/result`, { headers });
  assert.equal(late.status, 410);
  await late.body?.cancel();
});

Deno.test("lines that are no device are refused one by one, and those of another project's product", async () => {
  await using harness = await opened();
  await harness.projects.create({ id: "plant" });
  await harness.products.create({ key: "theirs", project: "plant" });
  const headers = await harness.login("operator");
  harness.runJobs();
  const lines: [unknown, string | undefined][] = [
    [{ product: "pump", device: "a", enabled: false, tags: ["x"] }, undefined],
    [{ device: "b" }, "required"],
    [{ product: "pump" }, "required"],
    [{ product: "theirs", device: "c" }, "unknown"],
    [{ product: "none", device: "c" }, "unknown"],
    [{ product: "pump", device: "a b" }, "name"],
    [{ product: "pump", device: "d", secret: "short" }, "length"],
    [{ product: "pump", device: "d", enabled: "yes" }, "type"],
    [{ product: "pump", device: "d", tags: "x" }, "type"],
    [{ product: "pump", device: "d", admin: true }, "unknown"],
    [["pump", "d"], "type"],
  ];
  const body = lines.map(([line]) => JSON.stringify(line)).join("\n");
  const id = await started(harness, headers, body, "application/x-ndjson");
  const { result } = await ended(harness, headers, id);
  const { expiresAt: _, ...counts } = result as Record<string, number>;
  assert.deepEqual(counts, { lines: 11, created: 1, existing: 0, refused: 10 });
  const told = (await fileOf(harness, headers, id)).trimEnd().split("\n")
    .map((line) => JSON.parse(line));
  const refused = told.filter(({ status }) => status === "refused");
  assert.deepEqual(
    refused.map(({ line, rule }) => [line, rule]),
    lines.flatMap(([, rule], i) => rule === undefined ? [] : [[i + 1, rule]]),
  );
  assert.equal((await harness.devices.get("pump", "a"))!.enabled, false);
  assert.equal(await harness.devices.get("theirs", "c"), undefined);
});

Deno.test("an import waits for the removal of a device of the same name", async () => {
  await using harness = await opened();
  const headers = await harness.login("operator");
  const { db } = harness.store;
  await db.insertInto("followers").values({ name: "device_removals", position: 0 }).execute();
  await harness.devices.delete("pump", "p-1");
  harness.runJobs();
  const body = ["p-1", "p-2"].map((device) => JSON.stringify({ product: "pump", device }));
  const id = await started(harness, headers, body.join("\n"), "application/x-ndjson");
  for (let i = 0; i < 20; i++) assert.notEqual((await read(harness, headers, id)).status, "done");
  assert.equal(await harness.devices.get("pump", "p-1"), undefined);
  await db.updateTable("followers").set({ position: 1_000 }).execute();
  const { result } = await ended(harness, headers, id);
  assert.equal((result as { created: number }).created, 2);
  const told = (await fileOf(harness, headers, id)).trimEnd().split("\n")
    .map((line) => JSON.parse(line));
  assert.equal(told.length, 2, "each is listed once, though it was tried often");
  for (const { device, secret } of told) {
    assert.ok(harness.ports.directory.login("pump", device, secret).ok, device);
  }
});
