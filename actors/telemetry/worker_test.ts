import assert from "node:assert/strict";
import { systemClock } from "../../runtime/clock.ts";
import { InvalidError, UnavailableError } from "../../runtime/errors.ts";
import { serveReaderPort } from "../../runtime/log/reader_port.ts";
import { FakeLog } from "../../test/support/fake_log.ts";
import { beginSlowCommit } from "../../test/support/slow_commit.ts";
import { waitFor } from "../../test/support/wait.ts";
import { SqliteTelemetryStore } from "./sqlite_store.ts";
import { createTelemetryClient } from "./worker.ts";

const until = (what: string, isTrue: () => boolean | Promise<boolean>) =>
  waitFor(isTrue, { what, withinMs: 10_000, everyMs: 2 });

const ROOT = new URL("../../test/support/telemetry_worker_root.ts", import.meta.url);
const T0 = 1_767_225_600_000;

async function startWorker(log: FakeLog, path: string) {
  const { port1, port2 } = new MessageChannel();
  const server = serveReaderPort(port1, log, "telemetry");
  try {
    const client = await createTelemetryClient(
      new Worker(ROOT, { type: "module" }),
      { path },
      port2,
    );
    return {
      client,
      async [Symbol.asyncDispose]() {
        await client[Symbol.asyncDispose]();
        server[Symbol.dispose]();
      },
    };
  } catch (fault) {
    server[Symbol.dispose]();
    throw fault;
  }
}

function report(log: FakeLog, i: number): void {
  const body = JSON.stringify({ type: "properties", samples: [{ values: { t: i } }] });
  log.append(1, [{ to: "device/pump/p-1", body }], "ingress", T0 + i * 1000);
}

Deno.test("a Worker stores the log's samples and answers, also after it was started again", async () => {
  const directory = Deno.makeTempDirSync({ prefix: "roost-telemetry-" });
  const path = `${directory}/telemetry.db`;
  const log = new FakeLog();
  const span = { device: "pump/p-1", metrics: ["t"], fromMs: T0, toMs: T0 + 1e6 };
  try {
    {
      await using running = await startWorker(log, path);
      const { client } = running;
      for (let i = 0; i < 5; i++) report(log, i);
      await until("five are stored", async () => (await client.figures()).store.cursor === 5);
      assert.deepEqual(await client.latest("pump/p-1"), { t: [T0 + 4000, 4] });
      await client.compactAll();
      assert.equal((await client.figures()).store.chunkPoints, 5);
      const answers = await Promise.all([
        client.buckets({ ...span, bucketMs: 5000, aggregates: ["count"] }),
        client.thin({ ...span, points: 3 }),
        client.range({ ...span, limit: 2 }),
      ]);
      assert.deepEqual(answers[0], { t: [{ at: T0, count: 5 }] });
      assert.equal(answers[1]["t"]!.length, 3);
      assert.deepEqual(answers[2].series["t"], [[T0, 0], [T0 + 1000, 1]]);
      await assert.rejects(
        client.range({ ...span, limit: 0 }),
        (fault) => fault instanceof InvalidError && fault.issues[0]?.path === "limit",
      );
      const left = client.latest("pump/p-1");
      await client[Symbol.asyncDispose]();
      await left.catch(() => {});
      await client.done;
      await assert.rejects(client.latest("pump/p-1"), UnavailableError);
    }
    report(log, 5);
    await using running = await startWorker(log, path);
    await until(
      "the sixth is stored",
      async () => (await running.client.figures()).store.cursor === 6,
    );
    const page = await running.client.range({ ...span, limit: 10 });
    assert.deepEqual(page.series["t"]!.map(([, value]) => value), [0, 1, 2, 3, 4, 5]);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("a Worker that cannot open its file refuses to start", async () => {
  await assert.rejects(startWorker(new FakeLog(), "/nowhere/telemetry.db"), UnavailableError);
});

Deno.test("a store is read after the last write of an ended Worker, not beside it", async () => {
  const directory = Deno.makeTempDirSync({ prefix: "roost-telemetry-" });
  const path = `${directory}/telemetry.db`;
  try {
    await new SqliteTelemetryStore({ path, clock: systemClock })[Symbol.asyncDispose]();
    using _held = await beginSlowCommit(path, "update progress set cursor = 7");
    await using store = new SqliteTelemetryStore({ path, clock: systemClock });
    assert.equal(store.cursor, 7, "read before, the same samples would be stored twice");
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
