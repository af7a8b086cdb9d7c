import assert from "node:assert/strict";
import { scrollTo, slotsOf, windowOf } from "./window.ts";

Deno.test("the rows in view are drawn with some around, wherever one scrolls", () => {
  assert.deepEqual(windowOf(100_000, 36, 0, 720), { first: 0, end: 32 });
  assert.deepEqual(windowOf(100_000, 36, 36_000, 720), { first: 988, end: 1_032 });
  assert.deepEqual(windowOf(100_000, 36, 100_000 * 36 - 720, 720), { first: 99_968, end: 100_000 });
  assert.deepEqual(windowOf(3, 36, 9_999, 720), { first: 3, end: 3 }, "a list that became short");
  assert.deepEqual(windowOf(0, 36, 0, 720), { first: 0, end: 0 });
});

Deno.test("a row is scrolled to no further than needed", () => {
  assert.equal(scrollTo(5, 36, 0, 720), 0);
  assert.equal(scrollTo(20, 36, 0, 720), 36);
  assert.equal(scrollTo(2, 36, 360, 720), 72);
});

Deno.test("rows that are drawn at once have different slots", () => {
  for (let scrollPx = 0; scrollPx < 4_000; scrollPx += 7) {
    const { first, end } = windowOf(100_000, 36, scrollPx, 719);
    const isFull = first > 0;
    assert.ok(end - first <= slotsOf(36, 719), `${end - first} rows at ${scrollPx}`);
    assert.ok(!isFull || end - first === slotsOf(36, 719), `${end - first} rows at ${scrollPx}`);
  }
});
