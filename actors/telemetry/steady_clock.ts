/**
 * The time by which history is removed, which nothing brings back. A wall clock that jumps ahead is
 * believed once it has stayed so for a day: until then time goes on from before the jump. One that
 * jumps back is believed at once. What the clock says at the start is all there is to go by.
 */
import type { Clock } from "../../runtime/clock.ts";
import { DAY_MS } from "./bounds.ts";

/** Beyond it a clock has jumped: more than corrections and pauses of the process come to. */
const JUMP_MS = 3_600_000;
const DOUBT_MS = DAY_MS;

export class SteadyClock {
  readonly #clock: Pick<Clock, "nowMs" | "monotonicMs">;
  readonly #onJump: (aheadMs: number) => void;
  /** Wall time above the monotonic one, as it is believed. */
  #offsetMs: number;
  /** Monotonic; undefined: the clock is believed. */
  #jumpedAtMs: number | undefined;

  /** @param onJump Called once for a jump ahead. */
  constructor(
    clock: Pick<Clock, "nowMs" | "monotonicMs">,
    onJump: (aheadMs: number) => void,
  ) {
    this.#clock = clock;
    this.#onJump = onJump;
    this.#offsetMs = clock.nowMs() - clock.monotonicMs();
  }

  nowMs(): number {
    const monotonicMs = this.#clock.monotonicMs();
    const offsetMs = this.#clock.nowMs() - monotonicMs;
    const aheadMs = offsetMs - this.#offsetMs;
    if (aheadMs > JUMP_MS && this.#jumpedAtMs === undefined) {
      this.#jumpedAtMs = monotonicMs;
      this.#onJump(aheadMs);
    }
    if (aheadMs <= JUMP_MS || monotonicMs - this.#jumpedAtMs! >= DOUBT_MS) {
      this.#offsetMs = offsetMs;
      this.#jumpedAtMs = undefined;
    }
    return monotonicMs + this.#offsetMs;
  }
}
