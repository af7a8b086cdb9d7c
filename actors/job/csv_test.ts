import assert from "node:assert/strict";
import fc from "fast-check";
import type { Json } from "../../runtime/actor/behaviour.ts";
import { readSeed } from "../../test/support/seed.ts";
import { cellOfValue, cellsOf, csvLine, valueOfCell } from "./csv.ts";

Deno.test("cells that a spreadsheet would run are guarded, numbers are not", () => {
  for (const start of ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"]) {
    const line = csvLine([`${start}cmd|' /C calc'!A0`, "b"]);
    assert.match(line, /^"?'/, JSON.stringify(line));
  }
  assert.equal(csvLine([-273.15, "a,b", 'say "no"']), '-273.15,"a,b","say ""no"""\r\n');
  assert.equal(csvLine(["-273.15"]), "'-273.15\r\n", "a text is no number");
  assert.equal(csvLine(["'=1"]), "''=1\r\n");
});

Deno.test("what was written is read back, whatever it is", () => {
  const seed = readSeed();
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string({
      unit: fc.constantFrom("=", "+", "-", "@", "＝", "\t", "'", '"', ",", " ", "a", "1"),
    }),
  ).filter((one) => !/[\r\n]/.test(one));
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 6 }), (cells) => {
      const line = csvLine(cells);
      assert.deepEqual(cellsOf(line.slice(0, -2)), { cells, isOpen: false });
    }),
    { seed, numRuns: 2_000 },
  );
});

Deno.test("values keep their type: texts that look like numbers stay texts", () => {
  const values: Json[] = [0, -1.5, 1e21, true, false, null, "", "text", "007", "true", "null", "1"];
  for (const value of [...values, '"q"', "{", "=1", "-", [1, "a"], { a: { b: null } }]) {
    const line = csvLine([cellOfValue(value)]).slice(0, -2);
    assert.deepEqual(valueOfCell(cellsOf(line)!.cells[0]!), value, line);
  }
});

Deno.test("quotes that are wrong are told, quotes that stay open go on in the next line", () => {
  for (const line of ['a"b', '"a"b', '"a" ,b', 'a,"b"c']) {
    assert.equal(cellsOf(line), undefined, line);
  }
  for (const line of ['"a', 'a,"b', '"a""']) assert.equal(cellsOf(line)!.isOpen, true, line);
  assert.deepEqual(cellsOf("")!.cells, [""]);
  assert.deepEqual(cellsOf("a,,")!.cells, ["a", "", ""]);
});
