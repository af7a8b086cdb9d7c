import assert from "node:assert/strict";
import fc from "fast-check";
import { ByteReader, ByteWriter } from "./bytes.ts";
import {
  createMeta,
  decodeMeta,
  decodeRelay,
  encodeMeta,
  encodeRelay,
  type LogMeta,
  type PartitionMeta,
  tickOfMeta,
} from "./tick_meta.ts";

Deno.test("integers of any size up to 2^53 - 1 are read as they were written", () => {
  const edges = [0, 127, 128, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 42, Number.MAX_SAFE_INTEGER];
  const property = fc.property(fc.array(fc.maxSafeNat()), (values) => {
    const out = new ByteWriter();
    for (const value of [...edges, ...values]) out.integer(value);
    const input = new ByteReader(out.take());
    for (const value of [...edges, ...values]) assert.equal(input.integer(), value);
    assert.equal(input.isAtEnd, true);
  });
  fc.assert(property); // Prints its seed when it fails.
  for (const wrong of [-1, NaN, 2 ** 53]) {
    assert.throws(() => new ByteWriter().integer(wrong), /Cannot encode/);
  }
  assert.throws(() => new ByteReader(new Uint8Array([0x80])).integer(), /end early/);
});

Deno.test("a meta row is read as it was written, every field in its place", () => {
  const meta = createMeta(3);
  let next = 2 ** 40;
  for (const own of meta.partitions) {
    for (const field of Object.keys(own)) (own as PartitionMeta)[field as "cursor"] = next++;
  }
  const full: LogMeta = {
    ...meta,
    tick: 7,
    epoch: 2,
    tokenLast: 8,
    deadLetterLast: 9,
    pendingFromTick: 5,
    incarnations: new Map([["gateway-ü", 4]]),
    readers: new Map([["telemetry", 6], ["views", 1]]),
    marks: [{ partition: 1, fromOffset: 3, toOffset: 4, deaths: 2 }],
    gaps: [{ partition: 2, from: 10, to: 20 }],
    stops: [{ partition: 1, offset: 2 ** 41, detail: "does not match its checksum" }],
  };
  const bytes = encodeMeta(full);
  assert.deepEqual(decodeMeta(bytes), full);
  assert.equal(tickOfMeta(bytes), 7);
});

Deno.test("relay sequences are read as they were written, damage is refused", () => {
  const seen = Float64Array.from({ length: 9 }, (_, i) => i * 1e9);
  const bytes = encodeRelay(seen);
  assert.deepEqual(decodeRelay(bytes, 3), seen);
  bytes[bytes.length - 1]! ^= 1;
  assert.throws(() => decodeRelay(bytes, 3), /checksum/);
});
