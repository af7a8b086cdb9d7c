import assert from "node:assert/strict";
import { parseThingModel, type ThingModel } from "./thing_model.ts";

function modelOf(input: unknown): ThingModel {
  const parsed = parseThingModel(input);
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.model;
}

function pathsOf(input: unknown): string[] {
  const parsed = parseThingModel(input);
  assert.ok(!parsed.ok, "the model was accepted");
  for (const issue of parsed.issues) assert.match(issue.message, /^Cannot accept/);
  return parsed.issues.map((issue) => issue.path);
}

function property(dataType: unknown, more: object = {}) {
  return { properties: [{ identifier: "p", accessMode: "rw", dataType, ...more }] };
}

Deno.test("an exported TSL file is a model, its textual numbers become numbers", () => {
  const model = modelOf({
    schema: "https://iotx-tsl.oss-ap-southeast-1.aliyuncs.com/schema.json",
    profile: { productKey: "a1B2" },
    properties: [
      {
        identifier: "temperature",
        name: "Temperature",
        accessMode: "r",
        required: true,
        dataType: { type: "float", specs: { min: "-40", max: "120", step: "0.1", unit: "°C" } },
      },
      { identifier: "on", dataType: { type: "bool", specs: { "0": "off", "1": "on" } } },
      {
        identifier: "levels",
        dataType: { type: "array", specs: { size: "5", item: { type: "int" } } },
      },
    ],
    events: [{ identifier: "post", type: "info", outputData: [], method: "thing.event" }],
    services: [{ identifier: "get", callType: "async", inputData: ["temperature"] }],
  });
  assert.deepEqual(model.properties[0]!.dataType.specs, {
    min: -40,
    max: 120,
    step: 0.1,
    unit: "°C",
  });
  assert.equal(model.properties[1]!.accessMode, "rw");
  assert.deepEqual(modelOf(JSON.parse(JSON.stringify(model))), model);
  assert.deepEqual(modelOf({}), { properties: [], events: [], services: [] });
});

Deno.test("what is wrong with a model is told with its path", () => {
  assert.deepEqual(pathsOf(property({ type: "int", specs: { min: 5, max: 1 } })), [
    "properties.0.dataType.specs.min",
  ]);
  assert.deepEqual(pathsOf(property({ type: "int", specs: { max: "many" } })), [
    "properties.0.dataType.specs.max",
  ]);
  assert.deepEqual(pathsOf(property({ type: "int", specs: { maximum: 5 } })), [
    "properties.0.dataType.specs",
  ]);
  assert.deepEqual(pathsOf(property({ type: "quaternion" })), ["properties.0.dataType.type"]);
  assert.deepEqual(pathsOf(property({ type: "enum", specs: {} })), [
    "properties.0.dataType.specs",
  ]);
  assert.deepEqual(pathsOf(property({ type: "text", specs: { length: 0 } })), [
    "properties.0.dataType.specs.length",
  ]);
  assert.deepEqual(pathsOf(property({ type: "text", specs: { length: 10_241 } })), [
    "properties.0.dataType.specs.length",
  ]);
  assert.deepEqual(pathsOf(property({ type: "int" }, { accessMode: "x" })), [
    "properties.0.accessMode",
  ]);
  const one = { identifier: "a", dataType: { type: "int" } };
  assert.deepEqual(pathsOf({ properties: [one, { ...one }] }), ["properties.1.identifier"]);
  assert.deepEqual(pathsOf({ properties: [{ ...one, identifier: "a b" }] }), [
    "properties.0.identifier",
  ]);
});

Deno.test("hostile models are refused, whatever their shape", () => {
  for (const input of [null, 7, "model", [], { properties: {} }, { properties: [null] }]) {
    assert.ok(!parseThingModel(input).ok, JSON.stringify(input));
  }
  pathsOf(JSON.parse('{"__proto__": {"properties": []}}'));
  pathsOf({ properties: [{ identifier: "__proto__", dataType: { type: "int" } }] });
  pathsOf(property({ type: "int", specs: { max: Infinity } }));
  pathsOf(property({ type: "int", specs: { max: "1e999" } }));
  pathsOf(property({ type: "enum", specs: { "1": "\ud800" } }));
  pathsOf({ properties: [], note: "x".repeat(300_000) });
  const many = Array.from({ length: 301 }, (_, i) => ({
    identifier: `p${i}`,
    dataType: { type: "int" },
  }));
  assert.deepEqual(pathsOf({ properties: many }), ["properties"]);
  let deep: unknown = { type: "int" };
  for (let i = 0; i < 6; i++) deep = { type: "array", specs: { item: deep } };
  pathsOf(property(deep));
  let endless: unknown = {};
  for (let i = 0; i < 100_000; i++) endless = { a: endless };
  pathsOf(endless);
});

Deno.test("a model with too many parts is refused before one of them is looked at", () => {
  const untouched = Array.from({ length: 10_000 });
  for (let at = 0; at < untouched.length; at++) {
    Object.defineProperty(untouched, at, { get: () => assert.fail("it was looked at") });
  }
  for (const kind of ["properties", "events", "services"]) {
    const parsed = parseThingModel({ [kind]: untouched });
    assert.ok(!parsed.ok);
    assert.deepEqual(parsed.issues, [{
      path: kind,
      rule: "too_big",
      message: `Cannot accept 10000 ${kind}: featuresMax is 300`,
    }]);
  }
});

Deno.test("no more is looked at than there are issues to tell", () => {
  const bad = { identifier: "a b", dataType: { type: "int" } };
  const untouched = Object.defineProperty({}, "identifier", {
    enumerable: false,
    get: () => assert.fail("it was looked at"),
  });
  const paths = pathsOf({ properties: [...Array(50).fill(bad), untouched] });
  assert.equal(paths.length, 50);
  const names = Object.fromEntries(Array.from({ length: 257 }, (_, at) => [`v${at}`, ""]));
  assert.deepEqual(pathsOf(property({ type: "enum", specs: names })), [
    "properties.0.dataType.specs",
  ]);
});
