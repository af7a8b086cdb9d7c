/**
 * Connections whose next message is beyond a rate: it waits, unacknowledged, with all that follows it,
 * while PINGREQ and acknowledgements are still answered. Each has its turn.
 */
import type { Clock } from "../../runtime/clock.ts";
import type { Connection } from "./connection.ts";

const STEP_MS = 20;

export class RateHolds implements Disposable {
  readonly #clock: Clock;
  /** Handles what a connection holds. */
  readonly #goOn: (connection: Connection) => void;
  readonly #held = new Set<Connection>();
  #cancel: (() => void) | undefined;
  #isStopped = false;

  constructor(clock: Clock, goOn: (connection: Connection) => void) {
    this.#clock = clock;
    this.#goOn = goOn;
  }

  /** Its next message waits: `connection.isRateHeld` until it has its turn. */
  add(connection: Connection): void {
    connection.isRateHeld = true;
    this.#held.add(connection);
    this.#plan();
  }

  [Symbol.dispose](): void {
    this.#isStopped = true;
    this.#cancel?.();
  }

  #plan(): void {
    if (this.#isStopped || this.#held.size === 0) return;
    this.#cancel ??= this.#clock.after(STEP_MS, () => this.#step());
  }

  #step(): void {
    this.#cancel = undefined;
    for (const connection of [...this.#held]) {
      const isOver = !connection.isOpen || !connection.isHolding;
      if (!isOver && connection.meter?.heldBy(this.#clock.monotonicMs()) !== undefined) continue;
      this.#held.delete(connection);
      connection.isRateHeld = false;
      if (!isOver) this.#goOn(connection);
    }
    this.#plan();
  }
}
