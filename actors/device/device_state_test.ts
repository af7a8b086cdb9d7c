import assert from "node:assert/strict";
import type { Json } from "../../runtime/actor/behaviour.ts";
import { isSame } from "./device_state.ts";

Deno.test("deep equality of JSON is that of its parts", () => {
  assert.ok(isSame({ a: [1, { b: null }], c: "x" }, { c: "x", a: [1, { b: null }] }));
  const unequal: [Json, Json][] = [[[1], { 0: 1 }], [[], {}], [{ a: 1 }, { b: 1 }], [null, {}], [
    0,
    false,
  ]];
  for (const [one, other] of unequal) {
    assert.ok(!isSame(one, other) && !isSame(other, one), JSON.stringify([one, other]));
  }
});
