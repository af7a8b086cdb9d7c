/** What became of each transmission of a device, by its number from 1: a byte each. */
export const UNANSWERED = 1;
export const ACKNOWLEDGED = 2;
export const REFUSED = 3;
export type Outcome = typeof UNANSWERED | typeof ACKNOWLEDGED | typeof REFUSED;

const SIZE_FIRST = 256;

export class Outcomes {
  #bytes = new Uint8Array(SIZE_FIRST);
  #last = 0;

  /** Number of the newest transmission; 0: none. */
  get last(): number {
    return this.#last;
  }

  /** A new transmission, unanswered yet. Returns its number. */
  add(): number {
    if (++this.#last >= this.#bytes.length) {
      const grown = new Uint8Array(this.#bytes.length * 2);
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    this.#bytes[this.#last] = UNANSWERED;
    return this.#last;
  }

  set(sequence: number, outcome: Outcome): void {
    this.#bytes[sequence] = outcome;
  }

  /** Undefined: there is no such transmission. */
  get(sequence: number): Outcome | undefined {
    return (this.#bytes[sequence] || undefined) as Outcome | undefined;
  }
}
