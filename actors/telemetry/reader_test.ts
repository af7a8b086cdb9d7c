import assert from "node:assert/strict";
import { type Clock, systemClock } from "../../runtime/clock.ts";
import { createLogSource } from "../../runtime/log/reader_port.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { FakeLog } from "../../test/support/fake_log.ts";
import { waitFor } from "../../test/support/wait.ts";
import { DAY_MS } from "./bounds.ts";
import { MemoryTelemetryStore } from "./memory_store.ts";
import { startTelemetryReader } from "./reader.ts";
import type { SampleBatch, TelemetryStore } from "./store.ts";

const until = (what: string, isTrue: () => boolean | Promise<boolean>) =>
  waitFor(isTrue, { what, withinMs: 10_000, everyMs: 2 });

const T0 = 1_767_225_600_000;

function properties(device: string, values: Record<string, unknown>) {
  const body = JSON.stringify({ type: "properties", samples: [{ values }] });
  return { to: `device/${device}`, body };
}

function startReader(log: FakeLog, store: TelemetryStore, clock: Clock = systemClock) {
  const source = createLogSource(log, "telemetry");
  const reader = startTelemetryReader({
    source,
    store,
    clock,
    logger: silentLogger,
  });
  return {
    reader,
    async [Symbol.asyncDispose]() {
      await reader[Symbol.asyncDispose]();
      source[Symbol.dispose]();
    },
  };
}

Deno.test("the reader stores what comes, also after it was idle, and tells the log how far", async () => {
  const log = new FakeLog();
  await using store = new MemoryTelemetryStore();
  log.onSave = (tick) => assert.ok(tick <= store.cursor, `told ${tick}, stored ${store.cursor}`);
  log.append(1, [properties("a/b", { t: 1 })]);
  await using running = startReader(log, store);
  await until("the first tick is stored", () => store.cursor === 1);
  await until("the log knows", () => log.saved.at(-1)?.tick === 1);
  log.append(2, [properties("a/b", { t: 2 }), properties("a/c", { t: 3 })]);
  await until("the second tick is stored", () => store.cursor === 2);
  assert.deepEqual(await store.latest("a/b"), { t: [T0, 2] });
  assert.deepEqual(await store.latest("a/c"), { t: [T0, 3] });
  assert.deepEqual(running.reader.figures(), {
    ...{ cursor: 2, samples: 3, events: 0, malformed: 0, damaged: 0, retries: 0 },
  });
});

Deno.test("a reader that starts again goes on behind what is stored, and replays are not read", async () => {
  const log = new FakeLog();
  await using store = new MemoryTelemetryStore();
  log.append(1, [properties("a/b", { t: 1 })]);
  {
    await using _running = startReader(log, store);
    await until("the first tick is stored", () => store.cursor === 1);
  }
  log.append(1, [properties("a/b", { t: 1 })], "replay");
  log.append(1, [properties("a/b", { t: 5 })], "sent");
  log.append(1, [properties("a/b", { t: 2 })], "ingress", T0 + 1);
  await using _running = startReader(log, store);
  await until("the rest is stored", () => store.cursor === 4);
  const span = { device: "a/b", metrics: ["t"], fromMs: T0, toMs: T0 + 10, limit: 10 };
  assert.deepEqual((await store.range(span)).series["t"], [[T0, 1], [T0 + 1, 2]]);
});

Deno.test("events are stored from the log as well, with the same cursor", async () => {
  const log = new FakeLog();
  await using store = new MemoryTelemetryStore();
  const raise = (data: number) => {
    const body = JSON.stringify({ type: "event", event: "hot", data });
    log.append(1, [{ to: "device/a/b", body }]);
  };
  raise(1);
  await using running = startReader(log, store);
  await until("the first is stored", () => store.cursor === 1);
  raise(2);
  log.append(1, [properties("a/b", { t: 1 })]);
  await until("the rest is stored", () => store.cursor === 3);
  const span = { device: "a/b", fromMs: T0, toMs: T0 + 10, limit: 10 };
  assert.deepEqual((await store.events(span)).items.map(({ data }) => data), [2, 1]);
  const { events, samples } = running.reader.figures();
  assert.deepEqual([events, samples], [2, 1]);
});

Deno.test("ticks without samples move the stored cursor once it is quiet", async () => {
  const log = new FakeLog();
  await using store = new MemoryTelemetryStore();
  log.append(1, [properties("a/b", { t: 1 })], "view");
  await using _running = startReader(log, store);
  await until("the cursor is stored", () => store.cursor === 1);
  await until("the log knows", () => log.saved.at(-1)?.tick === 1);
});

Deno.test("a clock that jumps ahead takes no history along", async () => {
  const log = new FakeLog();
  const looks: number[] = [];
  class WatchedStore extends MemoryTelemetryStore {
    override expire(beforeMs: number): Promise<boolean> {
      looks.push(beforeMs);
      return super.expire(beforeMs);
    }
  }
  await using store = new WatchedStore();
  let wallMs = T0 + DAY_MS;
  const clock = { ...systemClock, nowMs: () => wallMs };
  log.append(1, [properties("a/b", { t: 1 })]);
  await using running = startReader(log, store, clock);
  running.reader.setRetention({ days: 30, products: [] });
  await until("a look", () => looks.length > 0);
  wallMs += 3_650 * DAY_MS;
  const before = looks.length;
  running.reader.setRetention({ days: 30, products: [] });
  await until("another look", () => looks.length > before);
  assert.deepEqual([...new Set(looks)], [T0 - 29 * DAY_MS]);
  assert.deepEqual(await store.latest("a/b"), { t: [T0, 1] });
});

Deno.test("a store that fails is tried again with the same batch", async () => {
  const log = new FakeLog();
  const batches: SampleBatch[] = [];
  class FailingStore extends MemoryTelemetryStore {
    override write(batch: SampleBatch): Promise<void> {
      batches.push(batch);
      return batches.length < 3 ? Promise.reject(new Error("disk full")) : super.write(batch);
    }
  }
  await using store = new FailingStore();
  log.append(1, [properties("a/b", { t: 1 })]);
  await using running = startReader(log, store);
  await until("the third try is stored", () => store.cursor === 1);
  assert.equal(batches[2], batches[2]);
  assert.deepEqual(batches.map(({ cursor }) => cursor), [1, 1, 1]);
  assert.equal(running.reader.figures().retries, 2);
});

Deno.test("a damaged segment and a malformed message are counted; what follows is stored", async () => {
  const log = new FakeLog();
  await using store = new MemoryTelemetryStore();
  const whole = log.append(1, [properties("a/b", { t: 1 })]);
  log.push({ ...whole, firstOffset: 1, bytes: whole.bytes.subarray(0, 20) });
  log.append(2, [{ to: "device/a/b", body: '{"type":"properties","samples":7}' }]);
  log.append(2, [properties("a/c", { t: 2 })]);
  await using running = startReader(log, store);
  await until("all is stored", () => store.cursor === 4);
  const { damaged, malformed, samples } = running.reader.figures();
  assert.deepEqual([damaged, malformed, samples], [1, 1, 2]);
});

Deno.test("a source that fails ends the reader, which says so", async () => {
  const log = new FakeLog();
  await using store = new MemoryTelemetryStore();
  log.append(1, [properties("a/b", { t: 1 })]);
  log.saveCursor = () => Promise.reject(new Error("log is gone"));
  await using running = startReader(log, store);
  await assert.rejects(running.reader.done, /log is gone/);
});
