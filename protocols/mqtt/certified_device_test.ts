import assert from "node:assert/strict";
import { deviceIn } from "./certified_device.ts";

Deno.test("a certificate names its device by the common name, or by organization and common name", () => {
  const device = { product: "p", device: "d1" };
  assert.deepEqual(deviceIn({ CN: "p/d1" }), device);
  assert.deepEqual(deviceIn({ CN: "p/d1", O: "a maker" }), device);
  assert.deepEqual(deviceIn({ O: "p", CN: "d1" }), device);
});

Deno.test("any other name is no device's", () => {
  const subjects = [
    undefined,
    {},
    { CN: "d1" },
    { CN: "" },
    { O: "p" },
    { CN: "/d1" },
    { CN: "p/" },
    { CN: "p/d1/x" },
    { CN: "p/d 1" },
    { CN: "p/../d1" },
    { CN: ["p/d1", "p/d2"] },
    { O: ["p", "q"], CN: "d1" },
    { O: "p/q", CN: "d1" },
    { CN: `p/${"d".repeat(65)}` },
    { CN: "p/d1\0" },
  ];
  for (const subject of subjects) {
    assert.equal(deviceIn(subject), undefined, JSON.stringify(subject));
  }
});
