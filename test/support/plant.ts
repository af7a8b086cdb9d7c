/** A small plant for pages to show: pumps with history, one that is disabled, one that faults. */
import { systemClock } from "../../runtime/clock.ts";
import type { DeviceLogin } from "../bench/load/options.ts";
import type { RoostApi } from "./roost_api.ts";
import type { TestRoost } from "./roost.ts";
import { waitFor } from "./wait.ts";

export const PLANT_ENTRY = "test/support/faulty_main.ts";
const PUMPS = 12;
const HOURS = 6;
/** Points of a message; 1,000 are the bound. */
const SAMPLES = 90;
const MINUTE_MS = 60_000;

export interface Plant {
  readonly pumps: readonly DeviceLogin[];
}

/** Needs a node of entry `PLANT_ENTRY`. */
export async function buildPlant(roost: TestRoost): Promise<Plant> {
  const api = await roost.api();
  await api.createProduct({ key: "pump", name: "Pump", mode: "open" });
  const pumps: DeviceLogin[] = [];
  for (let at = 1; at <= PUMPS; at++) {
    const device = `p-${String(at).padStart(2, "0")}`;
    const name = `Pump ${at}`;
    const tags = [at % 2 === 0 ? "hall-2" : "hall-1"];
    pumps.push(await api.createDevice("pump", device, { name, tags }));
  }
  await fillHistory(roost, pumps[0]!);
  for (const pump of pumps.slice(1, 8)) {
    await post(roost, pump, { temperature: 20 + pumps.indexOf(pump), on: true });
  }
  await post(roost, pumps[8]!, { fault: "throw" });
  await post(roost, pumps[8]!, { fault: "throw", temperature: 99 });
  await post(roost, pumps[9]!, { fault: "throw" });
  await api.desire("pump", "p-01", { on: false, setpoint: 42 });
  await api.patchDevice("pump", "p-12", { enabled: false });
  await untilParked(api, 3);
  return { pumps };
}

/** One message over HTTP, as a device sends it. */
export async function post(
  roost: TestRoost,
  { product, device, secret }: DeviceLogin,
  body: unknown,
): Promise<void> {
  const response = await fetch(`${roost.urls.http}/ingest/v1/${product}/${device}/properties`, {
    method: "POST",
    headers: {
      authorization: `Basic ${btoa(`${product}/${device}:${secret}`)}`,
      "content-type": "application/json",
    },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (response.status !== 202) throw new Error(`${device}: ${response.status} ${text}`);
}

async function fillHistory(roost: TestRoost, pump: DeviceLogin): Promise<void> {
  const endMs = systemClock.nowMs();
  const count = HOURS * 60;
  for (let from = 0; from < count; from += SAMPLES) {
    const samples = Array.from({ length: SAMPLES }, (_, step) => {
      const minute = from + step;
      const wave = Math.sin(minute / 57);
      return {
        at: endMs - (count - minute) * MINUTE_MS,
        values: {
          temperature: Math.round((21 + 4 * wave + Math.sin(minute / 7)) * 100) / 100,
          pressure: Math.round((3 + 0.4 * Math.cos(minute / 31)) * 1_000) / 1_000,
          on: minute % 120 < 90,
        },
      };
    });
    await post(roost, pump, samples);
  }
}

async function untilParked(api: RoostApi, count: number): Promise<void> {
  await waitFor(async () => (await api.ledger()).total.deadLettered >= count, {
    what: `${count} dead letters`,
    withinMs: 20_000,
  });
}
