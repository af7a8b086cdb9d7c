import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import { createManualClock } from "../../test/support/manual_clock.ts";
import { Lockout } from "./lockout.ts";

function createLockout() {
  const clock = createManualClock();
  const options = { freeFailures: 2, firstWaitMs: 100, waitMsMax: 1_000, forgetMs: 5_000 };
  return { clock, lockout: new Lockout({ clock, ...options }) };
}

Deno.test("a wait doubles from the first failure that is not free, up to its bound", () => {
  const { lockout } = createLockout();
  const waits = Array.from({ length: 8 }, () => {
    lockout.failed("a");
    return lockout.waitMs("a");
  });
  assert.deepEqual(waits, [0, 0, 100, 200, 400, 800, 1_000, 1_000]);
  assert.equal(lockout.waitMs("b"), 0);
});

Deno.test("failures are forgotten after a quiet time, or by a success", async () => {
  const { clock, lockout } = createLockout();
  for (let i = 0; i < 4; i++) lockout.failed("a");
  await clock.advance(150);
  assert.equal(lockout.waitMs("a"), 50);
  await clock.advance(4_850);
  assert.equal(lockout.waitMs("a"), 0);
  assert.equal(lockout.size, 0);
  for (let i = 0; i < 4; i++) lockout.failed("a");
  lockout.succeeded("a");
  lockout.failed("a");
  assert.equal(lockout.waitMs("a"), 0);
});

Deno.test("the table is bounded, and the oldest failures give way", () => {
  const { lockout } = createLockout();
  for (let i = 0; i < 5; i++) lockout.failed("first");
  for (let i = 0; i < 5; i++) lockout.failed("kept");
  for (let i = 0; i < LIMITS.lockoutEntriesMax - 1; i++) lockout.failed(`k${i}`);
  assert.equal(lockout.size, LIMITS.lockoutEntriesMax);
  assert.equal(lockout.waitMs("first"), 0);
  assert.ok(lockout.waitMs("kept") > 0);
});
