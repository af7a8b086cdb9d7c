import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import { compareModels, type ModelChange } from "./model_changes.ts";
import { parseThingModel, type ThingModel } from "./thing_model.ts";

function modelOf(input: unknown): ThingModel {
  const parsed = parseThingModel(input);
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.model;
}

/** `path kind`, with `!` where it breaks. */
function told(changes: readonly ModelChange[]): string[] {
  for (const { message } of changes) assert.ok(message.length > 0);
  return changes.map(({ path, kind, isBreaking }) => `${path} ${kind}${isBreaking ? " !" : ""}`);
}

function between(before: unknown, after: unknown): string[] {
  return told(compareModels(modelOf(before), modelOf(after)));
}

/** Of the type of one property. */
function ofTypes(before: unknown, after: unknown, more: object = {}): string[] {
  const model = (dataType: unknown, extra: object) => {
    return { properties: [{ identifier: "p", accessMode: "rw", dataType, ...extra }] };
  };
  return between(model(before, {}), model(after, more))
    .map((change) => change.replace("properties.p.", ""));
}

Deno.test("a model that is the same changes nothing, whatever the order of its parts", () => {
  const one = { identifier: "a", dataType: { type: "int" } };
  const other = { identifier: "b", dataType: { type: "text" } };
  assert.deepEqual(between({ properties: [one, other] }, { properties: [other, one] }), []);
});

Deno.test("a value's type breaks where it gets narrower, and not where it gets wider", () => {
  const number = (specs: object, type = "int") => ({ type, specs });
  const cases: [unknown, unknown, string[]][] = [
    [{ type: "int" }, { type: "double" }, ["dataType type"]],
    [{ type: "float" }, { type: "double" }, ["dataType type"]],
    [{ type: "double" }, { type: "int" }, ["dataType type !"]],
    [{ type: "int" }, { type: "text" }, ["dataType type !"]],
    [number({ max: 5 }), number({ max: 4 }), ["dataType.specs.max range !"]],
    [number({ max: 5 }), number({ max: 6 }), ["dataType.specs.max range"]],
    [number({}), number({ max: 6 }), ["dataType.specs.max range !"]],
    [number({ min: 1 }), number({}), ["dataType.specs.min range"]],
    [number({ min: 1 }), number({ min: 2 }), ["dataType.specs.min range !"]],
    [number({ max: 9 }), number({ max: 8 }, "double"), [
      "dataType.specs.max range !",
      "dataType type",
    ]],
    [number({ unit: "°C" }), number({ unit: "°F" }), ["dataType.specs.unit unit !"]],
    [number({}), number({ unit: "°F" }), ["dataType.specs.unit unit"]],
    [number({ step: 1 }), number({ step: 2 }), ["dataType.specs.step title"]],
    [{ type: "text" }, { type: "text", specs: { length: 9 } }, ["dataType.specs.length length !"]],
    [{ type: "text", specs: { length: 9 } }, { type: "text" }, ["dataType.specs.length length"]],
    [{ type: "enum", specs: { "1": "a", "2": "b" } }, { type: "enum", specs: { "1": "A" } }, [
      "dataType.specs values !",
      'dataType.specs."1" title',
    ]],
    [{ type: "enum", specs: { "1": "a" } }, { type: "enum", specs: { "1": "a", "2": "b" } }, [
      "dataType.specs values",
    ]],
    [{ type: "bool", specs: { "0": "off" } }, { type: "bool" }, ["dataType.specs values"]],
  ];
  for (const [before, after, expected] of cases) {
    assert.deepEqual(ofTypes(before, after), expected, JSON.stringify([before, after]));
  }
});

Deno.test("structs and arrays are compared inside", () => {
  const struct = (...fields: [string, unknown][]) => ({
    type: "struct",
    specs: fields.map(([identifier, dataType]) => ({ identifier, dataType })),
  });
  const list = (size: number, item: unknown) => ({ type: "array", specs: { size, item } });
  const x = { type: "double" };
  assert.deepEqual(ofTypes(struct(["x", x], ["y", x]), struct(["x", { type: "int" }], ["z", x])), [
    "dataType.specs.x.dataType type !",
    "dataType.specs.y removed !",
    "dataType.specs.z added",
  ]);
  assert.deepEqual(ofTypes(list(3, struct(["x", x])), list(2, struct(["x", { type: "int" }]))), [
    "dataType.specs.size size !",
    "dataType.specs.item.specs.x.dataType type !",
  ]);
});

Deno.test("rights break where one goes", () => {
  const type = { type: "int" };
  assert.deepEqual(ofTypes(type, type, { accessMode: "r" }), ["accessMode access !"]);
  assert.deepEqual(ofTypes(type, type, { name: "P", required: true }), [
    "name title",
    "required required",
  ]);
});

Deno.test("events and services break by their fields, a text stands for a property's type", () => {
  const field = (required: boolean) => ({ identifier: "f", dataType: { type: "int" }, required });
  const model = (data: unknown[], type = "int") => ({
    properties: [{ identifier: "p", accessMode: "rw", dataType: { type } }],
    events: [{ identifier: "e", outputData: data }],
    services: [{ identifier: "s", inputData: data, outputData: data }],
  });
  const each = (what: string) =>
    [`events.e.outputData${what}`, `services.s.inputData${what}`]
      .concat(`services.s.outputData${what}`);
  assert.deepEqual(between(model([]), model([field(true)])), each(".f added !"));
  assert.deepEqual(between(model([]), model([field(false)])), each(".f added"));
  assert.deepEqual(between(model([field(false)]), model([])), each(".f removed !"));
  assert.deepEqual(
    between(model([field(false)]), model([field(true)])),
    each(".f.required required !"),
  );
  assert.deepEqual(between(model(["p"]), model(["p"], "text")), [
    "properties.p.dataType type !",
    ...each(".p.dataType type !"),
  ]);
  assert.deepEqual(between(model([field(true)]), {}), [
    "properties.p removed !",
    "events.e removed !",
    "services.s removed !",
  ]);
  assert.deepEqual(told(compareModels(null, modelOf(model([])))), [
    "properties.p added",
    "events.e added",
    "services.s added",
  ]);
});

Deno.test("a long list of changes is cut, the breaking ones come first", () => {
  const wide = (count: number, name: string) => ({
    properties: Array.from({ length: count }, (_, at) => {
      return { identifier: `${name}${at}`, accessMode: "r", dataType: { type: "int" } };
    }),
  });
  const changes = compareModels(modelOf(wide(150, "old")), modelOf(wide(300, "new")));
  assert.equal(changes.length, LIMITS.modelChangesMax);
  assert.equal(changes.findLastIndex(({ isBreaking }) => isBreaking), 149);
});

Deno.test("a change has what was and what is, where a value changed", () => {
  const model = (dataType: object, more: object = {}) =>
    modelOf({ properties: [{ identifier: "p", dataType, ...more }] });
  const pairs = (before: ThingModel, after: ThingModel) =>
    compareModels(before, after).map((change) => [change.before, change.after]);
  const number = (specs: object) => model({ type: "double", specs });
  const choice = (...values: string[]) =>
    model({ type: "enum", specs: Object.fromEntries(values.map((each) => [each, "x"])) });
  assert.deepEqual(pairs(number({ max: 5 }), number({ max: 4 })), [["5", "4"]]);
  assert.deepEqual(pairs(number({ min: 1 }), number({})), [["1", undefined]]);
  assert.deepEqual(pairs(number({}), number({ unit: "°C" })), [[undefined, "°C"]]);
  assert.deepEqual(pairs(choice("1", "2"), choice("1", "3")), [["2", undefined], [undefined, "3"]]);
  assert.deepEqual(pairs(model({ type: "int" }), model({ type: "text" })), [["int", "text"]]);
  const int = { type: "int" };
  assert.deepEqual(pairs(model(int, { required: true }), model(int)), [["true", "false"]]);
  assert.deepEqual(pairs(model(int), model(int, { accessMode: "r" })), [["rw", "r"]]);
  assert.deepEqual(pairs(model(int), modelOf({})), [[undefined, undefined]]);
});
