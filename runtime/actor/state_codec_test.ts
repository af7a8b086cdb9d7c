import assert from "node:assert/strict";
import { CodecError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import {
  createTraits,
  decodeEnvelope,
  encodeEnvelope,
  NO_TRAITS,
  peekState,
  traitsBytes,
} from "./state_codec.ts";
import { encodeUtf8, utf8Length } from "./utf8.ts";

const FULL = {
  parks: [1_700_000_000_000.5, 1_700_000_000_001],
  isSuspended: true,
  suspendedLetters: 70_000,
  reminders: ["a", "x".repeat(64)],
};

Deno.test("an envelope comes back as it was stored", () => {
  for (const traits of [NO_TRAITS, FULL, { ...FULL, isSuspended: false, suspendedLetters: 0 }]) {
    for (const json of ['{"text":"Grüße 🙂"}', "[]", "x".repeat(2_000), undefined]) {
      const { bytes, jsonBytes } = encodeEnvelope(513, 1_700_000_000_123, traits, json);
      const envelope = decodeEnvelope(bytes);
      assert.deepEqual([envelope.stateVersion, envelope.version], [513, 1_700_000_000_123]);
      assert.deepEqual(envelope.traits, traits);
      const text = envelope.json === undefined
        ? undefined
        : new TextDecoder().decode(envelope.json);
      assert.equal(text, json);
      assert.equal(jsonBytes, json === undefined ? 0 : utf8Length(json));
      assert.equal(bytes.length, traitsBytes(traits) + jsonBytes);
    }
  }
});

Deno.test("stored JSON bytes are kept as they are", () => {
  const json = encodeUtf8('{"kept":1}');
  const { bytes } = encodeEnvelope(2, 9, FULL, json);
  assert.deepEqual(decodeEnvelope(bytes).json, json);
});

Deno.test("nothing to remember is the shared value", () => {
  assert.equal(createTraits({ ...FULL, parks: [], isSuspended: false, reminders: [] }), NO_TRAITS);
  assert.equal(decodeEnvelope(encodeEnvelope(1, 1, NO_TRAITS, "1").bytes).traits, NO_TRAITS);
});

Deno.test("bytes that are cut off or of another format are refused", () => {
  const { bytes } = encodeEnvelope(1, 1, FULL, undefined);
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => decodeEnvelope(bytes.subarray(0, length)), CodecError, `${length} B`);
  }
  assert.throws(() => decodeEnvelope(new Uint8Array([2, ...bytes.subarray(1)])), CodecError);
});

Deno.test("a state beyond the bound is not encoded", () => {
  const text = "x".repeat(LIMITS.stateBytesMax + 1);
  assert.throws(() => encodeEnvelope(1, 1, NO_TRAITS, text), /stateBytesMax is 65536/);
});

Deno.test("a peek shows what is committed without activating", () => {
  const { bytes } = encodeEnvelope(4, 1, FULL, '{"a":1}');
  assert.deepEqual(peekState(bytes), { stateVersion: 4, isSuspended: true, state: { a: 1 } });
  assert.equal(peekState(encodeEnvelope(4, 1, NO_TRAITS, undefined).bytes).state, undefined);
});

Deno.test("UTF-8 lengths and bytes are those of the encoder", () => {
  for (
    const text of ["", "abc", "é", "漢", "🙂", "\ud800", "\udc00x", "a🙂\ud83d", "x".repeat(3_000)]
  ) {
    const expected = new TextEncoder().encode(text);
    assert.deepEqual(encodeUtf8(text), expected);
    assert.equal(utf8Length(text), expected.length, JSON.stringify(text));
  }
});
