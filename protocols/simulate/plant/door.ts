/** A door with a lock: people come and go, unless it is locked. */
import type { Random } from "../../../runtime/random.ts";
import {
  boolProperty,
  type CallResult,
  noise,
  numberProperty,
  type RaisedEvent,
  rounded,
  type Thing,
  type ThingProduct,
  unknownService,
  within,
} from "./thing.ts";

const OPENS_PER_SECOND = 0.03;
const CLOSES_PER_SECOND = 0.2;
const LOCKED = boolProperty("locked", "Locked", { 0: "unlocked", 1: "locked" }, "rw");
const OUTPUT = [{ identifier: "locked", dataType: LOCKED.dataType }];

const MODEL = {
  properties: [
    boolProperty("open", "Open", { 0: "closed", 1: "open" }),
    LOCKED,
    numberProperty("battery", "Battery", { min: 0, max: 4, unit: "V" }),
  ],
  events: [
    { identifier: "opened", name: "Opened", type: "info", outputData: [] },
    { identifier: "closed", name: "Closed", type: "info", outputData: [] },
  ],
  services: [
    { identifier: "lock", name: "Lock", inputData: [], outputData: OUTPUT },
    { identifier: "unlock", name: "Unlock", inputData: [], outputData: OUTPUT },
  ],
};

class Door implements Thing {
  readonly #random: Random;
  #isOpen = false;
  #isLocked = false;
  #events: RaisedEvent[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  step(_atMs: number, seconds: number) {
    const chance = (this.#isOpen ? CLOSES_PER_SECOND : OPENS_PER_SECOND) * seconds;
    const mayMove = this.#isOpen || !this.#isLocked;
    if (mayMove && this.#random.fraction() < chance) this.#move(!this.#isOpen);
    const events = this.#events;
    this.#events = [];
    const battery = within(rounded(3.3 + noise(this.#random, 0.01), 3), 0, 4);
    return { values: { open: this.#isOpen, locked: this.#isLocked, battery }, events };
  }

  call(service: string): CallResult {
    if (service === "lock" && this.#isOpen) return { ok: false, error: "the door is open" };
    if (service !== "lock" && service !== "unlock") return unknownService(service);
    this.#isLocked = service === "lock";
    return { ok: true, output: { locked: this.#isLocked } };
  }

  desire({ locked }: Readonly<Record<string, unknown>>): void {
    if (typeof locked !== "boolean" && locked !== 0 && locked !== 1) return;
    if (locked && this.#isOpen) this.#move(false);
    this.#isLocked = Boolean(locked);
  }

  #move(isOpen: boolean): void {
    this.#isOpen = isOpen;
    this.#events.push({ event: isOpen ? "opened" : "closed", output: {} });
  }
}

export const DOORS: ThingProduct = {
  key: "demo-door",
  name: "Door (demo)",
  model: MODEL,
  devices: ["north", "south", "gate"].map((place) => ({
    device: `door-${place}`,
    name: `Door ${place}`,
    tags: ["demo", place],
  })),
  create: (random) => new Door(random),
};
