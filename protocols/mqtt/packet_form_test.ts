import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { generate, type Packet } from "mqtt-packet";
import { lengthBytes, writeLength } from "./frame.ts";
import { connectForm, formFault } from "./packet_form.ts";

const text = fc.string({ minLength: 1, maxLength: 8, unit: "grapheme" })
  .filter((value) => !value.includes("\0"));
const u32 = fc.integer({ min: 1, max: 0xffffffff });
const bytes = fc.uint8Array({ maxLength: 9 }).map((value) => Buffer.from(value));
const user = fc.dictionary(text, text, { minKeys: 1, maxKeys: 3, noNullPrototype: true });

function some<Value extends Record<string, fc.Arbitrary<unknown>>>(shape: Value) {
  return fc.record(shape, { requiredKeys: [] });
}

const connects = fc.record({
  properties: some({
    sessionExpiryInterval: u32,
    receiveMaximum: fc.integer({ min: 1, max: 0xffff }),
    maximumPacketSize: u32,
    topicAliasMaximum: fc.integer({ min: 1, max: 0xffff }),
    requestResponseInformation: fc.boolean(),
    requestProblemInformation: fc.boolean(),
    userProperties: user,
    authenticationMethod: text,
  }),
  will: fc.option(
    fc.record({
      topic: text,
      payload: bytes,
      properties: some({
        willDelayInterval: u32,
        payloadFormatIndicator: fc.boolean(),
        messageExpiryInterval: u32,
        contentType: text,
        responseTopic: text,
        correlationData: bytes,
        userProperties: user,
      }),
    }),
    { nil: undefined },
  ),
  username: fc.option(text, { nil: undefined }),
  password: fc.option(bytes, { nil: undefined }),
});

const others: fc.Arbitrary<Packet> = fc.oneof(
  fc.record({
    cmd: fc.constant("subscribe"),
    messageId: fc.constant(7),
    subscriptions: fc.array(fc.record({ topic: text, qos: fc.constantFrom(0, 1, 2) }), {
      minLength: 1,
      maxLength: 4,
    }),
    properties: some({
      subscriptionIdentifier: fc.integer({ min: 1, max: 268_435_455 }),
      userProperties: user,
    }),
  }),
  fc.record({
    cmd: fc.constant("unsubscribe"),
    messageId: fc.constant(7),
    unsubscriptions: fc.array(text, { minLength: 1, maxLength: 4 }),
    properties: some({ userProperties: user }),
  }),
  fc.record({
    cmd: fc.constant("disconnect"),
    reasonCode: fc.constantFrom(0, 4),
    properties: some({ sessionExpiryInterval: u32, reasonString: text, userProperties: user }),
  }),
  fc.record({
    cmd: fc.constantFrom("puback", "pubrec", "pubrel", "pubcomp"),
    messageId: fc.constant(7),
    reasonCode: fc.constantFrom(0, 0x92),
    properties: some({ reasonString: text, userProperties: user }),
  }),
) as fc.Arbitrary<Packet>;

function encode(packet: object, version: 4 | 5): Buffer {
  return generate(packet as Packet, { protocolVersion: version });
}

/** The packet with another body, its length put right. */
function withBody(packet: Buffer, change: (body: Buffer) => Uint8Array): Buffer {
  let start = 1;
  while (packet[start]! >= 0x80) start++;
  const body = change(packet.subarray(start + 1));
  const changed = Buffer.alloc(1 + lengthBytes(body.length) + body.length);
  changed[0] = packet[0]!;
  changed.set(body, writeLength(changed, 1, body.length));
  return changed;
}

function faultOf(packet: Buffer, version: 4 | 5): string | undefined {
  if (packet[0] !== 0x10) return formFault(packet, version === 5);
  const form = connectForm(packet, version === 5);
  return form.ok ? undefined : form.fault;
}

/** Sound as it is; with a byte more or less in its body it is not. */
function check(packet: object, version: 4 | 5, isPrefixSound: boolean): void {
  const whole = encode(packet, version);
  assert.equal(faultOf(whole, version), undefined, whole.toString("hex"));
  const longer = withBody(whole, (body) => Buffer.concat([body, Buffer.of(0)]));
  assert.notEqual(faultOf(longer, version), undefined, longer.toString("hex"));
  if (isPrefixSound) return;
  const shorter = withBody(whole, (body) => body.subarray(0, -1));
  assert.notEqual(faultOf(shorter, version), undefined, shorter.toString("hex"));
}

Deno.test("whatever an encoder makes of a CONNECT is sound, and nothing a byte longer or shorter", () => {
  fc.assert(fc.property(connects, fc.constantFrom(4, 5), (parts, version: 4 | 5) => {
    const { will, username, password } = parts;
    const packet = {
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion: version,
      clean: true,
      clientId: "any",
      keepalive: 60,
      ...(will === undefined ? {} : { will: { ...will, qos: 1, retain: false } }),
      ...(username === undefined ? {} : { username }),
      ...(password === undefined || username === undefined ? {} : { password }),
      ...(version === 5 ? { properties: parts.properties } : {}),
    };
    check(packet, version, false);
  }));
});

Deno.test("whatever an encoder makes of other packets is sound, and nothing a byte longer", () => {
  fc.assert(fc.property(others, fc.constantFrom(4, 5), (packet, version: 4 | 5) => {
    const { properties: _, ...plain } = packet as Packet & { properties?: object };
    // Reason and properties of an acknowledgement may be left out, one by one.
    const isPrefixSound = !["subscribe", "unsubscribe"].includes(packet.cmd);
    check(version === 5 ? packet : plain, version, isPrefixSound);
  }));
});

Deno.test("no bytes at all make the check fail with anything but a fault", () => {
  const first = fc.constantFrom(0x10, 0x40, 0x50, 0x62, 0x70, 0x82, 0xa2, 0xe0);
  fc.assert(
    fc.property(first, fc.uint8Array({ maxLength: 60 }), fc.boolean(), (first, body, isV5) => {
      const packet = withBody(Buffer.of(first, 0), () => body);
      const fault = faultOf(packet, isV5 ? 5 : 4);
      assert.ok(fault === undefined || fault === "malformed" || fault === "protocolError");
    }),
    { numRuns: 2_000 },
  );
});
