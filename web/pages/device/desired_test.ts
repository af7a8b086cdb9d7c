import assert from "node:assert/strict";
import { changesOf, parseDesired } from "./desired.ts";

Deno.test("only what was changed is sent, and what was removed as null", () => {
  const before = { on: true, level: 3, mode: { a: 1 } };
  assert.deepEqual(changesOf(before, { on: false, mode: { a: 1 }, fresh: "x" }), {
    on: false,
    fresh: "x",
    level: null,
  });
  assert.deepEqual(changesOf(before, before), {});
});

Deno.test("a text that is no object says why it is not taken", () => {
  assert.deepEqual(parseDesired('{"on": true}'), { ok: true, values: { on: true } });
  for (const text of ["", "{", "[1]", "null", "5"]) {
    assert.equal(parseDesired(text).ok, false, text);
  }
});
