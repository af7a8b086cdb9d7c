import assert from "node:assert/strict";
import { SteadyClock } from "./steady_clock.ts";

const HOUR_MS = 3_600_000;
const T0 = 1_767_225_600_000;

/** Both clocks, moved by hand. */
function open() {
  const time = { wallMs: T0, monotonicMs: 500 };
  const jumps: number[] = [];
  const steady = new SteadyClock(
    { nowMs: () => time.wallMs, monotonicMs: () => time.monotonicMs },
    (aheadMs) => void jumps.push(aheadMs),
  );
  const pass = (ms: number) => {
    time.wallMs += ms;
    time.monotonicMs += ms;
  };
  return { time, jumps, steady, pass };
}

Deno.test("a clock that jumps ahead is believed after a day, and told of once", () => {
  const { time, jumps, steady, pass } = open();
  pass(HOUR_MS);
  assert.equal(steady.nowMs(), T0 + HOUR_MS);
  time.wallMs += 3_650 * 24 * HOUR_MS;
  for (let hour = 0; hour < 24; hour++) {
    assert.equal(steady.nowMs(), T0 + (hour + 1) * HOUR_MS);
    pass(HOUR_MS);
  }
  assert.equal(steady.nowMs(), time.wallMs, "it has stayed so");
  assert.deepEqual(jumps, [3_650 * 24 * HOUR_MS]);
});

Deno.test("a jump that is taken back leaves no doubt behind", () => {
  const { time, jumps, steady, pass } = open();
  time.wallMs += 48 * HOUR_MS;
  assert.equal(steady.nowMs(), T0);
  pass(23 * HOUR_MS);
  time.wallMs -= 48 * HOUR_MS;
  assert.equal(steady.nowMs(), T0 + 23 * HOUR_MS);
  time.wallMs += 48 * HOUR_MS;
  pass(2 * HOUR_MS);
  assert.equal(steady.nowMs(), T0 + 25 * HOUR_MS, "the day of doubt begins anew");
  assert.equal(jumps.length, 2);
});

Deno.test("small steps, and steps back, are believed at once", () => {
  const { time, jumps, steady, pass } = open();
  for (let step = 0; step < 10; step++) {
    time.wallMs += HOUR_MS / 2;
    assert.equal(steady.nowMs(), time.wallMs);
    pass(60_000);
  }
  time.wallMs -= 100 * HOUR_MS;
  assert.equal(steady.nowMs(), time.wallMs);
  assert.deepEqual(jumps, []);
});
