import assert from "node:assert/strict";
import { changesOf } from "./desired.ts";

Deno.test("only what was changed is sent, and what was removed as null", () => {
  const before = { on: true, level: 3, mode: { a: 1 } };
  assert.deepEqual(changesOf(before, { on: false, mode: { a: 1 }, fresh: "x" }), {
    on: false,
    fresh: "x",
    level: null,
  });
  assert.deepEqual(changesOf(before, before), {});
});
