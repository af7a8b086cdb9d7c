/** An electricity meter: a load that follows the day, and a counter that can be set back. */
import type { Random } from "../../../runtime/random.ts";
import {
  type CallResult,
  dayCurve,
  noise,
  numberField,
  numberProperty,
  type RaisedEvent,
  rounded,
  type Thing,
  type ThingProduct,
  unknownService,
  within,
} from "./thing.ts";

const PEAK_KW = 16;
const PEAK_OVER_KW = 14;
const ENERGY_MAX = 1e9;
const ENERGY = numberField("energy", 0, ENERGY_MAX, "kWh");

const MODEL = {
  properties: [
    numberProperty("voltage", "Voltage", { min: 0, max: 500, unit: "V" }),
    numberProperty("current", "Current", { min: 0, max: 400, unit: "A" }),
    numberProperty("power", "Power", { min: 0, max: 100, unit: "kW" }),
    numberProperty("energy", "Energy", { min: 0, max: ENERGY_MAX, unit: "kWh" }),
  ],
  events: [{
    identifier: "peak",
    name: "Peak load",
    type: "alert",
    outputData: [numberField("power", 0, 100, "kW")],
  }],
  services: [{ identifier: "reset", name: "Reset", inputData: [], outputData: [ENERGY] }],
};

class Meter implements Thing {
  readonly #random: Random;
  readonly #base: number;
  #surge = 0;
  #energy = 0;
  #isPeak = false;

  constructor(random: Random) {
    this.#random = random;
    this.#base = 5 + random.fraction() * 3;
  }

  step(atMs: number, seconds: number) {
    const random = this.#random;
    if (random.fraction() < 0.01) this.#surge = 4 + random.fraction() * 6;
    this.#surge *= 0.97;
    const load = this.#base + 3 * dayCurve(atMs) + this.#surge + noise(random, 0.2);
    const power = within(rounded(load, 3), 0, 100);
    const voltage = within(rounded(231 - power / 8 + noise(random, 0.4), 1), 0, 500);
    this.#energy = Math.min(ENERGY_MAX, this.#energy + power * seconds / 3_600);
    const events: RaisedEvent[] = [];
    if (!this.#isPeak && power > PEAK_KW) events.push({ event: "peak", output: { power } });
    if (power > PEAK_KW || power < PEAK_OVER_KW) this.#isPeak = power > PEAK_KW;
    const current = within(rounded(power * 1_000 / voltage, 2), 0, 400);
    const values = { voltage, current, power, energy: rounded(this.#energy, 4) };
    return { values, events };
  }

  call(service: string): CallResult {
    if (service !== "reset") return unknownService(service);
    const energy = rounded(this.#energy, 4);
    this.#energy = 0;
    return { ok: true, output: { energy } };
  }

  desire(): void {}
}

export const METERS: ThingProduct = {
  key: "demo-meter",
  name: "Meter (demo)",
  model: MODEL,
  devices: ["main", "pump-house", "office", "workshop"].map((place) => ({
    device: `meter-${place}`,
    name: `Meter ${place}`,
    tags: ["demo", place],
  })),
  create: (random) => new Meter(random),
};
