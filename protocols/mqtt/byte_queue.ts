/** Bytes that wait, copied, so that a small rest does not pin the chunk it came in. */
export interface ByteBudget {
  /** Bytes of all queues that share it. */
  bytes: number;
}

const CAPACITY_MIN = 256;
const EMPTY = new Uint8Array(0);

export class ByteQueue {
  readonly #budget: ByteBudget;
  #bytes: Uint8Array = EMPTY;
  #start = 0;
  #end = 0;

  constructor(budget: ByteBudget) {
    this.#budget = budget;
  }

  get length(): number {
    return this.#end - this.#start;
  }

  /** The bytes that wait, a view that is good until the next `append`, `consume` or `clear`. */
  view(): Uint8Array {
    return this.#bytes.subarray(this.#start, this.#end);
  }

  append(bytes: Uint8Array): void {
    if (this.#end + bytes.length > this.#bytes.length) this.#makeRoom(bytes.length);
    this.#bytes.set(bytes, this.#end);
    this.#end += bytes.length;
    this.#budget.bytes += bytes.length;
  }

  consume(count: number): void {
    this.#start += count;
    this.#budget.bytes -= count;
    if (this.#start === this.#end) this.clear();
  }

  clear(): void {
    this.#budget.bytes -= this.length;
    this.#bytes = EMPTY;
    this.#start = this.#end = 0;
  }

  /** Doubles: a peer that announces much and sends little must not make us reserve much. */
  #makeRoom(count: number): void {
    const length = this.length;
    const grown = new Uint8Array(Math.max(CAPACITY_MIN, length + count, length * 2));
    grown.set(this.view());
    this.#bytes = grown;
    this.#start = 0;
    this.#end = length;
  }
}
