import assert from "node:assert/strict";
import { bucketMsOf, parseRange, rangeOfAge } from "./ranges.ts";

Deno.test("buckets are of periods that people know, and few enough to draw", () => {
  assert.equal(bucketMsOf({ fromMs: 0, toMs: 900_000 }), 2_000);
  assert.equal(bucketMsOf({ fromMs: 0, toMs: 86_400_000 }), 300_000);
  for (let ms = 10; ms < 4e11; ms *= 3) {
    const count = ms / bucketMsOf({ fromMs: 0, toMs: ms });
    assert.ok(count <= 600, `${count} buckets of ${ms}`);
  }
});

Deno.test("a range is chosen that what there is fills, with room", () => {
  const MINUTE_MS = 60_000;
  const ages = [0, 2, 4, 5, 11, 13, 47, 50, 60 * 24, 60 * 24 * 365];
  assert.deepEqual(
    ages.map((minutes) => rangeOfAge(minutes * MINUTE_MS)),
    ["5m", "5m", "5m", "15m", "15m", "1h", "1h", "6h", "7d", "all"],
  );
});

Deno.test("a range in the address is taken as it is, or not at all", () => {
  assert.deepEqual(parseRange("1000-2000"), { fromMs: 1000, toMs: 2000 });
  for (const text of ["", "1h", "2000-1000", "-", "1e3-2e3", "1-2-3"]) {
    assert.equal(parseRange(text), undefined, text);
  }
});
