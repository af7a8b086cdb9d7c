/**
 * Rounds of load and death on one data directory. The raw generator lives through each death and
 * reconnects, never sending a message twice; mosquitto_pub and mqtt.js die with the server.
 */
import type { Random } from "../../runtime/random.ts";
import { systemClock } from "../../runtime/clock.ts";
import { readAcknowledged } from "../bench/load/acknowledged.ts";
import { type DeviceLogin, writeDevices } from "../bench/load/options.ts";
import { type RunningLoad, startLoad } from "../bench/load/start_load.ts";
import { requirePeer } from "../support/peers.ts";
import type { TestRoost } from "../support/roost.ts";
import type { RoostApi } from "../support/roost_api.ts";
import { letPass, waitFor } from "../support/wait.ts";
import { type ChaosClient, firstSequenceOf, startMosquittoPub, startMqttJs } from "./clients.ts";
import { assertBalanced, assertExactlyOnce, type Claim, untilHandled } from "./verify.ts";

export type Death =
  /** SIGKILL of the whole product so long after the load began. */
  | { readonly type: "killed"; readonly afterMs: number }
  /** The product, started by `entry`, ends itself at `failPoint` = `name:hits`. */
  | { readonly type: "failPoint"; readonly entry: string; readonly failPoint: string };

const PRODUCT = "chaos";
const RAW_DEVICES = 40;
const IN_FLIGHT = 8;
/** Every second round is paced, so that the product is at the head of its log when it dies. */
const PACED_PER_SECOND = 3_000;
const LOAD_MS_MAX = 120_000;
const FAIL_POINT_MS_MAX = 60_000;
const RECONNECT_MS_MAX = 20_000;
const VERIFIERS = 4;
/** Each has request limits of its own. */
const KEYS = 8;

export class Campaign implements AsyncDisposable {
  readonly #claims = new Map<string, { device: DeviceLogin; acknowledged: number[] }>();

  private constructor(
    readonly roost: TestRoost,
    readonly api: RoostApi,
    readonly random: Random,
    readonly directory: string,
    readonly raw: readonly DeviceLogin[],
    readonly others: { readonly mosquitto: DeviceLogin; readonly mqttJs: DeviceLogin },
  ) {}

  static async prepare(roost: TestRoost, random: Random): Promise<Campaign> {
    const api = await (await roost.api()).asProgram(KEYS);
    await api.createProduct({ key: PRODUCT });
    const raw = await api.createDevices(PRODUCT, RAW_DEVICES, "raw");
    const mosquitto = await api.createDevice(PRODUCT, "mosquitto");
    const mqttJs = await api.createDevice(PRODUCT, "mqtt-js");
    const directory = Deno.makeTempDirSync({ prefix: "roost-chaos-" });
    writeDevices(`${directory}/devices`, raw);
    return new Campaign(roost, api, random, directory, raw, { mosquitto, mqttJs });
  }

  /** Load, death, restart, more load, and then everything is verified. */
  async round(round: number, death: Death): Promise<void> {
    const startedMs = systemClock.nowMs();
    const firstSequence = firstSequenceOf(round);
    const acknowledgedFile = `${this.directory}/acknowledged-${round}`;
    if (death.type === "failPoint") await this.#arm(death);
    await using load = startLoad({
      wire: "mqtt",
      host: "127.0.0.1",
      port: this.roost.mqttPort,
      devicesFile: `${this.directory}/devices`,
      inFlight: IN_FLIGHT,
      durationMs: LOAD_MS_MAX,
      firstSequence,
      acknowledgedFile,
      isReconnecting: true,
      ...(round % 2 === 0 ? {} : { ratePerSecond: PACED_PER_SECOND }),
    });
    const clients = await this.#startClients(death, firstSequence);
    await this.#die(death, load);
    const claims: Claim[] = [];
    for (const client of clients) {
      claims.push({ device: client.device, acknowledged: await client.stop() });
    }
    await this.roost.start();
    await this.#untilReconnected(acknowledgedFile);
    await letPass(Math.floor(this.random.fraction() * 300));
    load.stop();
    const report = await load.report;
    if (report.outOfOrder > 0) throw new Error(`${report.outOfOrder} PUBACKs out of order`);
    claims.push(...this.#rawClaims(acknowledgedFile));
    this.#remember(claims);
    await this.#verify(claims, startedMs);
  }

  /** All rounds once more: nothing that was found after its round is lost or doubled later. */
  async verifyAll(startedMs: number): Promise<void> {
    await this.#verify([...this.#claims.values()], startedMs);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Deno.remove(this.directory, { recursive: true });
  }

  /** Starts the test build. Its fail point may strike before it is ready: that is a death as well. */
  async #arm(death: Death & { type: "failPoint" }): Promise<void> {
    const env = { ROOST_TEST_FAIL_POINT: death.failPoint };
    try {
      await this.roost.restart({ entry: death.entry, env });
    } catch (fault) {
      if (this.roost.isRunning || (await this.roost.ended(0)).signal !== "SIGKILL") throw fault;
    }
  }

  /** A fail point may strike before a client is connected: the raw generator alone waits for that. */
  async #startClients(death: Death, firstSequence: number): Promise<ChaosClient[]> {
    const { mosquitto, mqttJs } = this.others;
    const options = { firstSequence, directory: this.directory };
    const clients: ChaosClient[] = [];
    const command = await requirePeer("mosquitto_pub"); // Where it cannot be had, it says so.
    if (command !== undefined) {
      clients.push(startMosquittoPub(this.roost, mosquitto, { ...options, command }));
    }
    if (death.type === "killed") clients.push(await startMqttJs(this.roost, mqttJs, options));
    return clients;
  }

  async #die(death: Death, load: RunningLoad): Promise<void> {
    if (death.type === "failPoint") {
      const status = await this.roost.ended(FAIL_POINT_MS_MAX);
      if (status.signal === "SIGKILL") return;
      throw new Error(`Ended with ${JSON.stringify(status)}, not by its fail point`);
    }
    await load.connected;
    await letPass(death.afterMs);
    assertBalanced(await this.api.ledger());
    await this.roost.kill();
  }

  /** The generator's own ledger grows again: its connections are back. */
  async #untilReconnected(acknowledgedFile: string): Promise<void> {
    const size = () => sizeOf(acknowledgedFile);
    const before = size();
    await waitFor(() => size() > before, {
      what: "acknowledgements after the restart",
      withinMs: RECONNECT_MS_MAX,
    });
  }

  #rawClaims(acknowledgedFile: string): Claim[] {
    const acknowledged = this.raw.map((): number[] => []);
    for (const one of readAcknowledged(acknowledgedFile)) {
      acknowledged[one.device]!.push(one.sequence);
    }
    return this.raw.map((device, i) => ({ device, acknowledged: acknowledged[i]! }));
  }

  #remember(claims: readonly Claim[]): void {
    for (const { device, acknowledged } of claims) {
      const all = this.#claims.get(device.device) ?? { device, acknowledged: [] };
      for (const sequence of acknowledged) all.acknowledged.push(sequence);
      this.#claims.set(device.device, all);
    }
  }

  async #verify(claims: readonly Claim[], fromMs: number): Promise<void> {
    const ledger = await untilHandled(this.api);
    let next = 0;
    let stored = 0;
    const verifySome = async () => {
      for (let i = next++; i < claims.length; i = next++) {
        const found = await assertExactlyOnce(this.api, claims[i]!, fromMs);
        stored += found;
      }
    };
    await Promise.all(Array.from({ length: VERIFIERS }, verifySome));
    if (ledger.total.accepted < stored) {
      throw new Error(
        `History has ${stored} messages, the ledger accepted ${ledger.total.accepted}`,
      );
    }
  }
}

/** 0 while the generator has not made it. */
function sizeOf(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch (fault) {
    if (fault instanceof Deno.errors.NotFound) return 0;
    throw fault;
  }
}
