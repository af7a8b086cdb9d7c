import assert from "node:assert/strict";
import { silentLogger } from "../../runtime/logger.ts";
import { createManualClock } from "../../test/support/manual_clock.ts";
import { startPresenceSweep } from "./presence_sweep.ts";
import { createMemoryViews } from "./views.ts";

Deno.test("sessions of a process that died are ended, those of this one are not", async () => {
  const clock = createManualClock();
  const views = createMemoryViews();
  let cursor = 0;
  const show = (key: string, session: string | null) => {
    const version = ++cursor;
    const row = { online: session !== null, session, atMs: 1 };
    const write = { view: "presence", key, row, version, at: 1 };
    return views.write({ writes: [write], cursor });
  };
  await show("pump/a", "old.1");
  await show("pump/b", "new.1");
  const told: string[] = [];
  let isDown = true;
  let handled = new Set<number>();
  const sweep = startPresenceSweep({
    incarnation: "new",
    views: () => views,
    partitions: 2,
    partitionOf: (address) => address.includes("/pump/") ? 0 : 1,
    handled: () => Promise.resolve(handled),
    send: async (address, body) => {
      if (isDown) throw new Error("the log is down");
      const message = JSON.parse(new TextDecoder().decode(body));
      told.push(`${address} ${message.type} ${message.session}`);
      await show(address.slice("device/".length), null);
    },
    clock,
    logger: silentLogger,
  });
  await clock.advance(10_000);
  await show("fan/d", "old.3");
  handled = new Set([0]);
  await clock.advance(10_000);
  assert.deepEqual(told, []);
  isDown = false;
  await clock.advance(10_000);
  assert.deepEqual(told, ["device/pump/a disconnected old.1"], "partition 1 is not through yet");
  await show("fan/c", "old.2"); // Its login was pending when the process died.
  handled = new Set([0, 1]);
  await clock.advance(10_000);
  await sweep.done;
  assert.deepEqual(told.slice(1), [
    "device/fan/c disconnected old.2",
    "device/fan/d disconnected old.3",
  ]);
});

Deno.test("sessions whose rows stay in the view hold up none behind them", async () => {
  const clock = createManualClock();
  const views = createMemoryViews();
  const writes = Array.from({ length: 1_200 }, (_, i) => {
    const row = { online: true, session: `old.${i}`, atMs: 1 };
    return { view: "presence", key: `pump/${i}`, row, version: 1, at: 1 };
  });
  await views.write({ writes, cursor: 1 });
  const told: string[] = [];
  let failures = 1;
  const sweep = startPresenceSweep({
    incarnation: "new",
    views: () => views,
    partitions: 2,
    partitionOf: () => 0,
    handled: () => Promise.resolve(new Set([0])),
    send: (address) => {
      if (told.length === 700 && failures-- > 0) return Promise.reject(new Error("no room"));
      told.push(address);
      return Promise.resolve();
    },
    clock,
    logger: silentLogger,
  });
  await clock.advance(10_000);
  assert.equal(new Set(told).size, 1_200);
  const before = told.length;
  await clock.advance(60_000);
  assert.equal(
    told.length,
    before,
    "told once after the failure, though partition 1 is waited for",
  );
  const ended = sweep[Symbol.asyncDispose]();
  await clock.advance(10_000);
  await ended;
});
