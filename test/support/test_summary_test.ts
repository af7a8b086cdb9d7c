import assert from "node:assert/strict";
import { addTally, tallyOf } from "./test_summary.ts";

Deno.test("the summary lines of Deno are counted", () => {
  assert.deepEqual(tallyOf("x\nok | 12 passed (3 steps) | 0 failed (2s)\n\n"), {
    passed: 12,
    failed: 0,
    skipped: 0,
  });
  assert.deepEqual(
    tallyOf("FAILED | 1 passed | 2 failed (1 step) | 3 ignored | 4 filtered out (844ms)\r\n"),
    { passed: 1, failed: 2, skipped: 3 },
  );
});

Deno.test("the last summary counts and none is no success", () => {
  const text = "ok | 1 passed | 0 failed (1s)\nFAILED | 5 passed | 1 failed (1s)\nerror: x";
  assert.deepEqual(tallyOf(text), { passed: 5, failed: 1, skipped: 0 });
  assert.equal(tallyOf("error: Type checking failed"), undefined);
  assert.equal(tallyOf("it is ok | 1 passed | 0 failed"), undefined);
});

Deno.test("tallies add up", () => {
  const one = { passed: 1, failed: 2, skipped: 3 };
  assert.deepEqual(addTally(one, one), { passed: 2, failed: 4, skipped: 6 });
});
