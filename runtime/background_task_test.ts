import assert from "node:assert/strict";
import { createManualClock } from "../test/support/manual_clock.ts";
import { startBackgroundTask } from "./background_task.ts";

Deno.test("a pass begins at once; woken during it, one more follows, however often", async () => {
  const clock = createManualClock();
  const ends: (() => void)[] = [];
  const task = startBackgroundTask({
    clock,
    pass: () => new Promise((resolve) => ends.push(() => resolve(Infinity))),
    onFault: (fault) => assert.fail(String(fault)),
    retryMs: 1_000,
  });
  task.wake();
  task.wake();
  assert.equal(ends.length, 1);
  ends[0]!();
  await clock.settle();
  assert.equal(ends.length, 2);
  ends[1]!();
  await task.idle();
  await clock.advance(60_000);
  assert.equal(ends.length, 2, "nobody woke it");
  task.wake();
  assert.equal(ends.length, 3);
  const ended = task[Symbol.asyncDispose]();
  task.wake();
  ends[2]!();
  await ended;
  assert.equal(ends.length, 3, "it has ended");
});

Deno.test("it looks again when a pass says so, and a while after a fault", async () => {
  const clock = createManualClock();
  const faults: string[] = [];
  let passes = 0;
  await using task = startBackgroundTask({
    clock,
    pass: () => {
      passes++;
      return passes === 1 ? Promise.reject(new Error("full")) : Promise.resolve(5_000);
    },
    onFault: (fault) => void faults.push((fault as Error).message),
    retryMs: 1_000,
  });
  await task.idle();
  assert.deepEqual([passes, faults], [1, ["full"]]);
  await clock.advance(999);
  assert.equal(passes, 1);
  await clock.advance(1);
  assert.equal(passes, 2);
  await clock.advance(5_000);
  assert.equal(passes, 3);
  assert.deepEqual(faults, ["full"]);
});
