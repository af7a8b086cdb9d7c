import assert from "node:assert/strict";
import type { ModelField } from "./thing_model.ts";
import { valueIssues } from "./values.ts";

const FIELDS: readonly ModelField[] = [
  {
    identifier: "level",
    required: true,
    dataType: { type: "int", specs: { min: 0, max: 10 } },
  },
  { identifier: "note", dataType: { type: "text", specs: { length: 3 } } },
  {
    identifier: "mode",
    dataType: { type: "enum", specs: { 0: "off", 1: "on", auto: "Auto" } },
  },
  {
    identifier: "steps",
    dataType: {
      type: "array",
      specs: {
        size: 2,
        item: {
          type: "struct",
          specs: [{ identifier: "on", dataType: { type: "bool" } }],
        },
      },
    },
  },
];

function issues(value: unknown): string[] {
  return valueIssues(FIELDS, value).map(({ path, key }) => `${path} ${key}`);
}

Deno.test("what the model takes has no issue", () => {
  const steps = [{ on: true }, { on: 0 }];
  assert.deepEqual(issues({ level: 10, note: "abc", mode: "auto", steps }), []);
  assert.deepEqual(issues({ level: 0, mode: 1 }), []);
});

Deno.test("each fault is told at its path", () => {
  assert.deepEqual(issues({}), ["level needed"]);
  assert.deepEqual(issues([]), [" not_struct"]);
  assert.deepEqual(issues({ level: 11, note: "abcd", mode: "1", strange: 1 }), [
    "level too_big",
    "note too_long",
    "mode not_listed",
    "strange unknown_field",
  ]);
  assert.deepEqual(issues({ level: 1.5, steps: [{}, { on: "yes" }] }), [
    "level not_whole",
    "steps.1.on not_bool",
  ]);
  assert.deepEqual(issues({ level: "1", steps: [{}, {}, {}] }), [
    "level not_number",
    "steps too_many",
  ]);
});
