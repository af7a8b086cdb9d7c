import assert from "node:assert/strict";
import fc from "fast-check";
import type { Json } from "../../runtime/actor/behaviour.ts";
import { readSeed } from "../../test/support/seed.ts";
import { compileModel, type ProductMode } from "./compiled_model.ts";
import { isSafeJson, jsonIssue } from "./json_value.ts";
import { type DataType, parseThingModel, type ThingModel } from "./thing_model.ts";

function modelOf(types: Record<string, unknown>): ThingModel {
  const properties = Object.entries(types).map(([identifier, dataType]) => ({
    identifier,
    dataType,
  }));
  const parsed = parseThingModel({ properties });
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.model;
}

const MODEL = modelOf({
  temperature: { type: "float", specs: { min: -40, max: 120 } },
  count: { type: "int", specs: { min: 0 } },
  on: { type: "bool" },
  mode: { type: "enum", specs: { "0": "off", "1": "eco", "auto": "automatic" } },
  label: { type: "text", specs: { length: 5 } },
  since: { type: "date" },
  position: {
    type: "struct",
    specs: [
      { identifier: "x", dataType: { type: "double", specs: { max: 10 } } },
      { identifier: "y", dataType: { type: "double" } },
    ],
  },
  levels: { type: "array", specs: { size: 3, item: { type: "int", specs: { max: 9 } } } },
});

const STRICT = compileModel(MODEL, "strict");
const OPEN = compileModel(null, "open");

function refusalOf(values: Record<string, unknown>, compiled = STRICT): string[] {
  const { refused } = compiled.validate(values as Record<string, Json>);
  return refused.map(({ path, rule, message }) => `${path} ${rule}: ${message}`);
}

Deno.test("a strict product refuses what is off the model, with path, bound and value", () => {
  assert.deepEqual(refusalOf({ temperature: 180 }), [
    "temperature max: Cannot accept 180: temperature is at most 120",
  ]);
  assert.deepEqual(refusalOf({ temperature: -41 }), [
    "temperature min: Cannot accept -41: temperature is at least -40",
  ]);
  assert.deepEqual(refusalOf({ count: 1.5 }), [
    "count type: Cannot accept 1.5: count is a whole number",
  ]);
  assert.deepEqual(refusalOf({ temperature: "20" }), [
    'temperature type: Cannot accept "20": temperature is a finite number',
  ]);
  assert.deepEqual(refusalOf({ mode: 2 }), [
    'mode enum: Cannot accept 2: mode is one of 0, 1, "auto"',
  ]);
  assert.deepEqual(refusalOf({ label: "longer" }), [
    'label length: Cannot accept "longer": label has at most 5 characters, not 6',
  ]);
  assert.deepEqual(refusalOf({ position: { x: 11 } }), [
    "position.x max: Cannot accept 11: position.x is at most 10",
  ]);
  assert.deepEqual(refusalOf({ position: { z: 1 } }), [
    'position unknown: Cannot accept "z": position has no such field',
  ]);
  assert.deepEqual(refusalOf({ levels: [1, 2, 10] }), [
    "levels.2 max: Cannot accept 10: levels.2 is at most 9",
  ]);
  assert.deepEqual(refusalOf({ levels: [1, 2, 3, 4] }), [
    "levels size: Cannot accept an array of 4: levels has at most 3 items",
  ]);
  assert.deepEqual(refusalOf({ humidity: 1 }), [
    'humidity unknown: Cannot accept "humidity": the thing model has no such property',
  ]);
});

Deno.test("the rest of a message is kept, and all of one without fault is the same object", () => {
  const values = { temperature: 20, on: true, mode: "auto", since: "1700000000000" };
  assert.ok(STRICT.accepts(values));
  assert.equal(STRICT.validate(values).values, values);
  const { values: kept, refused } = STRICT.validate({ ...values, count: -1, humidity: 3 });
  assert.deepEqual(kept, values);
  assert.deepEqual(refused.map((issue) => issue.path), ["count", "humidity"]);
});

Deno.test("an open product infers types and bounds sizes", () => {
  const fine = { t: -1.5e300, on: false, text: "süß", list: [1, "a", null], at: { x: { y: 1 } } };
  assert.ok(OPEN.accepts(fine));
  const nested = (levels: number): Json => levels === 0 ? 1 : [nested(levels - 1)];
  const bad: Record<string, unknown> = {
    a: null,
    b: NaN,
    c: Infinity,
    d: "\ud800",
    e: "x".repeat(10_241),
    f: Array(513).fill(0),
    g: Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`f${i}`, 1])),
    h: nested(40),
    i: { "\udc00": 1 },
    j: JSON.parse('{"__proto__": 1}'),
    k: [[NaN]],
  };
  const { values, refused } = OPEN.validate({ ...bad, ok: 1 } as Record<string, Json>);
  assert.deepEqual(values, { ok: 1 });
  assert.deepEqual(
    refused.map((issue) => `${issue.path} ${issue.rule}`),
    "a type,b finite,c finite,d text,e length,f size,g size,h depth,i key,j key,k finite".split(
      ",",
    ),
  );
});

Deno.test("names of properties are bounded and never reach a prototype", () => {
  for (const compiled of [STRICT, OPEN]) {
    for (const name of ["", "a b", "ä", "x".repeat(65), "a/b", "\ud800", "a\nb"]) {
      assert.ok(!compiled.accepts({ [name]: 1 }), JSON.stringify(name));
      assert.equal(compiled.validate({ [name]: 1 }).refused.length, 1);
    }
    const trap = JSON.parse('{"__proto__": {"polluted": 1}, "temperature": 1}');
    assert.ok(!compiled.accepts(trap));
    assert.deepEqual(Object.keys(compiled.validate(trap).values), ["temperature"]);
  }
  assert.equal(({} as Record<string, unknown>).polluted, undefined);
  assert.ok(OPEN.accepts({ constructor: 1, toString: 2, hasOwnProperty: 3 }));
  assert.ok(!STRICT.accepts({ constructor: 1 }));
});

Deno.test("an open product with a model holds it, and takes what it does not name", () => {
  const compiled = compileModel(MODEL, "open");
  assert.ok(compiled.accepts({ temperature: 20, humidity: 40 }));
  assert.deepEqual(refusalOf({ temperature: 180, humidity: 40 }, compiled), [
    "temperature max: Cannot accept 180: temperature is at most 120",
  ]);
});

Deno.test("desired values may be null, and only those that can be written", () => {
  const parsed = parseThingModel({
    properties: [
      { identifier: "read", accessMode: "r", dataType: { type: "int" } },
      { identifier: "write", accessMode: "rw", dataType: { type: "int", specs: { max: 5 } } },
    ],
  });
  assert.ok(parsed.ok);
  const compiled = compileModel(parsed.model, "strict");
  const values = { read: 1, write: null };
  const { values: kept, refused } = compiled.validateDesired(values);
  assert.deepEqual(kept, { write: null });
  assert.deepEqual(refused.map((issue) => issue.rule), ["accessMode"]);
  assert.equal(compiled.validateDesired({ write: 6 }).refused[0]!.rule, "max");
  assert.deepEqual(OPEN.validateDesired({ any: null, other: [1] }).refused, []);
  assert.equal(OPEN.validateDesired({ "bad name": null }).refused[0]!.rule, "name");
});

/** The rules once more, as plainly as they can be written. */
function fits(type: DataType, value: unknown): boolean {
  const isNumber = typeof value === "number" && Number.isFinite(value);
  switch (type.type) {
    case "int":
    case "float":
    case "double": {
      if (!isNumber || (type.type === "int" && !Number.isSafeInteger(value))) return false;
      const { min, max } = type.specs ?? {};
      return !(min !== undefined && value < min) && !(max !== undefined && value > max);
    }
    case "text":
      return typeof value === "string" && value.length <= (type.specs?.length ?? 10_240) &&
        value.isWellFormed();
    case "date":
      return typeof value === "string"
        ? /^\d{1,15}$/.test(value)
        : Number.isSafeInteger(value) && (value as number) >= 0;
    case "bool":
      return value === true || value === false || value === 0 || value === 1;
    case "enum":
      return Object.keys(type.specs).some((key) =>
        typeof value === "number"
          ? Object.is(value + 0, Number(key))
          : value === key && key === "auto"
      );
    case "struct":
      return typeof value === "object" && value !== null && !Array.isArray(value) &&
        Object.entries(value).every(([key, below]) => {
          const field = type.specs.find(({ identifier }) => identifier === key);
          return field !== undefined && fits(field.dataType, below);
        });
    case "array":
      return Array.isArray(value) && value.length <= (type.specs.size ?? 512) &&
        value.every((element) => fits(type.specs.item, element));
  }
}

Deno.test("accepts, validate and a plain reading of the model agree on generated values", () => {
  const value = fc.oneof(
    fc.double(),
    fc.integer({ min: -50, max: 130 }),
    fc.boolean(),
    fc.string({ maxLength: 8, unit: "binary" }),
    fc.constantFrom("auto", "1", null, "1700000000000", "\ud800", 0, -0),
    fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 5 }),
    fc.record({ x: fc.integer({ min: 5, max: 15 }), y: fc.double() }, { requiredKeys: [] }),
    fc.jsonValue(),
  );
  const names = [...MODEL.properties.map(({ identifier }) => identifier), "other", "__proto__"];
  const values = fc.array(fc.tuple(fc.constantFrom(...names), value), { maxLength: 6 })
    .map((entries) =>
      JSON.parse(`{${
        entries.filter(([, one]) => JSON.stringify(one) !== undefined)
          .map(([key, one]) => `${JSON.stringify(key)}:${JSON.stringify(one)}`).join(",")
      }}`)
    );
  fc.assert(
    fc.property(values, (candidate: Record<string, Json>) => {
      const expected = Object.keys(candidate).filter((key) => {
        const found = MODEL.properties.find(({ identifier }) => identifier === key);
        return found !== undefined && fits(found.dataType, candidate[key]);
      });
      const { values: kept, refused } = STRICT.validate(candidate);
      assert.deepEqual(Object.keys(kept), expected);
      assert.equal(STRICT.accepts(candidate), refused.length === 0);
      assert.equal(refused.length === 0, expected.length === Object.keys(candidate).length);
    }),
    { seed: readSeed(), numRuns: 500 },
  );
});

function exchanges(mode: ProductMode) {
  const parsed = parseThingModel({
    properties: [{ identifier: "level", dataType: { type: "int", specs: { max: 9 } } }],
    events: [
      { identifier: "hot", outputData: [{ ...DEGREES, required: true }, "level", "unknown"] },
      { identifier: "plain" },
    ],
    services: [{ identifier: "heat", inputData: [DEGREES], outputData: ["level"] }],
  });
  assert.ok(parsed.ok);
  return compileModel(parsed.model, mode);
}
const DEGREES = { identifier: "degrees", dataType: { type: "float", specs: { max: 100 } } };

Deno.test("events and calls of a strict product are checked as its properties are", () => {
  const model = exchanges("strict");
  const event = (name: string, data: Json, path = "") =>
    model.eventIssues(name, data, path).map((issue) => `${issue.path} ${issue.rule}`);
  assert.deepEqual(event("hot", { degrees: 99, level: 9, unknown: [] }), []);
  assert.deepEqual(event("hot", { degrees: 101, level: 10, more: 1 }, "data"), [
    "data.degrees max",
    "data.level max",
    "data.more unknown",
  ]);
  assert.deepEqual(event("hot", {}), ["degrees required"]);
  assert.deepEqual(event("plain", {}), []);
  assert.deepEqual(event("plain", { a: 1 }), ["a unknown"]);
  assert.deepEqual(event("plain", 7), [" type"]);
  assert.deepEqual(event("cold", {}), [" unknown"]);
  const call = (service: string, part: "input" | "output", value: Json) =>
    model.callIssues(service, part, value).map((issue) => `${issue.path} ${issue.rule}`);
  assert.deepEqual(call("heat", "input", { degrees: 1 }), []);
  assert.deepEqual(call("heat", "input", {}), []);
  assert.deepEqual(call("heat", "input", { degrees: "1" }), ["input.degrees type"]);
  assert.deepEqual(call("heat", "output", { level: 10 }), ["output.level max"]);
  assert.deepEqual(call("cool", "input", {}), ["input unknown"]);
  assert.deepEqual([model.hasService("heat"), model.hasService("cool")], [true, false]);
  const [issue] = model.eventIssues("hot", { degrees: 101 }, "data");
  assert.equal(issue!.message, "Cannot accept 101: data.degrees is at most 100");
});

Deno.test("an open product is checked in what its model knows", () => {
  const model = exchanges("open");
  assert.deepEqual(model.eventIssues("cold", [1], ""), []);
  assert.deepEqual(model.eventIssues("hot", { degrees: 1, more: 1 }, ""), []);
  assert.equal(model.eventIssues("hot", { degrees: 101 }, "")[0]!.rule, "max");
  assert.deepEqual(model.callIssues("cool", "input", { a: 1 }), []);
  assert.equal(model.callIssues("heat", "input", { degrees: 101 })[0]!.path, "input.degrees");
  assert.ok(model.hasService("cool"));
  for (const mode of ["open", "strict"] as const) {
    const none = compileModel(null, mode);
    assert.equal(none.eventIssues("a", {}, "").length, mode === "open" ? 0 : 1);
    assert.equal(none.hasService("a"), mode === "open");
  }
});

Deno.test("safe JSON is what has no issue", () => {
  const nested = (levels: number): Json => levels === 0 ? 1 : { a: nested(levels - 1) };
  for (const fine of [1, "a", null, true, [], {}, nested(32), [[{ constructor: 1 }]]]) {
    assert.ok(isSafeJson(fine));
    assert.equal(jsonIssue(fine, ""), undefined);
  }
  const bad: [unknown, string][] = [
    [{ a: [1, NaN] }, "a.1"],
    [{ a: "\udfff" }, "a"],
    [{ a: { "\ud800": 1 } }, "a"],
    [JSON.parse('{"a":{"__proto__":1}}'), "a"],
    [{ a: undefined }, "a"],
    [{ a: () => 1 }, "a"],
    [1n, ""],
  ];
  for (const [document, path] of bad) {
    assert.ok(!isSafeJson(document));
    assert.equal(jsonIssue(document, "")?.path, path);
  }
  assert.ok(!isSafeJson(nested(33)));
  assert.equal(jsonIssue(nested(33), "")?.rule, "depth");
});
