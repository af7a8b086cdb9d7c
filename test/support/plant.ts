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

/** Of a pump: what it reports, raises and does. */
export const PUMP_MODEL = {
  properties: [
    {
      identifier: "temperature",
      name: "Temperature",
      accessMode: "r",
      dataType: { type: "double", specs: { min: -40, max: 125, unit: "°C" } },
    },
    {
      identifier: "pressure",
      name: "Pressure",
      accessMode: "r",
      dataType: { type: "double", specs: { min: 0, max: 16, unit: "bar" } },
    },
    {
      identifier: "on",
      dataType: { type: "bool", specs: { "0": "off", "1": "on" } },
    },
  ],
  events: [{
    identifier: "overheated",
    name: "Overheated",
    type: "alert",
    outputData: [{
      identifier: "celsius",
      dataType: { type: "double", specs: { unit: "°C" } },
    }],
  }],
  services: [
    {
      identifier: "restart",
      name: "Restart",
      callType: "async",
      inputData: [
        {
          identifier: "delay",
          name: "Delay",
          required: true,
          dataType: { type: "int", specs: { min: 0, max: 60, unit: "s" } },
        },
        {
          identifier: "mode",
          dataType: { type: "enum", specs: { soft: "Soft", hard: "Hard" } },
        },
      ],
      outputData: [{ identifier: "at", dataType: { type: "date" } }],
    },
    {
      identifier: "program",
      name: "Load a program",
      inputData: [{
        identifier: "steps",
        name: "Steps",
        dataType: {
          type: "array",
          specs: {
            size: 8,
            item: {
              type: "struct",
              specs: [
                {
                  identifier: "speed",
                  dataType: { type: "int", specs: { min: 0, max: 3_000 } },
                },
                { identifier: "until", dataType: { type: "date" } },
              ],
            },
          },
        },
      }],
    },
  ],
};

export interface Plant {
  readonly pumps: readonly DeviceLogin[];
}

/** Needs a node of entry `PLANT_ENTRY`. */
export async function buildPlant(roost: TestRoost): Promise<Plant> {
  const api = await roost.api();
  await api.createProduct({
    key: "pump",
    name: "Pump",
    mode: "open",
    model: PUMP_MODEL,
  });
  const pumps: DeviceLogin[] = [];
  for (let at = 1; at <= PUMPS; at++) {
    const device = `p-${String(at).padStart(2, "0")}`;
    const name = `Pump ${at}`;
    const tags = [at % 2 === 0 ? "hall-2" : "hall-1"];
    pumps.push(await api.createDevice("pump", device, { name, tags }));
  }
  await fillHistory(roost, pumps[0]!);
  for (const celsius of [126, 131]) {
    await raise(roost, pumps[0]!, "overheated", { celsius });
  }
  await api.request("POST", "/api/v1/devices/pump/p-01/services/restart", {
    input: { delay: 3 },
    expiresAt: systemClock.nowMs() + 3_600_000,
  });
  for (const pump of pumps.slice(1, 8)) {
    await post(roost, pump, { temperature: 20 + pumps.indexOf(pump), on: true });
  }
  await post(roost, pumps[8]!, { fault: "throw" });
  await post(roost, pumps[8]!, { fault: "throw", temperature: 99 });
  await post(roost, pumps[9]!, { fault: "throw" });
  await api.desire("pump", "p-01", { on: false, setpoint: 42 });
  await api.patchDevice("pump", "p-12", { enabled: false });
  await buildGroups(api);
  await untilParked(api, 3);
  return { pumps };
}

/** One message over HTTP, as a device sends it. */
export async function post(
  roost: TestRoost,
  login: DeviceLogin,
  body: unknown,
): Promise<void> {
  await ingest(roost, login, "properties", body);
}

/** An event over HTTP. */
export async function raise(
  roost: TestRoost,
  login: DeviceLogin,
  event: string,
  body: unknown,
): Promise<void> {
  await ingest(roost, login, `events/${event}`, body);
}

async function ingest(
  roost: TestRoost,
  { product, device, secret }: DeviceLogin,
  what: string,
  body: unknown,
): Promise<void> {
  const response = await fetch(
    `${roost.urls.http}/ingest/v1/${product}/${device}/${what}`,
    {
      method: "POST",
      headers: {
        authorization: `Basic ${btoa(`${product}/${device}:${secret}`)}`,
        "content-type": "application/json",
      },
      body: JSON.stringify(body),
    },
  );
  const text = await response.text();
  if (response.status !== 202) throw new Error(`${device}: ${response.status} ${text}`);
}

/** Two halls of a plant, a line in the first. */
async function buildGroups(api: RoostApi): Promise<void> {
  const make = async (name: string, parent: string | null) =>
    await api.request("POST", "/api/v1/groups", { name, parent }) as { id: string };
  const plant = await make("Plant", null);
  const hall = await make("Hall 1", plant.id);
  await make("Hall 2", plant.id);
  const line = await make("Line A", hall.id);
  const members = [[hall.id, "p-01"], [hall.id, "p-03"], [line.id, "p-02"]];
  for (const [id, device] of members) {
    await api.request("PUT", `/api/v1/groups/${id}/devices/pump/${device}`);
  }
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
