/**
 * One simulated device: it measures, keeps readings while it is cut off, sends them in order, and
 * sends those again whose answer it missed. Each transmission has a number of its own, so that a
 * reading that was stored although its answer was lost is told from the one that was sent again.
 */
import type { Clock } from "../../runtime/clock.ts";
import type { Random } from "../../runtime/random.ts";
import type { Link, LinkEvents, Refusal } from "./link.ts";
import { MESSAGE_ID_MAX } from "./mqtt_link.ts";
import { ACKNOWLEDGED, Outcomes, REFUSED } from "./outcomes.ts";
import { Signals, textOf } from "./signals.ts";
import type { Tally } from "./tally.ts";

/** Readings that a device keeps; beyond, the oldest goes. */
const READINGS_KEPT_MAX = 2_000;
const BACKOFF_MS_FIRST = 250;
const BACKOFF_MS_MAX = 8_000;
const OFFLINE_MS_MIN = 1_000;
const OFFLINE_MS_MAX = 15_000;

interface Reading {
  readonly text: string;
  /** Monotonic. */
  readonly dueMs: number;
  isRepeated: boolean;
}

interface Transmission {
  readonly sequence: number;
  readonly reading: Reading;
  readonly sentMs: number;
}

export interface FleetDeviceOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly tally: Tally;
  readonly startLink: (events: LinkEvents) => Link;
  /** Asks for a turn to connect: `connect` is called then. */
  readonly queueConnect: (device: FleetDevice) => void;
  /** A handshake is over, well or not. */
  readonly onHandshake: () => void;
}

export class FleetDevice {
  readonly outcomes = new Outcomes();
  readonly #options: FleetDeviceOptions;
  readonly #signals: Signals;
  readonly #inFlight = new Map<number, Transmission>();
  #queue: Reading[] = [];
  #link: Link | undefined;
  #isOpen = false;
  #isStopped = false;
  #lastId = 0;
  #failures = 0;
  #heldUntilMs = 0;
  #cancelTimer = () => {};

  constructor(options: FleetDeviceOptions) {
    this.#options = options;
    this.#signals = new Signals(options.random);
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Readings that are not known to be durable or refused. */
  get owed(): number {
    return this.#queue.length + this.#inFlight.size;
  }

  /** @param dueMs Monotonic. */
  measure(dueMs: number): void {
    const { clock, tally } = this.#options;
    tally.readings++;
    const text = this.#signals.read(clock.nowMs());
    this.#queue.push({ text, dueMs, isRepeated: false });
    this.#trim();
    this.#flush();
  }

  connect(): void {
    if (this.#isStopped) return this.#options.onHandshake();
    let isHandshake = true;
    const greeted = () => {
      if (isHandshake) this.#options.onHandshake();
      isHandshake = false;
    };
    const link: Link = this.#options.startLink({
      opened: () => {
        greeted();
        this.#opened();
      },
      acknowledged: (id) => this.#acknowledged(id),
      refused: (id, refusal) => this.#refused(id, refusal),
      closed: (reason) => {
        greeted();
        this.#closed(reason);
      },
    });
    this.#link = link;
  }

  /** Loses its network for a while. */
  dropOut(): void {
    if (!this.#isOpen) return;
    const { random, tally } = this.#options;
    tally.dropouts++;
    this.#link?.drop();
    this.#cutOff();
    const span = OFFLINE_MS_MAX - OFFLINE_MS_MIN;
    this.#connectAfter(OFFLINE_MS_MIN + random.fraction() * span);
  }

  /** Ends for good. What is unanswered now stays so. */
  stop(): void {
    this.#isStopped = true;
    this.#cancelTimer();
    this.#link?.close();
    if (this.#isOpen) this.#options.tally.open--;
    this.#isOpen = false;
    this.#options.tally.unanswered += this.#inFlight.size;
    this.#inFlight.clear();
  }

  #opened(): void {
    this.#isOpen = true;
    this.#failures = 0;
    this.#options.tally.open++;
    this.#flush();
  }

  #acknowledged(id: number): void {
    const { clock, tally } = this.#options;
    const found = this.#inFlight.get(id);
    if (found === undefined) return tally.refuse("answer_to_nothing");
    this.#inFlight.delete(id);
    this.outcomes.set(found.sequence, ACKNOWLEDGED);
    const nowMs = clock.monotonicMs();
    tally.acknowledged++;
    tally.latency.add(nowMs - found.sentMs);
    tally.delivery.add(nowMs - found.reading.dueMs);
    this.#flush();
  }

  #refused(id: number, { reason, isCertain, retryAfterMs }: Refusal): void {
    const { clock, tally } = this.#options;
    const found = this.#inFlight.get(id);
    if (found === undefined) return tally.refuse("answer_to_nothing");
    this.#inFlight.delete(id);
    tally.refuse(reason);
    if (isCertain) this.outcomes.set(found.sequence, REFUSED);
    if (retryAfterMs === undefined) return this.#flush();
    found.reading.isRepeated = true;
    this.#queue.unshift(found.reading);
    this.#heldUntilMs = clock.monotonicMs() + retryAfterMs;
    this.#cancelTimer();
    this.#cancelTimer = clock.after(retryAfterMs + 1, () => this.#flush());
  }

  #closed(reason: string | undefined): void {
    const { random, tally } = this.#options;
    tally.broken++;
    if (reason !== undefined) tally.close(reason);
    this.#cutOff();
    const backoffMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_FIRST * 2 ** this.#failures++);
    this.#connectAfter(backoffMs * (0.5 + random.fraction()));
  }

  /** What was unanswered is sent again, before all else and in its order. */
  #cutOff(): void {
    const { tally } = this.#options;
    if (this.#isOpen) tally.open--;
    this.#isOpen = false;
    this.#link = undefined;
    if (this.#inFlight.size === 0) return;
    tally.unanswered += this.#inFlight.size;
    const again = [...this.#inFlight.values()].map(({ reading }) => reading);
    for (const reading of again) reading.isRepeated = true;
    this.#queue = [...again, ...this.#queue];
    this.#inFlight.clear();
    this.#trim();
  }

  #connectAfter(delayMs: number): void {
    if (this.#isStopped) return;
    const { clock, queueConnect } = this.#options;
    this.#cancelTimer();
    this.#cancelTimer = clock.after(delayMs, () => queueConnect(this));
  }

  #trim(): void {
    const excess = this.#queue.length - READINGS_KEPT_MAX;
    if (excess <= 0) return;
    this.#queue.splice(0, excess);
    this.#options.tally.discarded += excess;
  }

  #flush(): void {
    const { clock, tally } = this.#options;
    const link = this.#link;
    if (link === undefined || !this.#isOpen || this.#queue.length === 0) return;
    const nowMs = clock.monotonicMs();
    if (nowMs < this.#heldUntilMs) return;
    let taken = 0;
    while (taken < this.#queue.length && this.#inFlight.size < link.window) {
      const reading = this.#queue[taken++]!;
      const sequence = this.outcomes.add();
      const id = this.#lastId = this.#lastId % MESSAGE_ID_MAX + 1;
      this.#inFlight.set(id, { sequence, reading, sentMs: nowMs });
      tally.sent++;
      if (reading.isRepeated) tally.resent++;
      link.send(id, textOf(reading.text, sequence));
    }
    if (taken > 0) this.#queue.splice(0, taken);
  }
}
