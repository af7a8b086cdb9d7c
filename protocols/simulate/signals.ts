/**
 * What a simulated device measures: a daily curve with a phase of its own, noise, a slow drift that a
 * service sets back, and a machine that runs by day and rests now and then.
 */
import type { Random } from "../../runtime/random.ts";

/** The strict model of simulated devices. */
export const MODEL = {
  properties: [
    number("temperature", "Temperature", -50, 150, "°C"),
    number("pressure", "Pressure", 0, 25, "bar"),
    number("vibration", "Vibration", 0, 100, "mm/s"),
    { identifier: "running", name: "Running", accessMode: "r", dataType: { type: "bool" } },
    {
      identifier: "seq",
      name: "Number of the transmission",
      accessMode: "r",
      dataType: { type: "int", specs: { min: 1 } },
    },
  ],
  events: [],
  services: [],
};

/** Property that numbers each transmission of a device, from 1: what history is compared by. */
export const SEQUENCE = "seq";

const DAY_MS = 86_400_000;
const DRIFT_PER_HOUR = 0.4;
const DRIFT_MAX = 6;
/** Share of readings at which the machine starts or stops. */
const TOGGLE_SHARE = 0.002;

export class Signals {
  readonly #random: Random;
  readonly #phase: number;
  readonly #base: number;
  #drift = 0;
  #isRunning = true;
  #atMs: number | undefined;

  constructor(random: Random) {
    this.#random = random;
    this.#phase = random.fraction() * Math.PI / 4;
    this.#base = 18 + random.fraction() * 10;
  }

  /** JSON of a reading up to the number of its transmission: `textOf` completes it. */
  read(atMs: number): string {
    const hours = (atMs - (this.#atMs ?? atMs)) / 3_600_000;
    this.#atMs = atMs;
    this.#drift += hours * DRIFT_PER_HOUR;
    if (this.#drift > DRIFT_MAX) this.#drift = 0; // Serviced.
    if (this.#random.fraction() < TOGGLE_SHARE) this.#isRunning = !this.#isRunning;
    const day = Math.sin(2 * Math.PI * (atMs % DAY_MS) / DAY_MS - Math.PI / 2 + this.#phase);
    const load = this.#isRunning ? 1 : 0;
    const temperature = this.#base + 6 * day + 14 * load + this.#drift + this.#noise(0.3);
    const pressure = Math.max(0, load * (5 + 0.8 * day) + this.#noise(0.05));
    const vibration = Math.max(0, load * (2 + this.#drift / 3) + this.#noise(0.2));
    return `{"at":${atMs},"values":{"temperature":${temperature.toFixed(2)},"pressure":${
      pressure.toFixed(3)
    },"vibration":${vibration.toFixed(3)},"running":${this.#isRunning},"${SEQUENCE}":`;
  }

  /** Nearly normal, of this standard deviation. */
  #noise(deviation: number): number {
    const { fraction } = this.#random;
    return (fraction() + fraction() + fraction() - 1.5) * 2 * deviation;
  }
}

/** The whole message of a reading under a number. */
export function textOf(reading: string, sequence: number): string {
  return `${reading}${sequence}}}`;
}

function number(identifier: string, name: string, min: number, max: number, unit: string) {
  const dataType = { type: "double", specs: { min, max, unit } };
  return { identifier, name, accessMode: "r", dataType };
}
