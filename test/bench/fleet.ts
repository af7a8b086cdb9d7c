/** A running product with registered devices, for the rows that load it from outside. */
import { importDevices } from "../../actors/device/device_import.ts";
import { openRegistryStore } from "../../actors/registry/registry_store.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { systemRandom } from "../../runtime/random.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import type { RoostApi } from "../support/roost_api.ts";
import { letPass, waitFor } from "../support/wait.ts";
import {
  type DeviceLogin,
  type LoadOptions,
  type LoadReport,
  writeDevices,
} from "./load/options.ts";
import { POINTS_PER_MESSAGE, SEQUENCE, TEMPERATURE, VIBRATION } from "./load/payload.ts";
import { runLoad } from "./load/start_load.ts";

export const PRODUCT = "pump";
/** Longest the product may take to store what it acknowledged. */
const STORED_MS_MAX = 900_000;
const COUNT_PAUSE_MS = 1_000;
const READERS = 4;
/** Each has request limits of its own. */
const KEYS = 20;
const SECRET = "bench-secret-of-all-devices";

/** By the number of the device. */
type Describe = (at: number) => { readonly name?: string; readonly tags?: readonly string[] };

export interface StoredCount {
  readonly points: number;
  /** From the begin of the load until all was handled and stored. */
  readonly storedMs: number;
}

export class Fleet implements AsyncDisposable {
  private constructor(
    readonly roost: TestRoost,
    readonly api: RoostApi,
    readonly devices: readonly DeviceLogin[],
    readonly devicesFile: string,
  ) {}

  /**
   * Starts the product in `directory` and registers `count` devices, `d-0` and on.
   * @param options `entry`: composition root, relative to the repository; default: the product's.
   *   `describe`: name and tags of each device.
   */
  static async start(
    directory: string,
    count: number,
    { entry, describe }: { readonly entry?: string; readonly describe?: Describe } = {},
  ): Promise<Fleet> {
    const dataDir = `${directory}/data`;
    const roost = await startRoost(entry === undefined ? { dataDir } : { dataDir, entry });
    try {
      const owner = await roost.api();
      await owner.createProduct({ key: PRODUCT });
      const api = await owner.asProgram(KEYS);
      await roost.kill("SIGTERM");
      await registerDevices(roost, count, describe);
      await roost.start();
      const devices = loginsOf(count);
      const devicesFile = `${directory}/devices`;
      writeDevices(devicesFile, devices);
      return new Fleet(roost, api, devices, devicesFile);
    } catch (fault) {
      await roost[Symbol.asyncDispose]();
      throw fault;
    }
  }

  /** Where the generator connects. */
  target(wire: "mqtt" | "http"): Pick<LoadOptions, "wire" | "host" | "port" | "devicesFile"> {
    const port = wire === "mqtt" ? this.roost.mqttPort : this.roost.httpPort;
    return { wire, host: "127.0.0.1", port, devicesFile: this.devicesFile };
  }

  load(
    wire: "mqtt" | "http",
    options: Omit<LoadOptions, "wire" | "host" | "port" | "devicesFile">,
  ): Promise<LoadReport> {
    return runLoad({ ...this.target(wire), ...options });
  }

  /**
   * Waits until nothing is pending and every acknowledged point is read back through the API; ends
   * with the count it found when time is up.
   */
  async countStored(report: LoadReport): Promise<StoredCount> {
    await this.untilHandled();
    const expected = report.acknowledged * POINTS_PER_MESSAGE;
    const untilMs = systemClock.nowMs() + STORED_MS_MAX;
    while (true) {
      const atMs = systemClock.nowMs();
      const points = await this.countPoints(report);
      if (points >= expected || atMs > untilMs) {
        return { points, storedMs: atMs - report.startedAtMs };
      }
      await letPass(COUNT_PAUSE_MS); // Counting takes from what is counted.
    }
  }

  /** Resolves when no accepted message is pending. */
  async untilHandled(): Promise<void> {
    let pending = -1;
    await waitFor(async () => (pending = (await this.api.ledger()).total.pending) === 0, {
      what: "all accepted messages to be handled",
      withinMs: STORED_MS_MAX,
      actual: () => ({ pending }),
    });
  }

  /** Points of all devices since the load began, counted by the API device by device. */
  async countPoints(report: Pick<LoadReport, "startedAtMs">): Promise<number> {
    let next = 0;
    let total = 0;
    const countSome = async () => {
      for (let i = next++; i < this.devices.length; i = next++) {
        const count = await this.#countOf(this.devices[i]!, report.startedAtMs);
        total += count;
      }
    };
    await Promise.all(Array.from({ length: READERS }, countSome));
    return total;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.roost[Symbol.asyncDispose]();
  }

  async #countOf(device: DeviceLogin, fromMs: number): Promise<number> {
    type Buckets = { readonly series: Record<string, readonly { readonly count?: number }[]> };
    const answer = await this.api.telemetry<Buckets>(device.product, device.device, {
      keys: [TEMPERATURE, VIBRATION, SEQUENCE].join(","),
      from: fromMs - 60_000,
      to: systemClock.nowMs() + 60_000,
      bucketMs: 3_600_000,
      agg: "count",
    });
    return Object.values(answer.series).flat().reduce((sum, one) => sum + (one.count ?? 0), 0);
  }
}

/**
 * Registers devices `d-0` to `d-{count - 1}` straight in the registry of a product that is stopped:
 * the API has a request limit, and the benches need a million.
 */
export async function registerDevices(
  roost: TestRoost,
  count: number,
  describe: Describe = () => ({}),
): Promise<void> {
  const path = `${roost.dataDir}/registry.db`;
  await using store = await openRegistryStore({ path, clock: systemClock, logger: silentLogger });
  const options = { store, clock: systemClock, random: systemRandom };
  const created = await importDevices(
    options,
    loginsOf(count).map((login, at) => ({ ...login, ...describe(at) })),
  );
  if (created !== count) throw new Error(`Registered ${created} devices of ${count}`);
}

export function loginsOf(count: number): DeviceLogin[] {
  return Array.from({ length: count }, (_, i) => ({
    product: PRODUCT,
    device: `d-${i}`,
    secret: SECRET,
  }));
}

/** What must hold whatever the speed. */
export function faultsOf(report: LoadReport, points: number): string[] {
  const faults: string[] = [];
  const expected = report.acknowledged * POINTS_PER_MESSAGE;
  if (points !== expected) faults.push(`read back ${points} points, acknowledged ${expected}`);
  if (report.acknowledged === 0) faults.push("nothing was acknowledged");
  if (report.outOfOrder > 0) faults.push(`${report.outOfOrder} acknowledgements out of order`);
  const rejected = Object.entries(report.rejected);
  if (rejected.length > 0) faults.push(`rejected: ${JSON.stringify(report.rejected)}`);
  if (report.abandoned > 0) faults.push(`${report.abandoned} messages were never acknowledged`);
  return faults;
}
