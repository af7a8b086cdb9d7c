import assert from "node:assert/strict";
import { type ChartPoint, gapOf, withGaps } from "./series.ts";

Deno.test("silence is a gap, the pace of the device is not", () => {
  const steady = Array.from({ length: 20 }, (_, at): ChartPoint => [at * 60_000, at]);
  const gapMs = gapOf(steady)!;
  assert.equal(gapMs, 240_000);
  assert.deepEqual(withGaps(steady, gapMs), steady);
  const silent = [...steady, [19 * 60_000 + 3_600_000, 5] as ChartPoint];
  assert.deepEqual(withGaps(silent, gapMs).slice(-3), [
    [19 * 60_000, 19],
    [19 * 60_000 + 1, null],
    [19 * 60_000 + 3_600_000, 5],
  ]);
  assert.equal(gapOf(steady.slice(0, 3)), undefined, "too few to tell");
});
