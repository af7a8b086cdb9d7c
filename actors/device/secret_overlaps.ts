/**
 * Devices that may be connected by an old secret: each is told of when that ends, unless it has come
 * back with the new one by then. At most `secretOverlapsMax`, as many as there are old secrets.
 */
import type { Clock } from "../../runtime/clock.ts";

interface Overlap {
  readonly product: string;
  readonly device: string;
  readonly endsAtMs: number;
}

/** Timers take no longer ones; and the wall clock may be set meanwhile. */
const LOOK_MS_MAX = 60_000;

export class SecretOverlaps implements Disposable {
  readonly #clock: Clock;
  readonly #onEnd: (product: string, device: string) => void;
  readonly #overlaps = new Map<string, Overlap>();
  #cancel = () => {};
  /** Wall clock of the next look; Infinity: none is due. */
  #lookAtMs = Infinity;

  constructor(clock: Clock, onEnd: (product: string, device: string) => void) {
    this.#clock = clock;
    this.#onEnd = onEnd;
  }

  get size(): number {
    return this.#overlaps.size;
  }

  remember(product: string, device: string, endsAtMs: number): void {
    this.#overlaps.set(`${product}/${device}`, { product, device, endsAtMs });
    if (endsAtMs < this.#lookAtMs) this.#lookIn(endsAtMs - this.#clock.nowMs());
  }

  forget(product: string, device: string): void {
    if (this.#overlaps.size > 0) this.#overlaps.delete(`${product}/${device}`);
  }

  [Symbol.dispose](): void {
    this.#cancel();
    this.#overlaps.clear();
  }

  #lookIn(delayMs: number): void {
    this.#cancel();
    const waitMs = Math.min(LOOK_MS_MAX, Math.max(1, delayMs));
    this.#lookAtMs = this.#clock.nowMs() + waitMs;
    this.#cancel = this.#clock.after(waitMs, () => this.#look());
  }

  #look(): void {
    this.#lookAtMs = Infinity;
    const nowMs = this.#clock.nowMs();
    let nextMs = Infinity;
    for (const [key, { product, device, endsAtMs }] of this.#overlaps) {
      if (endsAtMs > nowMs) nextMs = Math.min(nextMs, endsAtMs);
      else {
        this.#overlaps.delete(key);
        this.#onEnd(product, device);
      }
    }
    if (nextMs < Infinity) this.#lookIn(nextMs - nowMs);
  }
}
