/** Ctrl-C and SIGTERM: the first one ends what runs in order, the next one leaves at once. */

export interface InterruptionOptions {
  /** Ends the process. @param left What may stay behind; undefined: nothing was made. */
  readonly leave: (left: string | undefined) => void;
  /** Called with the first one, when there is something to end in order. */
  readonly onEnding: () => void;
}

export class Interruption {
  readonly #options: InterruptionOptions;
  #end: (() => void) | undefined;
  #left: string | undefined;
  #isRaised = false;

  constructor(options: InterruptionOptions) {
    this.#options = options;
  }

  /** From now on it ends so; at once, if it was raised since there was something to end. */
  endsBy(end: () => void, left: string): void {
    this.#end = end;
    this.#left = left;
    if (this.#isRaised) end();
  }

  raise(): void {
    if (this.#isRaised || this.#end === undefined) return this.#options.leave(this.#left);
    this.#isRaised = true;
    this.#options.onEnding();
    this.#end();
  }
}
