import assert from "node:assert/strict";
import { MQTT_LIMITS } from "../../runtime/mqtt_limits.ts";
import { decodeRetained, encodeRetained, type RetainedMessage, sizeOf } from "./retained_row.ts";

const MESSAGE: RetainedMessage = {
  suffix: "own/a",
  payload: Uint8Array.of(0, 255),
  qos: 2,
  passedOn: Uint8Array.of(1, 1),
  expiresAtMs: 7,
};

Deno.test("retained messages are read from their row as they were written, in order", () => {
  const plain = { ...MESSAGE, suffix: "b", passedOn: new Uint8Array(), expiresAtMs: Infinity };
  const read = decodeRetained(encodeRetained([plain, MESSAGE])!)!;
  const bare = read.map((message) => ({
    ...message,
    payload: Uint8Array.from(message.payload),
    passedOn: Uint8Array.from(message.passedOn),
  }));
  assert.deepEqual(bare, [plain, MESSAGE]);
  assert.equal(encodeRetained([]), undefined, "no row");
});

Deno.test("a row of anything else has no retained messages", () => {
  const stored = { suffix: "a", payload: "", qos: 0 };
  const encode = (row: unknown) => new TextEncoder().encode(JSON.stringify(row));
  assert.equal(decodeRetained(encode({ version: 1, messages: [stored] }))?.length, 1);
  const rows: unknown[] = [
    null,
    {},
    { version: 2, messages: [stored] },
    { version: 1, messages: [null] },
    { version: 1, messages: [{ ...stored, qos: 3 }] },
    { version: 1, messages: [{ ...stored, payload: 1 }] },
    { version: 1, messages: [{ ...stored, expiresAtMs: "1" }] },
  ];
  for (const row of rows) assert.equal(decodeRetained(encode(row)), undefined, JSON.stringify(row));
  assert.equal(decodeRetained(Uint8Array.of(0xff)), undefined);
});

Deno.test("the most that a device may retain fits into its row", () => {
  const { retainedPerDeviceMax, retainedBytesPerDeviceMax } = MQTT_LIMITS;
  const share = retainedBytesPerDeviceMax / retainedPerDeviceMax;
  for (const suffixes of [1, 512]) {
    const messages = Array.from({ length: retainedPerDeviceMax }, (_, i) => {
      const suffix = String(i).padEnd(Math.min(suffixes, share / 2 - 1), '"');
      const left = share - 2 * suffix.length;
      const payload = new Uint8Array(Math.ceil(left / 2));
      const passedOn = new Uint8Array(Math.floor(left / 2));
      return { ...MESSAGE, suffix, payload, passedOn, expiresAtMs: 1_700_000_000_000 };
    });
    const bytes = messages.reduce((sum, message) => sum + sizeOf(message), 0);
    assert.ok(bytes >= retainedBytesPerDeviceMax - retainedPerDeviceMax * 2);
    assert.ok(encodeRetained(messages)!.length <= 65_536);
  }
});
