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
  const send = async (product: string, device: string, session: string) => {
    if (isDown) throw new Error("the log is down");
    told.push(`${product} ${device} ${session}`);
    await show(`${product}/${device}`, null);
  };
  const logger = silentLogger;
  await using _sweep = startPresenceSweep({ views, incarnation: "new", clock, logger, send });
  await clock.advance(29_000);
  assert.deepEqual(told, []);
  isDown = false;
  await clock.advance(1_000);
  assert.deepEqual(told, ["pump a old.1"]);
  await show("pump/c", "older.7");
  await clock.advance(31_000);
  assert.deepEqual(told, ["pump a old.1", "pump c older.7"]);
});
