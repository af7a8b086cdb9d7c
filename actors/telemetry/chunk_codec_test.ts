import assert from "node:assert/strict";
import fc from "fast-check";
import type { Json } from "../../runtime/actor/behaviour.ts";
import { CodecError } from "../../runtime/errors.ts";
import { seededRandom } from "../../runtime/random.ts";
import { decodeChunk, encodeChunk } from "./chunk_codec.ts";

const T0 = Date.UTC(2026, 0, 1);

function roundTrip(ats: readonly number[], values: readonly Json[]) {
  const { codec, bytes } = encodeChunk(ats, values, 0, values.length);
  const column = decodeChunk(codec, bytes);
  return { ats: Array.from(column.ats), values: Array.from(column.values), size: bytes.length };
}

const decimal = fc.tuple(fc.integer({ min: -1e9, max: 1e9 }), fc.integer({ min: 0, max: 6 }))
  .map(([digits, places]) => digits / 10 ** places);
const json = fc.jsonValue({ maxDepth: 3 }).map((value) => value as Json);
const columns: Record<string, fc.Arbitrary<Json>> = {
  decimals: decimal,
  integers: fc.maxSafeInteger(),
  doubles: fc.double({ noNaN: true }),
  "decimals and doubles": fc.oneof(decimal, fc.double({ noNaN: true })),
  "odd numbers": fc.constantFrom(
    0,
    -0,
    Infinity,
    -Infinity,
    5e-324,
    2 ** 51,
    -(2 ** 51),
    2 ** 53,
    0.1,
  ),
  booleans: fc.boolean(),
  strings: fc.string({ unit: "binary" }),
  "any JSON": fc.oneof(json, decimal, fc.boolean(), fc.constant(-0), fc.constant("\ud800")),
};

for (const [name, value] of Object.entries(columns)) {
  Deno.test(`a column of ${name} comes back bit by bit`, () => {
    const point = fc.tuple(fc.integer({ min: 0, max: 86_399_999 }), value);
    fc.assert(
      fc.property(fc.array(point, { minLength: 1, maxLength: 300, size: "max" }), (points) => {
        const ats = points.map(([at]) => T0 + at).sort((a, b) => a - b);
        const values = points.map(([, value]) => value);
        const back = roundTrip(ats, values);
        assert.deepEqual(back.ats, ats);
        assert.deepEqual(back.values, values); // Strict: tells -0 from 0.
      }),
      { numRuns: 50 },
    );
  });
}

Deno.test("a part of a column is packed alone", () => {
  const values = [1, 2.5, true, "x", 3];
  const ats = values.map((_, i) => T0 + i);
  const { codec, bytes } = encodeChunk(ats, values, 1, 3);
  const column = decodeChunk(codec, bytes);
  assert.deepEqual([Array.from(column.ats), Array.from(column.values)], [[T0 + 1, T0 + 2], [
    2.5,
    true,
  ]]);
});

Deno.test("a signal of 3 decimals at 1 Hz with jitter takes at most 4 bytes a point", () => {
  const random = seededRandom(7);
  let level = 21.5;
  const values = Array.from({ length: 1024 }, () => {
    level += (random.fraction() - 0.5) * 0.1;
    return Math.round(level * 1000) / 1000;
  });
  const ats = values.map((_, i) => T0 + i * 1000 + Math.floor(random.fraction() * 20));
  const { size } = roundTrip(ats, values);
  assert.ok(size / 1024 <= 4, `${size / 1024} bytes a point`);
});

Deno.test("damaged chunks are a codec error or other points, never a hang or another fault", () => {
  const random = seededRandom(11);
  const sets: Json[][] = [
    Array.from({ length: 200 }, (_, i) => i / 10),
    Array.from({ length: 200 }, () => random.fraction()),
    Array.from({ length: 200 }, (_, i) => i % 3 === 0),
    Array.from({ length: 200 }, (_, i) => `text ${i % 5}`),
  ];
  let refused = 0;
  for (let round = 0; round < 2000; round++) {
    const values = sets[round % sets.length]!;
    const { codec, bytes } = encodeChunk(values.map((_, i) => T0 + i), values, 0, values.length);
    const damaged = bytes.slice(0, round % 3 === 0 ? 1 + round % bytes.length : bytes.length);
    damaged[Math.floor(random.fraction() * damaged.length)]! ^= 1 << (round % 8);
    try {
      const column = decodeChunk(codec, damaged);
      assert.equal(column.ats.length, column.values.length);
    } catch (fault) {
      assert.ok(fault instanceof CodecError, String(fault));
      refused++;
    }
  }
  assert.ok(refused > 500, `${refused} refused`);
  assert.throws(() => decodeChunk(9, new Uint8Array(20)), CodecError);
  assert.throws(() => decodeChunk(1, new Uint8Array(0)), CodecError);
});
