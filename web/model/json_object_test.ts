import assert from "node:assert/strict";
import { parseObject } from "./json_object.ts";

Deno.test("a text that is no JSON object says so", () => {
  assert.deepEqual(parseObject('{"on": true}'), { ok: true, value: { on: true } });
  for (const text of ["[1]", "null", "5", '"text"']) {
    const fault = { key: "json_object", values: {} };
    assert.deepEqual(parseObject(text), { ok: false, fault }, text);
  }
});

Deno.test("a text that is no JSON says at which line and column it stops to be", () => {
  const faults: Record<string, [number, number]> = {
    "": [1, 1],
    " \n ": [2, 2],
    "{": [1, 2],
    '{"a": x}': [1, 7],
    '{\n  "on": true,\n}': [3, 1],
    '{"a": [1, 2,]}': [1, 13],
    '{"a" 1}': [1, 6],
    "{'a': 1}": [1, 2],
    '{"a": 1} 2': [1, 10],
    '{"a": [1}': [1, 9],
    '{"a": "b': [1, 7],
    '{"a": 01}': [1, 8],
    '{"a": [[], {}, -1.5e3, "\\u00e9\\n", null] "b"}': [1, 42],
    '{"a": "tab\there"}': [1, 7],
  };
  for (const [text, [line, column]] of Object.entries(faults)) {
    const fault = { key: "json_bad", values: { line, column } };
    assert.deepEqual(parseObject(text), { ok: false, fault }, JSON.stringify(text));
  }
});
