/**
 * A data directory whose disk fills up under load, first to the reserve, then to the last byte, then
 * at once. Senders are held back, nothing ends, and with room again all goes on.
 */
import assert from "node:assert/strict";
import { systemClock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { readAcknowledged } from "../bench/load/acknowledged.ts";
import { type DeviceLogin, writeDevices } from "../bench/load/options.ts";
import { SEQUENCE, SEQUENCE_MIN } from "../bench/load/payload.ts";
import { type RunningLoad, startLoad } from "../bench/load/start_load.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import type { RoostApi, TreeView } from "../support/roost_api.ts";
import { mountRefusal, SmallDisk } from "../support/small_disk.ts";
import { waitFor } from "../support/wait.ts";
import { assertBalanced, assertExactlyOnce, type Claim, untilHandled } from "./verify.ts";

/** Room for the reserve, the databases and what a round writes. */
const DISK_BYTES = 3 * LIMITS.diskReserveBytes;
const LOAD_DEVICES = 10;
const LOAD_PER_SECOND = 1_000;
const LOAD_MS_MAX = 60_000;
const STEP_MS = 5_000;
/** PINGREQs that are answered while the PUBACK is withheld. */
const PINGS = 20;

const unable = await mountRefusal();
if (unable !== undefined) {
  const line = `full disk: SKIPPED, a tmpfs cannot be mounted (${unable})\n`;
  Deno.stderr.writeSync(new TextEncoder().encode(line));
}

Deno.test({
  name: "a full disk holds senders back, ends nothing, and loses nothing acknowledged",
  ignore: unable !== undefined,
  async fn() {
    const startedMs = systemClock.nowMs();
    await using disk = await SmallDisk.mount(DISK_BYTES);
    await using roost = await startRoost({ dataDir: disk.path });
    const scene = await Scene.prepare(roost);
    await using load = scene.startLoad(disk.outside);
    await scene.untilFlowing();

    await scene.heldBack(1, async () => {
      disk.fillTo(LIMITS.diskReserveBytes / 2);
      await scene.untilRefused("disk_reserve");
      disk.fillTo(0);
    }, () => disk.makeRoom());
    await scene.heldBack(2, async () => {
      disk.fillTo(0); // Before anybody looks at the reserve: stores meet the full disk themselves.
      await scene.untilRefused("store_failed|disk_reserve");
    }, () => disk.makeRoom());

    load.stop();
    await load.report;
    await scene.verify(startedMs);
  },
});

class Scene {
  readonly #accepted: Claim & { acknowledged: number[] };
  #file = "";

  private constructor(
    readonly roost: TestRoost,
    readonly api: RoostApi,
    readonly devices: readonly DeviceLogin[],
    readonly honest: DeviceLogin,
    readonly peer: RawMqtt,
  ) {
    this.#accepted = { device: honest, acknowledged: [] };
  }

  static async prepare(roost: TestRoost): Promise<Scene> {
    const api = await roost.api();
    await api.createProduct({ key: "p" });
    const devices = await api.createDevices("p", LOAD_DEVICES, "load");
    const honest = await api.createDevice("p", "honest", { secret: "secret-of-honest" });
    const peer = await RawMqtt.open(roost.mqttPort, { version: 5 });
    await peer.login("honest");
    return new Scene(roost, api, devices, honest, peer);
  }

  startLoad(directory: string): RunningLoad {
    this.#file = `${directory}/acknowledged`;
    writeDevices(`${directory}/devices`, this.devices);
    return startLoad({
      wire: "mqtt",
      host: "127.0.0.1",
      port: this.roost.mqttPort,
      devicesFile: `${directory}/devices`,
      inFlight: 4,
      durationMs: LOAD_MS_MAX,
      firstSequence: SEQUENCE_MIN,
      acknowledgedFile: this.#file,
      isReconnecting: true,
      ratePerSecond: LOAD_PER_SECOND,
    });
  }

  /** The load is acknowledged, more of it than now. */
  async untilFlowing(): Promise<void> {
    const size = () => Deno.statSync(this.#file).size;
    await waitFor(() => isFile(this.#file), { what: "the load to begin", withinMs: STEP_MS });
    const before = size();
    await waitFor(() => size() > before, { what: "the load to go on", withinMs: 2 * STEP_MS });
  }

  async untilRefused(code: string): Promise<void> {
    let text = "";
    const pattern = new RegExp(code);
    await waitFor(async () => {
      const response = await this.#post(0);
      text = `${response.status} ${await response.text()}`;
      if (response.status !== 503) return false;
      assert.ok(Number(response.headers.get("Retry-After")) >= 1);
      return pattern.test(text);
    }, { what: `a refusal by ${code}`, withinMs: 3 * STEP_MS, actual: () => text });
  }

  /** Fills the disk, looks at what a full one is like, makes room, and sees all go on. */
  async heldBack(round: number, fill: () => Promise<void>, makeRoom: () => void): Promise<void> {
    const { peer, api, roost } = this;
    await fill();
    const sequence = SEQUENCE_MIN + round;
    peer.sendBytes(peer.publish("v1/p/honest/properties", bodyOf(sequence), 1, round));
    for (let i = 0; i < PINGS; i++) await peer.roundTrip();
    assert.deepEqual(peer.packets, [], "the PUBACK is withheld");
    assert.equal((await this.#post(0).then(consumed)).status, 503);
    assert.equal((await api.fetch("GET", "/readyz").then(consumed)).status, 503);
    assert.equal((await api.fetch("GET", "/livez").then(consumed)).status, 200);
    assertBalanced(await api.ledger());
    const write = { product: "p", device: `new-${round}` };
    const refused = await api.fetch("POST", "/api/v1/devices", write).then(consumed);
    assert.ok([201, 503].includes(refused.status), `a write was answered ${refused.status}`);
    assert.equal(roost.isRunning, true);

    makeRoom();
    assert.equal((await peer.next("puback")).messageId, round);
    this.#accepted.acknowledged.push(sequence);
    await this.untilFlowing();
    await waitFor(async () => (await api.fetch("GET", "/readyz").then(consumed)).status === 200, {
      what: "Roost to be ready again",
      withinMs: STEP_MS,
    });
    const again = `again-${round}`;
    const made = await api.fetch("POST", "/api/v1/devices", { ...write, device: again });
    assert.equal(made.status, 201, await made.text());
  }

  async verify(startedMs: number): Promise<void> {
    const { api } = this;
    this.peer[Symbol.dispose]();
    const ledger = await untilHandled(api);
    assert.equal(ledger.total.deadLettered, 0);
    assert.equal(ledger.total.rolledBack, 0);
    const acknowledged = this.devices.map((): number[] => []);
    for (const one of readAcknowledged(this.#file)) acknowledged[one.device]!.push(one.sequence);
    for (const [i, device] of this.devices.entries()) {
      assert.ok(acknowledged[i]!.length > 0);
      await assertExactlyOnce(api, { device, acknowledged: acknowledged[i]! }, startedMs);
    }
    await assertExactlyOnce(api, this.#accepted, startedMs);
    await waitFor(async () => (await api.device("p", "honest")).status === "offline", {
      what: "the list of devices to follow",
      withinMs: 8 * STEP_MS, // The views' longest pause after a failure is 30 s.
    });
    assert.deepEqual(restarted(await api.tree()), [], "nothing was restarted");
  }

  /** Of a device of the load: an answer of 202 does not matter, since it is never claimed. */
  #post(device: number): Promise<Response> {
    const { product, device: name, secret } = this.devices[device]!;
    return fetch(`${this.roost.urls.http}/ingest/v1/${product}/${name}/events/posted`, {
      method: "POST",
      headers: { Authorization: `Basic ${btoa(`${product}/${name}:${secret}`)}` },
      body: "{}",
    });
  }
}

function bodyOf(sequence: number): string {
  return `{"${SEQUENCE}": ${sequence}}`;
}

async function consumed(response: Response): Promise<Response> {
  await response.body?.cancel();
  return response;
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (fault) {
    if (fault instanceof Deno.errors.NotFound) return false;
    throw fault;
  }
}

function restarted(tree: TreeView): string[] {
  const isWhole = tree.restarts === 0 && ["running", "stopped"].includes(tree.status);
  const own = isWhole ? [] : [`${tree.id} ${tree.status}`];
  return [...own, ...(tree.children ?? []).flatMap(restarted)];
}
