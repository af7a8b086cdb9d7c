import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { startRoost } from "../support/roost.ts";
import type { RoostApi } from "../support/roost_api.ts";
import { waitFor } from "../support/wait.ts";

const WITHIN_MS = 20_000;

async function report(url: string, device: string, values: object): Promise<void> {
  const answer = await fetch(`${url}/ingest/v1/pump/${device}/properties`, {
    method: "POST",
    headers: {
      "Authorization": `Basic ${btoa(`pump/${device}:secret-of-${device}`)}`,
      "Content-Type": "application/json",
    },
    body: JSON.stringify(values),
  });
  assert.equal(answer.status, 202, await answer.text());
}

async function found(api: RoostApi, query: string): Promise<string> {
  const answer = await api.fetch("GET", `/api/v1/devices?${query}`);
  const { items } = await answer.json();
  // The views are restarted when their index is made anew.
  if (answer.status === 503) return "unavailable";
  return items.map(({ device }: { device: string }) => device).join();
}

async function untilFound(api: RoostApi, query: string, expected: string): Promise<void> {
  let actual = "";
  await waitFor(async () => (actual = await found(api, query)) === expected, {
    what: `devices with ${query}`,
    withinMs: WITHIN_MS,
    actual: () => actual,
  });
}

Deno.test("devices are found by their last values, also after kill -9 and without the index", async () => {
  await using roost = await startRoost();
  const api = await roost.api();
  await api.createProduct({ key: "pump" });
  for (const device of ["a", "b", "c"]) {
    await api.createDevice("pump", device, { secret: `secret-of-${device}` });
  }
  await report(roost.urls.http, "a", { t: 21.5, mode: "auto", on: true });
  await report(roost.urls.http, "b", { t: 40, mode: "hand" });
  const hot = `property=${encodeURIComponent("t>30")}`;
  await untilFound(api, hot, "b");
  await untilFound(api, `property=${encodeURIComponent("t<=21.5,on=true,mode=auto")}`, "a");
  await untilFound(api, "status=never", "c");
  await untilFound(api, "status=offline&sort=-lastSeenAt", "b,a");
  await report(roost.urls.http, "a", { t: 31 });
  await roost.kill();
  await roost.start();
  const again = await roost.api();
  await untilFound(again, hot, "a,b");
  await roost.kill("SIGTERM");
  for (const suffix of ["", "-wal", "-shm"]) {
    await Deno.remove(`${roost.dataDir}/search.db${suffix}`).catch((fault) =>
      assert.ok(fault instanceof Deno.errors.NotFound)
    );
  }
  await Deno.writeTextFile(`${roost.dataDir}/search.db`, "this is no database at all, but text");
  await roost.start();
  const anew = await roost.api();
  await untilFound(anew, hot, "a,b");
  await anew.fetch("DELETE", "/api/v1/devices/pump/a");
  await untilFound(anew, hot, "b");
});

Deno.test("an index that went wrong is put right by the job that rebuilds the views", async () => {
  await using roost = await startRoost();
  const api = await roost.api();
  await api.createProduct({ key: "pump" });
  for (const device of ["a", "b"]) {
    await api.createDevice("pump", device, { secret: `secret-of-${device}` });
  }
  await report(roost.urls.http, "a", { t: 40 });
  await report(roost.urls.http, "b", { t: 10 });
  const hot = `property=${encodeURIComponent("t>30")}`;
  await untilFound(api, hot, "a");
  await untilFound(api, `property=${encodeURIComponent("t=10")}`, "b");
  const index = new DatabaseSync(`${roost.dataDir}/search.db`);
  index.exec("delete from props where key = 'pump/a'; update props set value = 99");
  index.close();
  assert.equal(await found(api, hot), "b");
  const job = await api.fetch("POST", "/api/v1/jobs/rebuild-views");
  assert.equal(job.status, 202, await job.text());
  await untilFound(api, hot, "a");
});

Deno.test("an index with a damaged page is made anew, whoever meets it", async () => {
  await using roost = await startRoost();
  const api = await roost.api();
  await api.createProduct({ key: "pump" });
  await api.createDevice("pump", "a", { secret: "secret-of-a" });
  await report(roost.urls.http, "a", { t: 40 });
  const hot = `property=${encodeURIComponent("t>30")}`;
  await untilFound(api, hot, "a");
  for (const tree of ["props", "props_by_value"]) { // Indexing reads the first, searches the second.
    await roost.kill("SIGTERM");
    await damage(`${roost.dataDir}/search.db`, tree);
    await roost.start();
    await untilFound(await roost.api(), hot, "a");
  }
});

/** Makes the root page of a tree unreadable. */
async function damage(path: string, tree: string): Promise<void> {
  const database = new DatabaseSync(path);
  database.exec("pragma wal_checkpoint(truncate)");
  const found = database.prepare("select rootpage from sqlite_schema where name = ?").get(tree);
  const size = Number(database.prepare("pragma page_size").get()!.page_size);
  database.close();
  using file = await Deno.open(path, { write: true });
  await file.seek((Number(found!.rootpage) - 1) * size, Deno.SeekMode.Start);
  await file.write(new Uint8Array(64).fill(0xff));
}
