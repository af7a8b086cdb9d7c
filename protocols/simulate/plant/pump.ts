/** A pump: speed makes flow, pressure and heat; it can be started, stopped and set. */
import type { Random } from "../../../runtime/random.ts";
import {
  boolProperty,
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

const SPEED_MAX = 3_000;
const HOT_C = 75;
const COOL_C = 65;
const STARTED = { identifier: "started", name: "Started", type: "info" };
const SPEED = numberField("speed", 0, SPEED_MAX, "rpm");

const MODEL = {
  properties: [
    boolProperty("running", "Running", { 0: "stopped", 1: "running" }),
    numberProperty("speed", "Speed", { min: 0, max: SPEED_MAX, unit: "rpm" }, "rw"),
    numberProperty("flow", "Flow", { min: 0, max: 200, unit: "m³/h" }),
    numberProperty("pressure", "Pressure", { min: 0, max: 25, unit: "bar" }),
    numberProperty("temperature", "Bearing temperature", { min: -40, max: 150, unit: "°C" }),
  ],
  events: [
    { ...STARTED, outputData: [SPEED] },
    { ...STARTED, identifier: "stopped", name: "Stopped", outputData: [] },
    {
      identifier: "overheated",
      name: "Overheated",
      type: "alert",
      outputData: [numberField("temperature", -40, 150, "°C")],
    },
  ],
  services: [
    { identifier: "start", name: "Start", inputData: [SPEED], outputData: [SPEED] },
    { identifier: "stop", name: "Stop", inputData: [], outputData: [] },
  ],
};

class Pump implements Thing {
  readonly #random: Random;
  #isRunning = true;
  #wanted: number;
  #speed = 0;
  #temperature = 25;
  #isHot = false;
  #events: RaisedEvent[] = [];

  constructor(random: Random) {
    this.#random = random;
    this.#wanted = 1_200 + Math.round(random.fraction() * 900);
  }

  step(atMs: number, seconds: number) {
    const random = this.#random;
    const target = this.#isRunning ? this.#wanted : 0;
    this.#speed += (target - this.#speed) * Math.min(1, seconds / 4);
    const share = this.#speed / SPEED_MAX;
    const room = 20 + 4 * dayCurve(atMs);
    this.#temperature += (room + 70 * share - this.#temperature) * Math.min(1, seconds / 40);
    const temperature = within(rounded(this.#temperature + noise(random, 0.15), 2), -40, 150);
    if (!this.#isHot && temperature > HOT_C) {
      this.#events.push({ event: "overheated", output: { temperature } });
    }
    if (temperature > HOT_C || temperature < COOL_C) this.#isHot = temperature > HOT_C;
    const events = this.#events;
    this.#events = [];
    const values = {
      running: this.#isRunning,
      speed: within(rounded(this.#speed + noise(random, 4) * share, 0), 0, SPEED_MAX),
      flow: within(rounded(120 * share + noise(random, 0.8) * share, 2), 0, 200),
      pressure: within(rounded(12 * share * share + noise(random, 0.05) * share, 3), 0, 25),
      temperature,
    };
    return { values, events };
  }

  call(service: string, input: Readonly<Record<string, unknown>>): CallResult {
    if (service === "stop") {
      this.#switch(false);
      return { ok: true, output: {} };
    }
    if (service !== "start") return unknownService(service);
    this.desire(input);
    this.#switch(true);
    return { ok: true, output: { speed: this.#wanted } };
  }

  desire({ speed }: Readonly<Record<string, unknown>>): void {
    if (typeof speed === "number") this.#wanted = within(speed, 0, SPEED_MAX);
  }

  #switch(isRunning: boolean): void {
    if (isRunning === this.#isRunning) return;
    this.#isRunning = isRunning;
    this.#events.push(
      isRunning
        ? { event: "started", output: { speed: this.#wanted } }
        : { event: "stopped", output: {} },
    );
  }
}

export const PUMPS: ThingProduct = {
  key: "demo-pump",
  name: "Pump (demo)",
  model: MODEL,
  devices: [1, 2, 3].map((number) => ({
    device: `pump-${number}`,
    name: `Pump ${number}`,
    tags: ["demo", "pump-house"],
  })),
  create: (random) => new Pump(random),
};
