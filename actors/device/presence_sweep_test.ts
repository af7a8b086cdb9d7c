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
  let hasCaughtUp = false;
  let hasHandled = false;
  const sweep = startPresenceSweep({
    incarnation: "new",
    views: () => views,
    hasCaughtUp: () => Promise.resolve(hasCaughtUp),
    hasHandled: () => Promise.resolve(hasHandled),
    send: async (address, body) => {
      if (isDown) throw new Error("the log is down");
      const message = JSON.parse(new TextDecoder().decode(body));
      told.push(`${address} ${message.type} ${message.session}`);
      await show(address.slice("device/".length), null);
    },
    clock,
    logger: silentLogger,
  });
  await clock.advance(1_000);
  hasCaughtUp = true;
  await clock.advance(1_000);
  assert.deepEqual(told, []);
  isDown = false;
  await clock.advance(1_000);
  assert.deepEqual(told, ["device/pump/a disconnected old.1"]);
  await show("pump/c", "old.2"); // Its login was pending when the process died.
  hasHandled = true;
  await clock.advance(1_000);
  await sweep.done;
  assert.deepEqual(told.slice(1), ["device/pump/c disconnected old.2"]);
});

Deno.test("sessions whose actors handle nothing hold up none behind them, and are told once", async () => {
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
    hasCaughtUp: () => Promise.resolve(true),
    hasHandled: () => Promise.resolve(false),
    send: (address) => {
      if (told.length === 700 && failures-- > 0) return Promise.reject(new Error("no room"));
      told.push(address);
      return Promise.resolve();
    },
    clock,
    logger: silentLogger,
  });
  await clock.advance(1_000);
  assert.equal(new Set(told).size, 1_200);
  assert.ok(told.length < 1_200 + 500, "a page is told again after a failure, no more");
  const ended = sweep[Symbol.asyncDispose]();
  await clock.advance(1_000);
  await ended;
});
