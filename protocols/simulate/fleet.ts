/** All devices of a run: readings in turn at one rate, connections at a bounded rate. */
import { type Clock, waitMs } from "../../runtime/clock.ts";
import type { Random } from "../../runtime/random.ts";
import { FleetDevice } from "./fleet_device.ts";
import { HttpLink } from "./http_link.ts";
import type { DeviceLogin, LinkEvents, LinkTarget } from "./link.ts";
import { MqttLink } from "./mqtt_link.ts";
import { Tally } from "./tally.ts";

export interface FleetOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly wire: "mqtt" | "http";
  readonly target: LinkTarget;
  readonly logins: readonly DeviceLogin[];
  readonly ratePerSecond: number;
  readonly durationMs: number;
  readonly dropoutsPerHour: number;
  /** Called about once a second. */
  readonly onProgress?: (elapsedMs: number) => void;
}

const TICK_MS = 4;
/** Handshakes at one time: a fleet that comes back at once would only wait in the listen backlog. */
const HANDSHAKES_MAX = 128;
const CONNECT_MS_MAX = 30_000;
const DRAIN_MS_MAX = 60_000;
const LOOK_MS = 50;
const PROGRESS_MS = 1_000;
/** Readings that one tick catches up with; a longer stall is a loss of rate, not a burst. */
const BEHIND_MS_MAX = 2_000;

export class Fleet {
  readonly tally = new Tally();
  readonly devices: readonly FleetDevice[];
  readonly #options: FleetOptions;
  #waiting: FleetDevice[] = [];
  #handshakes = 0;
  #isStopped = false;

  constructor(options: FleetOptions) {
    this.#options = options;
    const { clock, random } = options;
    this.devices = options.logins.map((login) =>
      new FleetDevice({
        clock,
        random,
        tally: this.tally,
        startLink: (events) => this.#startLink(login, events),
        queueConnect: (device) => {
          this.#waiting.push(device);
          this.#connectSome();
        },
        onHandshake: () => {
          this.#handshakes--;
          clock.soon(() => this.#connectSome());
        },
      })
    );
  }

  /** Ends the sending early; what is owed is still waited for. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Connects, sends for the duration, waits for what is owed, and disconnects. */
  async run(): Promise<{ readonly sendingMs: number }> {
    const { clock } = this.#options;
    this.#waiting = [...this.devices];
    this.#connectSome();
    await this.#until(
      CONNECT_MS_MAX,
      () => this.#isStopped || this.devices.every((one) => one.isOpen),
    );
    const startedMs = clock.monotonicMs();
    await this.#send(startedMs);
    const sendingMs = clock.monotonicMs() - startedMs;
    await this.#until(DRAIN_MS_MAX, () => this.devices.every((one) => one.owed === 0));
    for (const device of this.devices) device.stop();
    return { sendingMs };
  }

  /** Readings that are owed still. */
  get owed(): number {
    return this.devices.reduce((sum, device) => sum + device.owed, 0);
  }

  async #send(startedMs: number): Promise<void> {
    const { clock, durationMs, ratePerSecond } = this.#options;
    let fromMs = startedMs;
    let dealt = 0;
    let turn = 0;
    let progressMs = startedMs + PROGRESS_MS;
    for (;;) {
      const nowMs = clock.monotonicMs();
      if (this.#isStopped || nowMs - startedMs >= durationMs) return;
      if (nowMs - fromMs - dealt * 1_000 / ratePerSecond > BEHIND_MS_MAX) {
        fromMs = nowMs;
        dealt = 0;
      }
      const due = Math.floor((nowMs - fromMs) * ratePerSecond / 1_000);
      for (; dealt < due; dealt++) {
        this.#measure(this.devices[turn++ % this.devices.length]!, nowMs);
      }
      if (nowMs >= progressMs) {
        progressMs += PROGRESS_MS;
        this.#options.onProgress?.(nowMs - startedMs);
      }
      await waitMs(clock, TICK_MS);
    }
  }

  #measure(device: FleetDevice, nowMs: number): void {
    const { random, dropoutsPerHour, ratePerSecond } = this.#options;
    device.measure(nowMs);
    const readingsPerHour = ratePerSecond / this.devices.length * 3_600;
    if (random.fraction() < dropoutsPerHour / readingsPerHour) device.dropOut();
  }

  async #until(withinMs: number, condition: () => boolean): Promise<void> {
    const { clock } = this.#options;
    const untilMs = clock.monotonicMs() + withinMs;
    while (!condition() && clock.monotonicMs() < untilMs) await waitMs(clock, LOOK_MS);
  }

  #connectSome(): void {
    while (this.#handshakes < HANDSHAKES_MAX) {
      const device = this.#waiting.shift();
      if (device === undefined) return;
      this.#handshakes++;
      device.connect();
    }
  }

  #startLink(login: DeviceLogin, events: LinkEvents) {
    const { wire, target, clock } = this.#options;
    return wire === "mqtt"
      ? new MqttLink({ target, login, clock }, events)
      : new HttpLink(target, login, clock, events);
  }
}
