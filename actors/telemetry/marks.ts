/** The highest (offset, position) stored of each partition: what is not above it is a repeat. */
import { InvalidError } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";

/** Far more than a cluster has; bounds the row that each write rewrites. */
const PARTITIONS_MAX = 16 * (LIMITS.partitionsOfThings + LIMITS.partitionsOfCameras);

export class Marks {
  /** Offset and position of partition `p` at `2p`, -1 where there is none. */
  #pairs: Float64Array<ArrayBuffer>;

  private constructor(pairs: Float64Array<ArrayBuffer>) {
    this.#pairs = pairs;
  }

  static from(bytes: Uint8Array): Marks {
    return new Marks(new Float64Array(bytes.slice().buffer));
  }

  copy(): Marks {
    return new Marks(this.#pairs.slice());
  }

  /** A view, valid until the next `advance`. */
  bytes(): Uint8Array {
    return new Uint8Array(this.#pairs.buffer);
  }

  /** False for a repeat. */
  advance(partition: number, offset: number, position: number): boolean {
    const at = partition * 2;
    if (at >= this.#pairs.length) this.#grow(partition);
    const stored = this.#pairs[at]!;
    if (offset < stored || (offset === stored && position <= this.#pairs[at + 1]!)) return false;
    this.#pairs[at] = offset;
    this.#pairs[at + 1] = position;
    return true;
  }

  #grow(partition: number): void {
    if (!(partition < PARTITIONS_MAX)) {
      throw new InvalidError(
        `Cannot store a sample of partition ${partition}: not below ${PARTITIONS_MAX}`,
      );
    }
    const grown = new Float64Array((partition + 1) * 2).fill(-1);
    grown.set(this.#pairs);
    this.#pairs = grown;
  }
}
