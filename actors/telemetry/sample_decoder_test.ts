import assert from "node:assert/strict";
import fc from "fast-check";
import { CodecError } from "../../runtime/errors.ts";
import { packRecord } from "../../runtime/log/record.ts";
import type { Segment } from "../../runtime/log/partition_log.ts";
import { SampleDecoder } from "./sample_decoder.ts";
import type { StoredEvent, StoredSample } from "./store.ts";

const TEXT_ENCODER = new TextEncoder();
const TEXT_DECODER = new TextDecoder();
const ACCEPTED_AT = 1_767_225_600_000;

function segmentOf(records: readonly (readonly [to: string, body: string])[]): Segment {
  const packed = records.map(([to, body]) =>
    packRecord({ to, budget: 1 }, TEXT_ENCODER.encode(body))
  );
  const bytes = new Uint8Array(packed.reduce((sum, record) => sum + record.length, 0));
  packed.reduce((at, record) => (bytes.set(record, at), at + record.length), 0);
  const head = { partition: 4, class: "ingress" as const, epoch: 1, firstOffset: 100 };
  return { ...head, count: records.length, acceptedAtMs: ACCEPTED_AT, bytes };
}

function decode(records: readonly (readonly [string, string])[]) {
  const decoder = new SampleDecoder();
  const samples: StoredSample[] = [];
  const events: StoredEvent[] = [];
  decoder.decode(segmentOf(records), samples, events);
  const readable = samples.map(({ values, ...rest }) => ({
    ...rest,
    values: JSON.parse(TEXT_DECODER.decode(values)) as unknown,
  }));
  const read = events.map(({ body, ...rest }) => ({
    ...rest,
    data: JSON.parse(TEXT_DECODER.decode(body)) as unknown,
  }));
  return { samples: readable, events: read, malformed: decoder.malformed };
}

Deno.test("samples are found among other messages, with identity and time", () => {
  const { samples, malformed } = decode([
    ["device/pump/p-1", '{"type":"properties","samples":[{"values":{"t":1}}]}'],
    ["device/pump/p-1", '{"type":"connected","session":"s","epoch":1,"wire":"mqtt"}'],
    ["rule/r-1", '{"type":"properties","samples":[{"values":{"t":9}}]}'],
    [
      "device/pump/p-2",
      '{"type":"properties","samples":[{"at":5,"values":{"t":2}},{"values":{"t":3}}]}',
    ],
  ]);
  const common = { partition: 4 };
  assert.deepEqual(samples, [
    {
      ...common,
      device: "pump/p-1",
      atMs: ACCEPTED_AT,
      offset: 100,
      position: 0,
      values: { t: 1 },
    },
    { ...common, device: "pump/p-2", atMs: 5, offset: 103, position: 0, values: { t: 2 } },
    {
      ...common,
      device: "pump/p-2",
      atMs: ACCEPTED_AT,
      offset: 103,
      position: 1,
      values: { t: 3 },
    },
  ]);
  assert.equal(malformed, 0);
});

Deno.test("cutting samples out gives what parsing the message gives", () => {
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom("}", '"', "\\", '\\"}', "{", '}},{"values":{', "]}", "\u2028", "\ud83d\ude00"),
  );
  const values = fc.dictionary(text, fc.oneof(fc.integer(), text, fc.jsonValue({ maxDepth: 2 })));
  const sample = fc.tuple(values, fc.option(fc.integer({ min: -1000, max: 1e15 })), fc.boolean())
    .map(([values, at, isAtLast]) =>
      at === null ? { values } : isAtLast ? { values, at } : { at, values }
    );
  const message = fc.tuple(fc.array(sample, { maxLength: 4 }), fc.constantFrom(0, 0, 0, 1));
  fc.assert(
    fc.property(message, ([drawn, indent]) => {
      const body = JSON.stringify({ type: "properties", samples: drawn }, null, indent)
        .replace('{\n "type": "properties"', '{"type":"properties"');
      const { samples, malformed } = decode([["device/pump/p-1", body]]);
      const expected =
        (JSON.parse(body) as { samples: { at?: number; values: unknown }[] }).samples;
      assert.deepEqual(
        samples.map(({ atMs, position, values }) => ({ atMs, position, values })),
        expected.map(({ at, values }, position) => ({ atMs: at ?? ACCEPTED_AT, position, values })),
      );
      assert.equal(malformed, 0);
    }),
    { numRuns: 500 },
  );
});

Deno.test("what has not the shape of a properties message is counted and passed over", () => {
  const start = '{"type":"properties"';
  const bodies = [
    `${start},"samples":[{"values":{"t":1}`,
    `${start},"samples":{}}`,
    `${start}`,
    `${start},"samples":[null,{"values":[1]},{"values":{"t":1},"at":"x"},{"values":{"t":1},"at":1e17}]}`,
    `${start},"samples":[{"values":${"[".repeat(3000)}${"]".repeat(3000)}}]}`,
    `${start},"samples":[{"values":{"a":${"[".repeat(3000)}${"]".repeat(3000)}},"at":1}]}`,
  ];
  const { samples, malformed } = decode(bodies.map((body) => ["device/pump/p-1", body] as const));
  assert.deepEqual(samples, []);
  assert.equal(malformed, 3 + 4 + 2);
});

Deno.test("events are found with their name, time and data, and others are counted", () => {
  const deep = `${"[".repeat(3000)}${"]".repeat(3000)}`;
  const { events, samples, malformed } = decode([
    ["device/pump/p-1", '{"type":"event","event":"hot","data":{"c":131}}'],
    ["device/pump/p-1", '{"type":"properties","samples":[{"values":{"t":1}}]}'],
    ["rule/r-1", '{"type":"event","event":"hot","data":1}'],
    ["device/pump/p-2", '{"type":"event","event":"cold","at":5,"data":null,"userProperties":[]}'],
    ["device/pump/p-2", '{"type":"event","event":"cold"}'],
    ["device/pump/p-2", '{"type":"event","event":7,"data":1}'],
    ["device/pump/p-2", '{"type":"event","event":"cold","at":"x","data":1}'],
    ["device/pump/p-2", `{"type":"event","event":"cold","data":${deep}}`],
    ["device/pump/p-2", '{"type":"event","event":'],
  ]);
  const at = { partition: 4 };
  assert.deepEqual(events, [
    { ...at, device: "pump/p-1", offset: 100, event: "hot", atMs: ACCEPTED_AT, data: { c: 131 } },
    { ...at, device: "pump/p-2", offset: 103, event: "cold", atMs: 5, data: null },
  ]);
  assert.deepEqual([samples.length, malformed], [1, 5]);
});

Deno.test("a damaged segment is a codec error after the samples before the damage", () => {
  const body = '{"type":"properties","samples":[{"values":{"t":1}}]}';
  const segment = segmentOf([["device/a/b", body], ["device/a/b", body]]);
  const samples: StoredSample[] = [];
  const cut = { ...segment, bytes: segment.bytes.subarray(0, segment.bytes.length - 1) };
  assert.throws(() => new SampleDecoder().decode(cut, samples, []), CodecError);
  assert.equal(samples.length, 1);
});
