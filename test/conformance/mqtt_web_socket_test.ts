/** MQTT over WebSocket (MQTT 5: 6; 3.1.1: 6): raw frames and mqtt.js, on the port of MQTT itself. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connect as connectSocket, type Socket } from "node:net";
import { connectAsync } from "mqtt";
import { type Packet, parser } from "mqtt-packet";
import { LIMITS } from "../../runtime/limits.ts";
import { type MqttFixture, startMqttFixture } from "../support/mqtt_fixture.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { waitFor, within } from "../support/wait.ts";

const PREFIX = "v1/p/d1/";
const PROPERTIES = `${PREFIX}properties`;
const WITHIN_MS = 10_000;

/** A peer that makes each frame itself. Server frames of the tests are shorter than 64 KiB. */
class WebSocketPeer implements Disposable {
  readonly socket: Socket;
  received = Buffer.alloc(0);
  isClosed = false;
  readonly packets: Packet[] = [];
  readonly #decoder = parser({ protocolVersion: 5 });

  private constructor(socket: Socket) {
    this.socket = socket;
    this.#decoder.on("packet", (packet) => this.packets.push(packet));
    socket.on("data", (chunk: Buffer) => this.received = Buffer.concat([this.received, chunk]));
    socket.on("error", () => this.isClosed = true);
    socket.on("end", () => this.isClosed = true);
  }

  static async open(port: number, protocol = "mqtt", path = "/mqtt"): Promise<WebSocketPeer> {
    const peer = new WebSocketPeer(connectSocket({ port, host: "127.0.0.1", noDelay: true }));
    const lines = [
      `GET ${path} HTTP/1.1`,
      "Host: 127.0.0.1",
      "Upgrade: websocket",
      "Connection: Upgrade",
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
      "Sec-WebSocket-Version: 13",
      `Sec-WebSocket-Protocol: ${protocol}`,
    ];
    peer.socket.write(lines.join("\r\n") + "\r\n\r\n");
    await waitFor(() => peer.received.includes("\r\n\r\n"), {
      what: "a response",
      withinMs: 5_000,
    });
    return peer;
  }

  get status(): string {
    return this.received.toString("latin1").split(" ")[1]!;
  }

  /** One frame. */
  send(bytes: Uint8Array, first = 0x82): void {
    const { length } = bytes;
    const header = length < 126 ? [first, 128 | length] : [first, 254, length >> 8, length & 255];
    const mask = [9, 8, 7, 6];
    this.socket.write(Buffer.from([...header, ...mask]));
    this.socket.write(Buffer.from(bytes.map((byte, i) => byte ^ mask[i & 3]!)));
  }

  /** Takes the next server frame: its first byte and its payload. */
  async frame(): Promise<[number, Buffer]> {
    const at = this.received.indexOf("\r\n\r\n") + 4;
    const untilBytes = (count: number) =>
      waitFor(() => this.received.length >= at + count, {
        what: "a frame",
        withinMs: WITHIN_MS,
        everyMs: 1,
      });
    await untilBytes(2);
    const isLong = this.received[at + 1] === 126;
    await untilBytes(isLong ? 4 : 2);
    const start = isLong ? 4 : 2;
    const length = isLong ? this.received.readUInt16BE(at + 2) : this.received[at + 1]!;
    await untilBytes(start + length);
    const [before, frame] = [this.received.subarray(0, at), this.received.subarray(at)];
    this.received = Buffer.concat([before, frame.subarray(start + length)]);
    return [frame[0]!, Buffer.from(frame.subarray(start, start + length))];
  }

  /** The next MQTT packet. */
  // deno-lint-ignore no-explicit-any -- tests look at the fields of their kind
  async packet(): Promise<any> {
    while (this.packets.length === 0) {
      const [first, payload] = await this.frame();
      assert.equal(first, 0x82, "6.0.0-1: MQTT goes in binary frames");
      assert.equal(this.#decoder.parse(payload), 0);
    }
    return this.packets.shift();
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

/** Makes packets; never connected. */
async function maker(fixture: MqttFixture): Promise<RawMqtt> {
  return await RawMqtt.open(fixture.gateway.port, { version: 5 });
}

Deno.test("[MQTT-6.0.0-2] packets may be cut and put together in frames in any way", async () => {
  await using fixture = await startMqttFixture();
  const { gateway, ingress } = fixture;
  using make = await maker(fixture);
  using peer = await WebSocketPeer.open(gateway.port);
  assert.equal(peer.status, "101");
  assert.match(peer.received.toString("latin1"), /Sec-WebSocket-Protocol: mqtt\r\n/);
  for (const byte of make.bytesOf(make.connectPacket("d1"))) peer.send(Uint8Array.of(byte));
  assert.equal((await peer.packet()).reasonCode, 0);
  const two = Buffer.concat([1, 2].map((id) => make.publish(PROPERTIES, `{"n":${id}}`, 1, id)));
  peer.send(two.subarray(0, 30), 0x02);
  peer.send(Uint8Array.of(1, 2), 0x89);
  assert.deepEqual(await peer.frame(), [0x8a, Buffer.of(1, 2)], "a ping between fragments");
  peer.send(two.subarray(30), 0x80);
  assert.deepEqual([(await peer.packet()).messageId, (await peer.packet()).messageId], [1, 2]);
  assert.equal(ingress.bodies("properties").length, 2);
  peer.send(Uint8Array.of(3, 232), 0x88);
  assert.deepEqual(await peer.frame(), [0x88, Buffer.of(3, 232)]);
  await waitFor(() => gateway.connections === 0, { what: "its end", withinMs: 5_000 });
  assert.deepEqual(ingress.bodies("disconnected")[0].reason, "closed");
});

Deno.test("[MQTT-6.0.0-1] a text frame closes the connection, and so does a bad one", async () => {
  await using fixture = await startMqttFixture();
  for (const [first, status] of [[0x81, 1003], [0xc2, 1002]] as const) {
    using peer = await WebSocketPeer.open(fixture.gateway.port);
    peer.send(Buffer.from("hi"), first);
    assert.deepEqual(await peer.frame(), [0x88, Buffer.of(status >> 8, status & 255)]);
    await waitFor(() => peer.isClosed, { what: "the close", withinMs: 5_000 });
  }
  assert.deepEqual(fixture.refusals, ["bad_frame", "bad_frame"]);
});

Deno.test("[MQTT-6.0.0-3] a client without subprotocol mqtt is refused in HTTP's words", async () => {
  await using fixture = await startMqttFixture();
  for (
    const [protocol, path, status] of [["chat", "/mqtt", "400"], ["mqtt", "/", "404"]] as const
  ) {
    using peer = await WebSocketPeer.open(fixture.gateway.port, protocol, path);
    assert.equal(peer.status, status);
    await waitFor(() => peer.isClosed, { what: "the close", withinMs: 5_000 });
  }
  assert.deepEqual(fixture.refusals, ["bad_upgrade", "bad_upgrade"]);
});

Deno.test("a stranger cannot make us keep more than a CONNECT, whatever it announces", async () => {
  await using fixture = await startMqttFixture();
  const { gateway, refusals } = fixture;
  using endless = await RawMqtt.open(gateway.port);
  const head = "GET /mqtt HTTP/1.1\r\nCookie: " + "x".repeat(LIMITS.mqttConnectBytesMax);
  endless.sendBytes(Buffer.from(head));
  await waitFor(() => refusals.length === 1, { what: "a refusal", withinMs: 5_000 });
  using peer = await WebSocketPeer.open(gateway.port);
  // A frame of 2^40 bytes, in it a CONNECT of 2 MiB.
  peer.socket.write(Buffer.from([0x82, 255, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
  peer.socket.write(Buffer.from([0x10, 0x80, 0x80, 0x80, 0x01]));
  await waitFor(() => peer.isClosed, { what: "the close", withinMs: 5_000 });
  assert.deepEqual(refusals, ["bad_upgrade", "packet_too_large"]);
  assert.equal(gateway.figures.bufferedBytes, 0);
});

Deno.test("a log without room holds a WebSocket back as it does a socket", async () => {
  await using fixture = await startMqttFixture();
  const { gateway, ingress } = fixture;
  using make = await maker(fixture);
  using peer = await WebSocketPeer.open(gateway.port);
  peer.send(make.bytesOf(make.connectPacket("d1")));
  await peer.packet();
  ingress.hasRoom = false;
  const body = `{"a":"${"x".repeat(1_000)}"}`;
  const count = 900;
  for (let id = 1; id <= count; id++) peer.send(make.publish(PROPERTIES, body, 1, id));
  await waitFor(() => gateway.figures.bufferedBytes > LIMITS.mqttHeldBytesMax, {
    what: "the bound of what is held",
    withinMs: 5_000,
  });
  await make.login("d2");
  assert.ok(gateway.figures.bufferedBytes < 2 * LIMITS.mqttHeldBytesMax + 65_536);
  ingress.makeRoom();
  for (let id = 1; id <= count; id++) assert.equal((await peer.packet()).messageId, id);
});

for (const protocolVersion of [4, 5] as const) {
  Deno.test(`mqtt.js with MQTT ${protocolVersion} works over WebSocket`, async () => {
    await using fixture = await startMqttFixture();
    const { gateway, ingress } = fixture;
    const client = await connectAsync(gateway.urls("127.0.0.1")["ws"]!, {
      protocolVersion,
      username: "p/d1",
      password: "secret-of-d1",
      reconnectPeriod: 0,
    });
    const received: string[] = [];
    client.on("message", (topic, payload) => received.push(`${topic} ${payload}`));
    await client.subscribeAsync(`${PREFIX}#`, { qos: 1 });
    const sent = Array.from(
      { length: 300 },
      (_, n) =>
        client.publishAsync(PROPERTIES, JSON.stringify({ n }), { qos: n % 2 === 0 ? 1 : 2 }),
    );
    await within(Promise.all(sent), "all acknowledgements", WITHIN_MS);
    assert.equal(ingress.bodies("properties").length, 300);
    const values = { text: "x".repeat(70_000) };
    gateway.deliver("p", "d1", { type: "propertySet", version: 1, values });
    await waitFor(() => received.length === 1, { what: "a long message", withinMs: WITHIN_MS });
    assert.ok(received[0]!.length > 70_000);
    await client.endAsync();
    await waitFor(() => gateway.connections === 0, { what: "its end", withinMs: WITHIN_MS });
    assert.equal(ingress.bodies("disconnected")[0].reason, "disconnect");
  });
}
