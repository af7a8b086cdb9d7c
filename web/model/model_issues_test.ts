import assert from "node:assert/strict";
import { modelIssues, type Shape } from "./model_issues.ts";
import { PUMP_MODEL } from "../../test/support/plant.ts";

function issues(draft: Shape): string[] {
  return modelIssues(draft).map(({ path, key }) => `${path} ${key}`);
}

function property(dataType: unknown): Shape {
  return { properties: [{ identifier: "a", dataType }] };
}

Deno.test("a model that the API takes has no issue", () => {
  assert.deepEqual(issues(PUMP_MODEL), []);
  assert.deepEqual(issues({}), []);
  assert.deepEqual(
    issues(property({ type: "int", specs: { min: "-40", max: "125" } })),
    [],
  );
});

Deno.test("each fault of a model is told at its path", () => {
  const numbers = { type: "double", specs: { min: 5, max: 1, step: "x" } };
  assert.deepEqual(issues(property(numbers)), [
    "properties.0.dataType.specs.step spec_number",
    "properties.0.dataType.specs.min min_above_max",
  ]);
  assert.deepEqual(issues(property({ type: "enum", specs: {} })), [
    "properties.0.dataType.specs enum_count",
  ]);
  assert.deepEqual(issues(property({ type: "strange" })), [
    "properties.0.dataType.type no_type",
  ]);
  assert.deepEqual(issues(property(undefined)), [
    "properties.0.dataType no_type",
  ]);
  const twice = [{ identifier: "b" }, { identifier: "b" }, {
    identifier: "not a name",
  }];
  assert.deepEqual(issues({ events: twice }), [
    "events.1.identifier twice",
    "events.2.identifier bad_name",
  ]);
  const struct = {
    type: "struct",
    specs: [{
      identifier: "x",
      dataType: { type: "text", specs: { length: 0 } },
    }],
  };
  assert.deepEqual(
    issues({
      services: [{
        identifier: "s",
        inputData: [{ identifier: "i", dataType: struct }],
      }],
    }),
    [
      "services.0.inputData.0.dataType.specs.0.dataType.specs.length spec_count",
    ],
  );
});

Deno.test("types nest as deep as the API takes them, and no deeper", () => {
  const nested = (levels: number): unknown =>
    levels === 0 ? { type: "int" } : { type: "array", specs: { item: nested(levels - 1) } };
  assert.deepEqual(issues(property(nested(4))), []);
  assert.equal(issues(property(nested(5))).length, 1);
  const input = (levels: number) => ({
    services: [{
      identifier: "s",
      inputData: [{ identifier: "i", dataType: nested(levels) }],
    }],
  });
  assert.deepEqual(issues(input(3)), []);
  assert.equal(issues(input(4)).length, 1);
});
