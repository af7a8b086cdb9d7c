import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { LIMITS } from "../../runtime/limits.ts";
import { withCarried } from "./carried.ts";
import { decodeMessage } from "./uplink.ts";

const encode = (text: string) => new TextEncoder().encode(text);

Deno.test("what is carried becomes the last member of a body, however that is cut", () => {
  const bodies = [['{"type":"x"}'], ['{"a":', "1", "}"], ['{"a":[', "{}", "]}"]];
  for (const pieces of bodies) {
    const parts = pieces.map(encode);
    const text = Buffer.concat(withCarried(parts, { isWill: true })).toString();
    assert.deepEqual(JSON.parse(text), {
      ...JSON.parse(pieces.join("")),
      carried: { isWill: true },
    });
    assert.deepEqual(parts.map((part) => Buffer.from(part).toString()), pieces);
  }
});

Deno.test("a message of any bytes is kept: as text where it is one, else as base64", () => {
  const bodyOf = (payload: Uint8Array) => {
    const decoded = decodeMessage(payload, "a/b");
    assert.ok(decoded.ok);
    return JSON.parse(Buffer.concat(decoded.parts).toString());
  };
  assert.deepEqual(bodyOf(encode("grün")), { type: "message", topic: "a/b", text: "grün" });
  assert.deepEqual(bodyOf(new Uint8Array()), { type: "message", topic: "a/b", text: "" });
  for (const bytes of [Uint8Array.of(0xff, 0), new Uint8Array(99), encode("\ufeffx").subarray(1)]) {
    const { base64, text } = bodyOf(bytes);
    assert.equal(text, undefined);
    assert.deepEqual([...Buffer.from(base64, "base64")], [...bytes]);
  }
  for (const fill of [0, 0x22, 0x61, 0xff]) {
    const decoded = decodeMessage(new Uint8Array(LIMITS.payloadBytesMax).fill(fill), "t");
    assert.ok(decoded.ok && decoded.parts[0]!.length < LIMITS.payloadBytesMax * 4 / 3 + 100);
  }
  const long = decodeMessage(new Uint8Array(LIMITS.payloadBytesMax + 1), "t");
  assert.ok(!long.ok && long.code === "too_large");
});
