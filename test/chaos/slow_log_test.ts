/**
 * A log whose every step takes 100 ms, under peers that flood it over both wires. Memory stays within
 * its bounds, PINGREQ is answered, an honest peer is served, and nothing acknowledged is lost.
 *
 * For a minute: `deno test -A test/chaos/slow_log_test.ts -- --seconds=60`.
 */
import assert from "node:assert/strict";
import { systemClock } from "../../runtime/clock.ts";
import { SEQUENCE } from "../bench/load/payload.ts";
import type { DeviceLogin } from "../bench/load/options.ts";
import { startFlood } from "../support/flood.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import { letPass } from "../support/wait.ts";
import { assertExactlyOnce, type Claim, untilHandled } from "./verify.ts";

const SECONDS_DEFAULT = 15;
const WARM_UP_MS = 9_000;
const GROWTH_BYTES_MAX = 100 * 1024 * 1024;
const STEP_MS = 100;
/** Many times a step: the main thread shares two cores with everything else, the flood included. */
const PING_MS_MAX = 10_000;
const MQTT_FLOODERS = 60;
const HTTP_FLOODERS = 10;
const KEYS = 4;

Deno.test("a slow log under a flood costs neither memory, nor pings, nor messages", async () => {
  const durationMs = seconds() * 1_000;
  const startedMs = systemClock.nowMs();
  await using roost = await startRoost({
    entry: "test/support/faulty_main.ts",
    env: { ROOST_TEST_STEP_MS: String(STEP_MS) },
  });
  const devices = await provision(roost);
  // On MQTT 5, flooding breaks the announced Receive Maximum: they are closed and come back.
  const violators = new Set(devices.mqtt.flatMap(({ device }, i) => i % 3 === 0 ? [device] : []));
  using flood = await startFlood({
    mqtt: devices.mqtt.map((device, i) => ({
      port: roost.mqttPort,
      device,
      version: violators.has(device.device) ? 5 : 4,
      // Small and large ones: the first meet the bounds by count, the others those by bytes.
      bodyBytes: i % 2 === 0 ? 100 : 8_192,
    })),
    http: { url: roost.urls.http, devices: devices.http },
  });
  using honest = await HonestPeer.connect(roost, devices.honest);

  await honest.work(WARM_UP_MS);
  const warmBytes = roost.memory().rssBytes;
  let peakBytes = warmBytes;
  const untilMs = systemClock.monotonicMs() + durationMs;
  while (systemClock.monotonicMs() < untilMs) {
    await honest.work(500);
    peakBytes = Math.max(peakBytes, roost.memory().rssBytes);
  }

  const report = await flood.stop();
  const claims = [{ device: devices.honest, acknowledged: honest.acknowledged }, ...report.claims];
  const figures = {
    warmMb: warmBytes >> 20,
    peakMb: peakBytes >> 20,
    slowestPingMs: Math.round(honest.slowestPingMs),
    slowestAckMs: Math.round(honest.slowestAckMs),
    acknowledged: claims.reduce((sum, claim) => sum + claim.acknowledged.length, 0),
    closed: report.closed,
    refused: report.refused,
  };
  const told = JSON.stringify(figures);
  assert.ok(peakBytes - warmBytes <= GROWTH_BYTES_MAX, `memory grew: ${told}`);
  assert.ok(honest.slowestPingMs <= PING_MS_MAX, `PINGREQ was answered late: ${told}`);
  const starved = claims.filter(({ device, acknowledged }) =>
    acknowledged.length === 0 && !violators.has(device.device)
  );
  assert.deepEqual(starved, [], `peers that keep to the protocol are served in turn: ${told}`);

  await roost.restart({ entry: "runtime/main.ts", env: {} }); // By kill -9, and fast from here on.
  await verify(roost, claims, startedMs);
  print(`slow log: ${told}`);
});

async function verify(roost: TestRoost, claims: readonly Claim[], fromMs: number): Promise<void> {
  const api = await (await roost.api()).asProgram(KEYS);
  const { total } = await untilHandled(api);
  assert.equal(total.deadLettered, 0, "a slow log is no fault of a record");
  for (const claim of claims) await assertExactlyOnce(api, claim, fromMs);
}

async function provision(roost: TestRoost) {
  const api = await roost.api();
  await api.createProduct({ key: "p" });
  const secret = "secret-of-honest";
  return {
    mqtt: await api.createDevices("p", MQTT_FLOODERS, "flood"),
    http: await api.createDevices("p", HTTP_FLOODERS, "post"),
    honest: await api.createDevice("p", "honest", { secret }),
  };
}

/** A client of MQTT 5 that pings all the while and sends a message once the last is acknowledged. */
class HonestPeer implements Disposable {
  readonly acknowledged: number[] = [];
  slowestPingMs = 0;
  slowestAckMs = 0;

  private constructor(readonly peer: RawMqtt, readonly device: DeviceLogin) {}

  static async connect(roost: TestRoost, device: DeviceLogin): Promise<HonestPeer> {
    const peer = await RawMqtt.open(roost.mqttPort, { version: 5 });
    await peer.login(device.device);
    return new HonestPeer(peer, device);
  }

  /** At least for so long; a message that waits does not hold up the pings. */
  async work(durationMs: number): Promise<void> {
    const untilMs = systemClock.monotonicMs() + durationMs;
    const { peer, device } = this;
    do {
      const sequence = this.acknowledged.length + 1;
      const topic = `v1/${device.product}/${device.device}/properties`;
      const sentMs = systemClock.monotonicMs();
      peer.sendBytes(peer.publish(topic, `{"${SEQUENCE}": ${sequence}}`, 1, sequence));
      while (!this.#takeAck(sequence, sentMs)) {
        const pingMs = systemClock.monotonicMs();
        await peer.roundTrip();
        this.slowestPingMs = Math.max(this.slowestPingMs, systemClock.monotonicMs() - pingMs);
        await letPass(20);
      }
    } while (systemClock.monotonicMs() < untilMs);
  }

  [Symbol.dispose](): void {
    this.peer[Symbol.dispose]();
  }

  #takeAck(sequence: number, sentMs: number): boolean {
    if (this.peer.isClosed) throw new Error("the honest peer was disconnected");
    const at = this.peer.packets.findIndex((packet) => packet.cmd === "puback");
    if (at < 0) return false;
    const [packet] = this.peer.packets.splice(at, 1);
    assert.equal(packet!.messageId, sequence);
    this.acknowledged.push(sequence);
    this.slowestAckMs = Math.max(this.slowestAckMs, systemClock.monotonicMs() - sentMs);
    return true;
  }
}

function seconds(): number {
  const given = Deno.args.map((arg) => /^--seconds=(\d+)$/.exec(arg)?.[1]).find((one) => one);
  return given === undefined ? SECONDS_DEFAULT : Number(given);
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));
}
