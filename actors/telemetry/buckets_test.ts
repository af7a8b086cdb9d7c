import assert from "node:assert/strict";
import fc from "fast-check";
import type { Json } from "../../runtime/actor/behaviour.ts";
import { BucketFold } from "./buckets.ts";
import type { Bucket } from "./store.ts";

const ALL = ["avg", "min", "max", "count", "first", "last"] as const;

function plainBuckets(points: readonly (readonly [number, Json])[], bucketMs: number): Bucket[] {
  const starts = [...new Set(points.map(([at]) => Math.floor(at / bucketMs) * bucketMs))];
  return starts.map((start) => {
    const values = points
      .filter(([at]) => at >= start && at < start + bucketMs)
      .map(([, value]) => value);
    const numbers = values.filter((value): value is number => typeof value === "number");
    return {
      at: start,
      ...(numbers.length === 0 ? {} : {
        avg: numbers.reduce((sum, number) => sum + number) / numbers.length,
        min: Math.min(...numbers),
        max: Math.max(...numbers),
      }),
      count: values.length,
      first: values[0]!,
      last: values.at(-1)!,
    };
  });
}

Deno.test("buckets are those of a plain filter over all points", () => {
  const value: fc.Arbitrary<Json> = fc.oneof(fc.integer(), fc.constantFrom("x", true, null));
  const points = fc.array(fc.tuple(fc.integer({ min: -50, max: 50 }), value));
  fc.assert(fc.property(points, fc.integer({ min: 1, max: 30 }), (points, bucketMs) => {
    points.sort((a, b) => a[0] - b[0]);
    const fold = new BucketFold(bucketMs, ALL);
    for (const [at, value] of points) fold.add(at, value);
    assert.deepEqual(fold.finish(), plainBuckets(points, bucketMs));
  }));
});

Deno.test("a number too big for a double counts, but is in no average", () => {
  const fold = new BucketFold(10, ALL);
  for (const value of [1, Infinity, 3]) fold.add(0, value);
  assert.deepEqual(fold.finish(), [{ at: 0, avg: 2, min: 1, max: 3, count: 3, first: 1, last: 3 }]);
});
