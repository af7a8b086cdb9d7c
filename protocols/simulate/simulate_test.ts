import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import mqttPacket from "mqtt-packet";
import { parseThingModel } from "../../actors/product/thing_model.ts";
import { seededRandom } from "../../runtime/random.ts";
import {
  connectPacket,
  PacketReader,
  publishPacket,
  readPublish,
  subscribePacket,
  text,
} from "./mqtt_bytes.ts";
import { parseSimulateArgs } from "./options.ts";
import { ACKNOWLEDGED, Outcomes, REFUSED } from "./outcomes.ts";
import { askPassword } from "./password.ts";
import { MODEL, Signals, textOf } from "./signals.ts";
import { compare } from "./verify.ts";

const LOGIN = { product: "sim", device: "d-1", secret: "s" };

Deno.test("the simulator's packets are what mqtt-packet reads back", () => {
  const packets: mqttPacket.Packet[] = [];
  const parser = mqttPacket.parser({ protocolVersion: 5 });
  parser.on("packet", (packet) => packets.push(packet));
  const long = "x".repeat(20_000);
  parser.parse(Buffer.concat([
    connectPacket("c", { user: "sim/d-1", password: "s" }, 60),
    subscribePacket(65_535, ["v1/sim/d-1/services/+/+"]),
    publishPacket(text("v1/sim/d-1/properties"), 258, long),
  ]));
  const [connect, subscribe, publish] = packets;
  assert.ok(connect?.cmd === "connect" && connect.username === "sim/d-1");
  assert.equal(connect.protocolVersion, 5);
  assert.ok(subscribe?.cmd === "subscribe" && subscribe.subscriptions[0]!.qos === 1);
  assert.ok(publish?.cmd === "publish" && publish.messageId === 258 && publish.qos === 1);
  assert.equal(String(publish.payload), long);
});

Deno.test("packets are read across any split, and one that is too long is refused", () => {
  const sent = mqttPacket.generate({
    cmd: "publish",
    topic: "v1/sim/d-1/services/start/c1",
    payload: '{"input":{}}',
    qos: 1,
    messageId: 7,
    dup: false,
    retain: false,
    properties: { messageExpiryInterval: 9 },
  }, { protocolVersion: 5 });
  const stream = Buffer.concat([sent, Buffer.of(0xd0, 0)]);
  for (let cut = 0; cut <= stream.length; cut++) {
    const reader = new PacketReader();
    const read = [...reader.read(stream.subarray(0, cut)), ...reader.read(stream.subarray(cut))];
    assert.deepEqual(read.map(({ type }) => type), [3, 13], `cut at ${cut}`);
    const { topic, id, payload } = readPublish(read[0]!);
    assert.deepEqual([topic, id, String(payload)], [
      "v1/sim/d-1/services/start/c1",
      7,
      '{"input":{}}',
    ]);
  }
  assert.throws(() => [...new PacketReader().read(Buffer.of(0x30, 255, 255, 255, 127))], /packet/);
});

Deno.test("signals are JSON within their model, and a day has a warm and a cold half", () => {
  assert.ok(parseThingModel(MODEL).ok);
  const signals = new Signals(seededRandom(7));
  const start = Date.UTC(2026, 0, 1);
  const means = [3, 15].map((hour) => {
    let sum = 0;
    for (let i = 0; i < 500; i++) {
      const at = start + hour * 3_600_000 + i * 1_000;
      const body = JSON.parse(textOf(signals.read(at), i + 1));
      assert.deepEqual([body.at, body.values.seq], [at, i + 1]);
      assert.ok(body.values.pressure >= 0 && body.values.pressure < 25);
      sum += body.values.temperature - (body.values.running ? 14 : 0);
    }
    return sum / 500;
  });
  assert.ok(means[1]! > means[0]! + 3, `${means}`);
});

Deno.test("history that lacks, repeats or invents a message is told", () => {
  const outcomes = new Outcomes();
  for (let i = 0; i < 1_000; i++) outcomes.add();
  for (const sequence of [1, 2, 900]) outcomes.set(sequence, ACKNOWLEDGED);
  outcomes.set(3, REFUSED);
  const claim = { login: LOGIN, outcomes };
  const good = compare(claim, [1, 2, 4, 900]);
  assert.deepEqual(good, { stored: 4, storedUnanswered: 1, missing: 0, faults: [] });
  const bad = [[1, 2], [1, 2, 2, 900], [1, 2, 4, 4, 900], [1, 2, 3, 900], [1, 2, 900, 1_001]];
  for (const history of bad) {
    assert.equal(compare(claim, history).faults.length, 1, `${history}`);
  }
});

Deno.test("a password is a line of standard input, or typed where the terminal echoes nothing", () => {
  const read = (typed: string, isTerminal: boolean) => {
    const bytes = [...new TextEncoder().encode(typed)];
    const raw: boolean[] = [];
    const password = askPassword("owner", {
      isTerminal: () => isTerminal,
      setRaw: (isRaw) => void raw.push(isRaw),
      readSync: (into) => {
        const next = bytes.shift();
        if (next === undefined) return null;
        into[0] = next;
        return 1;
      },
    }, () => {});
    return { password, raw };
  };
  assert.deepEqual(read("se cr\u00e9t\nrest", false), { password: "se cr\u00e9t", raw: [] });
  assert.deepEqual(read("a\u00e9\x7fb\r", true), { password: "ab", raw: [true, false] });
  for (const nothing of ["", "\n", "ab\x03"]) {
    assert.throws(() => read(nothing, true), /No password/);
  }
  assert.throws(() => read("x".repeat(2_000), false), /1024 B/);
});

Deno.test("arguments are read, and refused with their bound", () => {
  const read = (...args: string[]) =>
    parseSimulateArgs(args, {
      readFile: (path) => `${path}\n`,
      askPassword: (user) => `of ${user}`,
    });
  const options = read(
    "--key-file",
    "k",
    "--devices=3",
    "--rate",
    "9",
    "--duration",
    "2m",
    "--keep",
  );
  assert.deepEqual(options.credentials, { type: "key", key: "k" });
  assert.deepEqual([options.devices, options.ratePerSecond, options.durationMs], [3, 9, 120_000]);
  assert.ok(options.isKept && !options.isVerified);
  for (const bad of ["--devices=0", "--rate=x", "--duration=5", "--wire=coap", "--url=ftp://a"]) {
    assert.throws(() => read("--key=k", bad), /Cannot accept/, bad);
  }
  assert.throws(() => read("--kee"), /Unknown argument/);
  assert.throws(() => read(), /--key/);
  const asked = read("--user", "owner", "--demo").credentials;
  assert.deepEqual(asked, { type: "login", user: "owner", password: "of owner" });
  assert.throws(() => read("--key=k", "--demo", "--rate=5"), /--rate together with --demo/);
});
