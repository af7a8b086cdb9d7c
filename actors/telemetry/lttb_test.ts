import assert from "node:assert/strict";
import fc from "fast-check";
import { thinIndices } from "./lttb.ts";

/** As the paper says it, with lists. */
function plainThin(points: readonly [number, number][], count: number): [number, number][] {
  if (points.length <= count) return [...points];
  const inner = points.slice(1, -1);
  const width = inner.length / (count - 2);
  const buckets = Array.from({ length: count - 2 }, (_, i) => {
    const to = i === count - 3 ? inner.length : Math.floor((i + 1) * width);
    return inner.slice(Math.floor(i * width), to);
  });
  buckets.push([points.at(-1)!]);
  const kept = [points[0]!];
  for (let i = 0; i < count - 2; i++) {
    const next = buckets[i + 1]!;
    const meanX = next.reduce((sum, [x]) => sum + x, 0) / next.length;
    const meanY = next.reduce((sum, [, y]) => sum + y, 0) / next.length;
    const [x, y] = kept.at(-1)!;
    const areas = buckets[i]!.map(([px, py]) =>
      Math.abs((x - meanX) * (py - y) - (x - px) * (meanY - y))
    );
    kept.push(buckets[i]![areas.indexOf(Math.max(...areas))]!);
  }
  return [...kept, points.at(-1)!];
}

Deno.test("thinning keeps the points that the plain algorithm keeps", () => {
  // Small integers in buckets of 2^n points: sums, means and areas are exact, so that ties are ties.
  const drawn = fc.tuple(fc.constantFrom(1, 2, 4, 8, 16), fc.integer({ min: 3, max: 20 }))
    .chain(([width, count]) => {
      const length = 2 + width * (count - 2);
      const values = fc.array(fc.integer({ min: -100, max: 100 }), {
        minLength: length,
        maxLength: length,
      });
      return fc.tuple(fc.constant(count), values);
    });
  fc.assert(fc.property(drawn, ([count, values]) => {
    const points = values.map((value, i): [number, number] => [i * 8, value]);
    const kept = thinIndices(points.map(([at]) => at), values, values.length, count);
    assert.deepEqual(kept.map((i) => points[i]!), plainThin(points, count));
  }));
});

Deno.test("thinning gives as many points as asked for, whatever the lengths", () => {
  for (let length = 0; length < 60; length++) {
    for (let count = 3; count < 20; count++) {
      const values = Array.from({ length }, (_, i) => (i * 7919) % 13);
      const kept = thinIndices(values.map((_, i) => i), values, length, count);
      assert.equal(kept.length, Math.min(count, length), `${count} of ${length}`);
      assert.ok(kept.every((index, i) => i === 0 || index > kept[i - 1]!), kept.join(" "));
    }
  }
});

Deno.test("thinning keeps a single peak, the ends, and rising indices", () => {
  const values = Array.from({ length: 10_000 }, (_, i) => i === 6_543 ? 100 : Math.sin(i) / 10);
  const ats = values.map((_, i) => 1_767_225_600_000 + i * 1000);
  const kept = thinIndices(ats, values, values.length, 50);
  assert.ok(kept.includes(6_543));
  assert.deepEqual([kept.length, kept[0], kept.at(-1)], [50, 0, 9_999]);
  assert.ok(kept.every((index, i) => i === 0 || index > kept[i - 1]!));
});

Deno.test("thinning survives values whose areas overflow", () => {
  const values = Array.from({ length: 100 }, (_, i) => i % 2 === 0 ? 1.7e308 : -1.7e308);
  const kept = thinIndices(values.map((_, i) => i * 1e12), values, values.length, 10);
  assert.equal(new Set(kept).size, 10);
});
