import assert from "node:assert/strict";
import fc from "fast-check";
import { JOB_LIMITS } from "../../runtime/job_limits.ts";
import { readSeed } from "../../test/support/seed.ts";
import { csvLine } from "./csv.ts";
import { JobError } from "./job.ts";
import { UploadLines } from "./upload_lines.ts";
import { type TableFormat, type UploadedRecord, UploadRecords } from "./upload_records.ts";

const COLUMNS = { required: ["a", "b"], optional: ["c"] };

/** A file in memory that gives at most `pieceBytes` at a time. */
function fileOf(content: string | Uint8Array, pieceBytes = 7) {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  let at = 0;
  return {
    read(into: Uint8Array) {
      const count = Math.min(into.length, pieceBytes, bytes.length - at);
      into.set(bytes.subarray(at, at + count));
      at += count;
      return Promise.resolve(count === 0 ? null : count);
    },
    seek(offset: number | bigint) {
      at = Number(offset);
      return Promise.resolve(at);
    },
  };
}

async function recordsOf(content: string | Uint8Array, format: TableFormat, pieceBytes = 7) {
  const records = await UploadRecords.open(fileOf(content, pieceBytes), format, COLUMNS, null);
  const found: UploadedRecord[] = [];
  for (let next = await records.next(); next !== undefined; next = await records.next()) {
    found.push(next);
  }
  return found;
}

Deno.test("lines are what a plain split gives, whatever the pieces, from any of their ends", async () => {
  const seed = readSeed();
  const line = fc.string({ unit: fc.constantFrom("a", "\u00e9", "\ud83d\ude00", " ", ",", "\r") });
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 8 }), fc.nat(9), async (lines, piece) => {
      const text = lines.join("\n");
      const wanted = text.split("\n").map((each) => each.replace(/\r$/, ""));
      if (wanted.at(-1) === "" && !text.endsWith("\r")) wanted.pop();
      const reader = await UploadLines.at(fileOf(text, piece + 1));
      const places = [reader.place];
      for (const each of wanted) {
        const found = await reader.next();
        assert.equal(found?.text, each);
        places.push(reader.place);
      }
      assert.equal(await reader.next(), undefined);
      for (const [index, place] of places.entries()) {
        const later = await UploadLines.at(fileOf(text), place);
        assert.equal((await later.next())?.text, wanted[index]);
      }
    }),
    { seed, numRuns: 300 },
  );
});

Deno.test("rows that were written are read back, also over several lines, and where they were left", async () => {
  const seed = readSeed();
  const cell = fc.string({ unit: fc.constantFrom("a", '"', ",", "\n", "\r", "'", "=", " ") })
    .filter((text) => text !== "");
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(cell, cell), { maxLength: 8 }), async (rows) => {
      const text = csvLine(["b", "a"]) + rows.map((row) => csvLine(row)).join("");
      const found = await recordsOf(text, "csv");
      const fields = found.map((record) => record.ok && record.fields);
      assert.deepEqual(fields, rows.map(([b, a]) => ({ b, a })));
      const records = await UploadRecords.open(fileOf(text), "csv", COLUMNS, null);
      if (await records.next() === undefined) return;
      const rest = await UploadRecords.open(fileOf(text), "csv", COLUMNS, records.place);
      const second = await rest.next();
      assert.deepEqual(second?.ok ? second.fields : undefined, fields[1] || undefined);
    }),
    { seed, numRuns: 300 },
  );
});

Deno.test("what cannot be read is told by its line, and the next one is read", async () => {
  const long = "x".repeat(JOB_LIMITS.jobLineBytesMax + 1);
  const lines = ["\ufeff{}", "", "{", "[1]", "null", long, '{"a":1}'];
  const found = await recordsOf(lines.join("\n"), "ndjson", 50_000);
  assert.deepEqual(
    found.map((record) => [record.line, record.ok ? record.fields : record.issue.rule]),
    [[1, {}], [3, "json"], [4, "type"], [5, "type"], [6, "length"], [7, { a: 1 }]],
  );
  const broken = Uint8Array.of(0x7b, 0x7d, 0x0a, 0xff, 0x0a, 0x7b, 0x7d);
  assert.deepEqual((await recordsOf(broken, "ndjson")).map(({ ok }) => ok), [true, false, true]);
  const table = ['a,b,"c"', "1,2", '1,"2"x,3', "1,,", '1,"2,3', "4,5,6"].join("\r\n");
  const rows = await recordsOf(table, "csv");
  assert.deepEqual(
    rows.map((record) => [record.line, record.ok ? record.fields : record.issue.rule]),
    [[2, "count"], [3, "quotes"], [4, { a: "1" }], [5, "quotes"]],
  );
  const open = `a,b\n"1,${long.slice(0, 40_000)}\n${long.slice(0, 40_000)}\n3,4\n`;
  const after = await recordsOf(open, "csv", 50_000);
  assert.deepEqual(after.map(({ line, ok }) => [line, ok]), [[2, false], [4, true]]);
});

Deno.test("a table whose columns are not such is refused", async () => {
  for (const table of ["", "a", "a,b,d\n", "a,b,a\n", '"a,b', "{}\n", "b;a\n"]) {
    await assert.rejects(recordsOf(table, "csv"), JobError, table);
  }
});

Deno.test("empty lines are passed over, and too many at a stretch end the reading of a record", async () => {
  const { jobEmptyLinesMax } = JOB_LIMITS;
  const row = '{"a":1,"b":2}\n';
  const few = await recordsOf(row + "\n".repeat(jobEmptyLinesMax - 1) + row, "ndjson");
  assert.deepEqual(few.map(({ ok }) => ok), [true, true]);
  const many = await recordsOf(row + " \n".repeat(2 * jobEmptyLinesMax + 1) + row, "ndjson");
  assert.deepEqual(many.map(({ ok }) => ok), [true, false, false, true]);
  assert.deepEqual(many.map(({ line }) => line), [1, 101, 201, 203]);
});

Deno.test("a row that goes on for too many lines is refused by the line that it begins in", async () => {
  const { jobRowLinesMax } = JOB_LIMITS;
  const row = (lines: number) => `1,"${"\n".repeat(lines - 1)}2"\n`;
  const longest = await recordsOf(`a,b\n${row(jobRowLinesMax)}3,4\n`, "csv", 10_000);
  assert.deepEqual(longest.map(({ ok, line }) => [ok, line]), [[true, 2], [true, 1_002]]);
  const [longer] = await recordsOf(`a,b\n5,6\n${row(jobRowLinesMax + 1)}`, "csv").then((all) =>
    all.slice(1)
  );
  assert.ok(longer?.ok === false && longer.line === 3);
  assert.match(longer.issue.message, /begins in line 3: .* within jobRowLinesMax 1000/);
});

Deno.test("a slice ends by the lines that it took, whatever stands in them", async () => {
  const { jobSliceLines, jobRowLinesMax, jobEmptyLinesMax } = JOB_LIMITS;
  const rows = `1,"${"\n".repeat(50)}2"\n`.repeat(100);
  const empty = "\n".repeat(10 * jobSliceLines);
  const open = `1,"${"\n".repeat(5 * jobSliceLines)}`;
  for (const text of [rows, empty, open]) {
    const file = fileOf(`a,b\n${text}`, 10_000);
    const records = await UploadRecords.open(file, "csv", COLUMNS, null);
    for (let before = records.place.lines, slices = 0;; before = records.place.lines, slices++) {
      if ((await records.slice(jobSliceLines)).length === 0) {
        assert.ok(slices > 1, `${slices} slices`);
        break;
      }
      const taken = records.place.lines - before;
      assert.ok(taken < jobSliceLines + Math.max(jobRowLinesMax, jobEmptyLinesMax), `${taken}`);
    }
  }
  const long = `${"x".repeat(JOB_LIMITS.jobLineBytesMax - 2)},2\n`;
  const records = await UploadRecords.open(
    fileOf(`a,b\n${long.repeat(9)}`, 9_999),
    "csv",
    COLUMNS,
    null,
  );
  assert.equal((await records.slice(jobSliceLines)).length, 4, "by its bytes");
});
