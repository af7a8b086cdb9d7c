/** Ticks in memory, decoded, bounded by bytes: readers that are close to the head ask no store. */
import type { TickRange } from "./tick_blob.ts";

export interface LoadedTick {
  readonly tick: number;
  readonly ranges: readonly TickRange[];
  readonly body: Uint8Array;
  /** Its bytes were made in this process: nothing to check. */
  readonly isVerified: boolean;
}

/** What a decoded range costs, roughly. */
const RANGE_BYTES = 160;

function sizeOf(loaded: LoadedTick): number {
  return loaded.body.length + loaded.ranges.length * RANGE_BYTES;
}

const GONE: LoadedTick = { tick: 0, ranges: [], body: new Uint8Array(0), isVerified: true };

/** The newest ticks, without gaps: every tick with records above `floor` is here. */
export class RecentTicks {
  readonly #bytesMax: number;
  #ticks: LoadedTick[] = [];
  #first = 0;
  #bytes = 0;
  floor: number;

  constructor(bytesMax: number, floor: number) {
    this.#bytesMax = bytesMax;
    this.floor = floor;
  }

  /** In rising order. The oldest go until the rest fits. */
  add(loaded: LoadedTick): void {
    this.#ticks.push(loaded);
    this.#bytes += sizeOf(loaded);
    while (this.#bytes > this.#bytesMax) {
      const oldest = this.#ticks[this.#first]!;
      this.#ticks[this.#first++] = GONE; // Its slot stays for a while; its memory must not.
      this.#bytes -= sizeOf(oldest);
      this.floor = oldest.tick;
    }
    if (this.#first > 64 && this.#first * 2 > this.#ticks.length) {
      this.#ticks = this.#ticks.slice(this.#first);
      this.#first = 0;
    }
  }

  get(tick: number): LoadedTick | undefined {
    const found = this.#ticks[this.#find(tick)];
    return found?.tick === tick ? found : undefined;
  }

  /** Held ticks above `after`, in order. */
  *above(after: number): Generator<LoadedTick> {
    for (let i = this.#find(after + 1); i < this.#ticks.length; i++) yield this.#ticks[i]!;
  }

  #find(tick: number): number {
    let low = this.#first;
    let high = this.#ticks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ticks[middle]!.tick >= tick) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** Older ticks that were read from the store: partitions that catch up read the same ones. */
export class ReadTicks {
  readonly #bytesMax: number;
  readonly #ticks = new Map<number, LoadedTick>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get(tick: number): LoadedTick | undefined {
    return this.#ticks.get(tick);
  }

  add(loaded: LoadedTick): void {
    this.#ticks.set(loaded.tick, loaded);
    this.#bytes += sizeOf(loaded);
    for (const [tick, oldest] of this.#ticks) {
      if (this.#bytes <= this.#bytesMax) break;
      this.#ticks.delete(tick);
      this.#bytes -= sizeOf(oldest);
    }
  }
}
