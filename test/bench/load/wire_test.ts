import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { readAnswer, readDevice, subscribeOf } from "./call_wire.ts";
import { httpWire } from "./http_wire.ts";
import { mqttWire, packetIdOf } from "./mqtt_wire.ts";
import { bodyTemplate, POINTS_PER_MESSAGE, SEQUENCE, SEQUENCE_MIN, Signals } from "./payload.ts";
import type { AnswerSink } from "./wire.ts";
import mqttPacket from "mqtt-packet";

const DEVICE = { product: "pump", device: "p-1", secret: "a-secret" };

Deno.test("the generator's PUBLISH is what mqtt-packet reads back", () => {
  const template = mqttWire.template(DEVICE);
  const bytes = template.bytes.slice();
  const sequence = SEQUENCE_MIN + 123_456;
  new Signals(1).write(bytes, template.bodyAt, sequence);
  mqttWire.stamp(bytes, 0, template, sequence);
  const packets: mqttPacket.Packet[] = [];
  const parser = mqttPacket.parser({ protocolVersion: 4 });
  parser.on("packet", (packet) => packets.push(packet));
  parser.parse(Buffer.concat([mqttWire.greeting!(DEVICE), bytes]));
  const [connect, publish] = packets;
  assert.equal(connect?.cmd, "connect");
  assert.equal(connect.username, "pump/p-1");
  assert.equal(String(connect.password), "a-secret");
  assert.equal(publish?.cmd, "publish");
  assert.equal(publish.topic, "v1/pump/p-1/properties");
  assert.equal(publish.qos, 1);
  assert.equal(publish.messageId, packetIdOf(sequence));
  assert.equal(JSON.parse(String(publish.payload))[SEQUENCE], sequence);
});

Deno.test("a message is JSON of about 150 B with three properties that vary", () => {
  const signals = new Signals(7);
  const body = bodyTemplate();
  const seen = new Set<string>();
  for (let i = 0; i < 10_000; i++) {
    signals.write(body, 0, SEQUENCE_MIN + i);
    const text = new TextDecoder().decode(body);
    const values = JSON.parse(text);
    assert.equal(Object.keys(values).length, POINTS_PER_MESSAGE);
    assert.equal(values[SEQUENCE], SEQUENCE_MIN + i);
    seen.add(text);
  }
  assert.equal(seen.size, 10_000);
  assert.ok(body.length >= 130 && body.length <= 170, `${body.length} B`);
});

Deno.test("packet ids stay within 1 to 65535 over all sequence numbers", () => {
  for (const sequence of [SEQUENCE_MIN, 65_535, 65_534, 131_070, 4_294_967_295]) {
    const id = packetIdOf(sequence);
    assert.ok(id >= 1 && id <= 65_535, `${sequence} became ${id}`);
  }
});

Deno.test("MQTT answers are read across any split", () => {
  const stream = Uint8Array.of(0x20, 2, 0, 0, 0x40, 2, 1, 2, 0x30, 3, 0, 1, 97, 0x40, 2, 1, 3);
  assert.deepEqual(answersOf(mqttWire.read, stream), ["opened", "ack 258", "ack 259"]);
});

Deno.test("a refused MQTT handshake is told by its code", () => {
  assert.deepEqual(answersOf(mqttWire.read, Uint8Array.of(0x20, 2, 0, 5)), ["refused connack_5"]);
});

Deno.test("HTTP answers are read across any split, refusals by status", () => {
  const stream = new TextEncoder().encode(
    'HTTP/1.1 202 Accepted\r\nContent-Length: 14\r\n\r\n{"accepted":1}' +
      "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\nretry-after: 1\r\n\r\n{}",
  );
  assert.deepEqual(answersOf(httpWire.read, stream), ["ack 0", "rejected http_429"]);
});

Deno.test("a device of the generator subscribes, and answers each call under its topic", () => {
  const calls = [7, 300].map((messageId) => ({
    cmd: "publish" as const,
    topic: `v1/pump/p-1/services/ping/call-${messageId}`,
    payload: JSON.stringify({ input: { text: "x".repeat(messageId) } }),
    qos: 1 as const,
    messageId,
    dup: false,
    retain: false,
  }));
  const stream = Buffer.concat([
    Uint8Array.of(0x20, 2, 0, 0, 0x90, 3, 0, 1, 1),
    ...calls.map((call) => mqttPacket.generate(call, { protocolVersion: 4 })),
  ]);
  for (let cut = 0; cut < stream.length; cut++) {
    let id = 0;
    const first = readDevice(stream, cut, () => ++id);
    const rest = stream.subarray(first.used);
    const second = readDevice(rest, rest.length, () => ++id);
    assert.ok(first.isConnected || second.isConnected);
    assert.ok(first.isSubscribed || second.isSubscribed);
    const packets: mqttPacket.Packet[] = [];
    const parser = mqttPacket.parser({ protocolVersion: 4 });
    parser.on("packet", (packet) => packets.push(packet));
    parser.parse(Buffer.concat([subscribeOf(DEVICE), ...first.replies, ...second.replies]));
    const [subscribe, ...replies] = packets;
    assert.equal(subscribe?.cmd, "subscribe");
    assert.deepEqual(subscribe.subscriptions.map(({ topic, qos }) => [topic, qos]), [
      ["v1/pump/p-1/services/+/+", 1],
    ]);
    assert.deepEqual(
      replies.map((packet) =>
        packet.cmd === "publish" ? [packet.topic, packet.messageId] : [packet.cmd, packet.messageId]
      ),
      [
        ["puback", 7],
        ["v1/pump/p-1/services/ping/call-7/reply", 1],
        ["puback", 300],
        ["v1/pump/p-1/services/ping/call-300/reply", 2],
      ],
    );
  }
  const refused = Uint8Array.of(0x90, 3, 0, 1, 0x80);
  assert.throws(() => readDevice(refused, refused.length, () => 1), /refused: 128/);
});

Deno.test("an answer to a call counts when it is whole, and the device's", () => {
  const answer = (status: string, body: string) =>
    new TextEncoder().encode(`HTTP/1.1 ${status}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  const done = answer("200 OK", '{"callId":"a","ok":true}');
  for (let cut = 0; cut < done.length; cut++) assert.equal(readAnswer(done, cut), undefined);
  assert.equal(readAnswer(done, done.length), true);
  for (const other of [answer("200 OK", '{"ok":false}'), answer("504 Gateway Timeout", "{}")]) {
    assert.equal(readAnswer(other, other.length), false);
  }
});

/** Feeds the stream cut at every place in turn, and whole byte by byte; all must read the same. */
function answersOf(
  read: (bytes: Uint8Array, length: number, sink: AnswerSink) => number,
  stream: Uint8Array,
): string[] {
  const readCutAt = (cuts: readonly number[]): string[] => {
    const answers: string[] = [];
    const sink: AnswerSink = {
      opened: () => answers.push("opened"),
      refused: (code) => answers.push(`refused ${code}`),
      acknowledged: (id) => answers.push(`ack ${id}`),
      rejected: (code) => answers.push(`rejected ${code}`),
    };
    let from = 0;
    for (const end of [...cuts, stream.length]) {
      const unread = stream.slice(from, end);
      from += read(unread, unread.length, sink);
    }
    return answers;
  };
  const whole = readCutAt([]);
  for (let cut = 1; cut < stream.length; cut++) assert.deepEqual(readCutAt([cut]), whole);
  assert.deepEqual(readCutAt(Array.from(stream.keys()).slice(1)), whole);
  return whole;
}
