/** Latencies by count: exact to 10 µs up to 100 ms, then to 1 ms up to a minute. No allocation. */
const FINE_PER_MS = 100;
const FINE_MAX_MS = 100;
const COARSE_MAX_MS = 60_000;

export class Histogram {
  readonly #fine = new Uint32Array(FINE_MAX_MS * FINE_PER_MS);
  readonly #coarse = new Uint32Array(COARSE_MAX_MS + 1);
  #count = 0;
  #maxMs = 0;

  get count(): number {
    return this.#count;
  }

  get maxMs(): number {
    return this.#maxMs;
  }

  add(latencyMs: number): void {
    this.#count++;
    if (latencyMs > this.#maxMs) this.#maxMs = latencyMs;
    if (latencyMs < FINE_MAX_MS) this.#fine[Math.max(0, latencyMs * FINE_PER_MS) | 0]!++;
    else this.#coarse[Math.min(latencyMs, COARSE_MAX_MS) | 0]!++;
  }

  /** Upper end of the bucket that holds this share of all, milliseconds; 0 if there are none. */
  percentileMs(share: number): number {
    const rank = Math.ceil(this.#count * share);
    let seen = 0;
    for (let i = 0; i < this.#fine.length; i++) {
      seen += this.#fine[i]!;
      if (seen >= rank && seen > 0) return (i + 1) / FINE_PER_MS;
    }
    for (let i = 0; i < this.#coarse.length; i++) {
      seen += this.#coarse[i]!;
      if (seen >= rank && seen > 0) return i + 1;
    }
    return 0;
  }
}
