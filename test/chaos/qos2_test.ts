/**
 * QoS 2 over `kill -9` inside an append, on the real process: a burst whose session rows are large
 * enough to close appends between a message and the next. Each message is taken exactly once.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { systemClock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { startRoost } from "../support/roost.ts";
import { waitFor } from "../support/wait.ts";
import { assertExactlyOnce, untilHandled } from "./verify.ts";

const PRODUCT = "p";
/** Ids in flight at a time: each message's row has all of them. */
const BURST = LIMITS.mqttUnackedMax;
const FAIL_POINTS = ["append:2", "append:3", "append:4"];
const DEATH_MS = 20_000;
const ANSWERS_MS = 30_000;

Deno.test("a kill inside an append neither repeats nor loses a QoS 2 message", async () => {
  const startedMs = systemClock.nowMs();
  await using roost = await startRoost();
  const api = await roost.api();
  await api.createProduct({ key: PRODUCT });
  for (const [round, failPoint] of FAIL_POINTS.entries()) {
    const device = `d${round}`;
    await (await roost.api()).createDevice(PRODUCT, device, { secret: `secret-of-${device}` });
    await roost.restart({
      entry: "test/support/faulty_main.ts",
      env: { ROOST_TEST_FAIL_POINT: failPoint, ROOST_TEST_STEP_MS: "20" },
    });
    const answered = await burst(roost.mqttPort, device);
    await roost.restart({ env: {} });
    await finish(roost.mqttPort, device, answered);
    const acknowledged = Array.from({ length: BURST }, (_, i) => i + 1);
    await untilHandled(await roost.api());
    const claim = { device: { product: PRODUCT, device, secret: "" }, acknowledged };
    const stored = await assertExactlyOnce(await roost.api(), claim, startedMs);
    assert.equal(stored, BURST, `${failPoint}: messages in history`);
  }
});

/**
 * Sends all messages at once, releases none. Resolves with the ids that got a PUBREC, at the death or
 * when all have (the log's readers count as appends too, so that the burst may end before).
 */
async function burst(port: number, device: string): Promise<Set<number>> {
  using peer = await RawMqtt.open(port);
  await peer.login(device, { clean: false, keepalive: 0 });
  peer.sendBytes(messagesOf(peer, device, () => true));
  await waitFor(() => peer.isClosed || peer.packets.length === BURST, {
    what: "the death or all PUBRECs",
    withinMs: DEATH_MS,
  });
  return new Set(peer.packets.map((packet) => packet.messageId!));
}

/** As the standard wants: what got no PUBREC is sent again with DUP, the rest is released. */
async function finish(port: number, device: string, answered: Set<number>): Promise<void> {
  using peer = await RawMqtt.open(port);
  await peer.login(device, { clean: false, keepalive: 0 });
  peer.sendBytes(messagesOf(peer, device, (id) => !answered.has(id)));
  for (const id of answered) peer.send({ cmd: "pubrel", messageId: id });
  let released = 0;
  await waitFor(() => {
    for (const packet of peer.packets.splice(0)) {
      if (packet.cmd === "pubrec") peer.send({ cmd: "pubrel", messageId: packet.messageId! });
      else if (packet.cmd === "pubcomp") released++;
    }
    return released === BURST;
  }, { what: "all PUBCOMPs", withinMs: ANSWERS_MS, actual: () => released });
}

function messagesOf(peer: RawMqtt, device: string, isSent: (id: number) => boolean): Buffer {
  const topic = `v1/${PRODUCT}/${device}/properties`;
  const messages: Buffer[] = [];
  for (let id = 1; id <= BURST; id++) {
    if (isSent(id)) messages.push(peer.publish(topic, JSON.stringify({ seq: id }), 2, id));
  }
  return Buffer.concat(messages);
}
