/** Whether the disk still has its reserve; it is asked once a second at most. */
import type { Clock } from "../clock.ts";
import { LIMITS } from "../limits.ts";

const EVERY_MS = 1_000;

export class DiskCheck {
  readonly #clock: Clock;
  readonly #freeBytes: (() => number) | undefined;
  #checkedAtMs = -Infinity;
  #scarceBytes: number | undefined;

  /** @param freeBytes Undefined: it is never scarce. */
  constructor(clock: Clock, freeBytes: (() => number) | undefined) {
    this.#clock = clock;
    this.#freeBytes = freeBytes;
  }

  /** Bytes that are free, where they are fewer than the reserve. */
  scarceBytes(): number | undefined {
    const nowMs = this.#clock.monotonicMs();
    if (this.#freeBytes === undefined || nowMs - this.#checkedAtMs < EVERY_MS) {
      return this.#scarceBytes;
    }
    this.#checkedAtMs = nowMs;
    const free = this.#freeBytes();
    this.#scarceBytes = free < LIMITS.diskReserveBytes ? free : undefined;
    return this.#scarceBytes;
  }
}
