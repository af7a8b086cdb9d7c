import assert from "node:assert/strict";
import { type DataType, nameOf } from "./thing_model.ts";

Deno.test("values of enums and bools have the names that the model gives them", () => {
  const choice: DataType = { type: "enum", specs: { "1": "Auto", soft: "Soft", "2": "" } };
  assert.deepEqual(
    [1, "1", "soft", 2, 3, null, "constructor"].map((value) => nameOf(choice, value)),
    [
      "Auto",
      "Auto",
      "Soft",
      undefined,
      undefined,
      undefined,
      undefined,
    ],
  );
  const named: DataType = { type: "bool", specs: { "0": "off", true: "on" } };
  assert.deepEqual([true, 1, false, 0, "x"].map((value) => nameOf(named, value)), [
    "on",
    "on",
    "off",
    "off",
    undefined,
  ]);
  assert.equal(nameOf({ type: "bool" }, true), undefined);
  assert.equal(nameOf({ type: "int" }, 1), undefined);
  assert.equal(nameOf(undefined, 1), undefined);
});
