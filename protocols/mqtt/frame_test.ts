import assert from "node:assert/strict";
import { generate, type IPublishPacket, parser } from "mqtt-packet";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import {
  createPublishFrame,
  encodePublish,
  INCOMPLETE,
  MALFORMED,
  packetBytes,
  readPublish,
  TOO_LARGE,
} from "./frame.ts";

const frame = createPublishFrame();

const packets = fc.record({
  topic: fc.string({ minLength: 1, maxLength: 40 }),
  payload: fc.uint8Array({ maxLength: 300 }),
  qos: fc.constantFrom(0, 1, 2) as fc.Arbitrary<0 | 1 | 2>,
  retain: fc.boolean(),
  messageId: fc.integer({ min: 1, max: 0xffff }),
  isV5: fc.boolean(),
  hasProperties: fc.boolean(),
  text: fc.string({ maxLength: 300 }),
});

Deno.test("a PUBLISH is read as mqtt-packet writes it", () => {
  fc.assert(fc.property(packets, ({ isV5, hasProperties, text, ...fields }) => {
    const packet: IPublishPacket = {
      cmd: "publish",
      dup: false,
      ...fields,
      payload: Buffer.from(fields.payload),
      ...(hasProperties && isV5
        ? { properties: { contentType: text, responseTopic: text, messageExpiryInterval: 7 } }
        : {}),
    };
    const bytes = Buffer.concat([
      Buffer.of(9),
      generate(packet, { protocolVersion: isV5 ? 5 : 4 }),
    ]);
    assert.equal(packetBytes(bytes, 1, bytes.length, 1e9), bytes.length - 1);
    assert.equal(readPublish(bytes, 1, bytes.length, isV5, frame), 0);
    assert.equal(
      bytes.toString("utf8", frame.topicStart, frame.topicEnd),
      fields.topic.toWellFormed(),
    );
    assert.deepEqual(bytes.subarray(frame.payloadStart, frame.payloadEnd), packet.payload);
    assert.equal(frame.qos, fields.qos);
    assert.equal(frame.isRetain, fields.retain);
    assert.equal(frame.packetId, fields.qos === 0 ? 0 : fields.messageId);
  }));
});

Deno.test("a PUBLISH that we write is read by mqtt-packet", () => {
  const none = new Uint8Array();
  // A content type of 200 bytes, so that their length takes two.
  const properties = Uint8Array.from([3, 0, 200, ...new Array(200).fill(0x61)]);
  for (const isV5 of [false, true]) {
    for (const size of [0, 1, 100, 127, 128, 16_000, 16_384, 70_000]) {
      for (const qos of [0, 1, 2] as const) {
        const payload = new Uint8Array(size).fill(7);
        const fields = { topic: "v1/p/d/ü", qos, packetId: 0xfffe, isDup: qos === 1 };
        const own = isV5 && qos === 2 ? properties : none;
        const publish = { ...fields, payload, isRetained: qos === 2, properties: own };
        const decoder = parser({ protocolVersion: isV5 ? 5 : 4 });
        let seen: IPublishPacket | undefined;
        decoder.on("packet", (packet) => seen = packet as IPublishPacket);
        assert.equal(decoder.parse(Buffer.from(encodePublish(publish, isV5))), 0);
        assert.deepEqual(
          [seen!.topic, seen!.qos, seen!.dup, seen!.messageId, seen!.retain],
          ["v1/p/d/ü", qos, qos === 1, qos === 0 ? undefined : 0xfffe, qos === 2],
        );
        assert.equal(seen!.properties?.contentType?.length, own.length > 0 ? 200 : undefined);
        assert.deepEqual(new Uint8Array(seen!.payload as Buffer), payload);
      }
    }
  }
});

Deno.test("no bytes are read beyond the packet, whatever they announce", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 2, maxLength: 40 }), fc.boolean(), (bytes, v5) => {
      bytes[0] = 0x30 | bytes[0]! & 15;
      bytes[1] = bytes.length - 2;
      if (readPublish(bytes, 0, bytes.length, v5, frame) !== 0) return;
      assert.ok(frame.topicStart < frame.topicEnd || frame.topicAlias > 0);
      assert.ok(frame.propertiesStart <= frame.propertiesEnd);
      assert.ok(frame.topicEnd <= frame.payloadStart);
      assert.ok(frame.payloadStart <= frame.payloadEnd);
      assert.equal(frame.payloadEnd, bytes.length);
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("the announced length is known before the packet has come, and bounded", () => {
  assert.equal(packetBytes(Uint8Array.of(0x30), 0, 1, 100), INCOMPLETE);
  assert.equal(packetBytes(Uint8Array.of(0x30, 0x80), 0, 2, 1_000), INCOMPLETE);
  assert.equal(packetBytes(Uint8Array.of(0x30, 98), 0, 2, 100), 100);
  assert.equal(packetBytes(Uint8Array.of(0x30, 99), 0, 2, 100), TOO_LARGE);
  assert.equal(packetBytes(Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0x7f), 0, 5, 1e6), TOO_LARGE);
  assert.equal(packetBytes(Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0xff), 0, 5, 1e9), MALFORMED);
});
