import assert from "node:assert/strict";
import { PROBLEMS } from "../../protocols/http/problem.ts";
import { PROBLEM_TEXTS } from "../../web/parts/problem_text.ts";

/** Of the console itself. */
const OWN = ["unreachable", "unknown"];

Deno.test("each problem of the server has a cause and a fix in both languages, and no other", () => {
  const codes = [...Object.keys(PROBLEMS), ...OWN];
  const expected = codes.flatMap((code) => [code, `fix_${code}`]).sort();
  for (const texts of Object.values(PROBLEM_TEXTS)) {
    const told = Object.entries(texts).filter(([key]) =>
      !key.startsWith("detail") ||
      key === "detail"
    );
    assert.deepEqual(told.map(([key]) => key).filter((key) => key !== "detail").sort(), expected);
    for (const [key, text] of told) assert.ok(text.length > 2, key);
  }
});
