/**
 * Which actors a commit changes, and how to take changes back: to the start of a root record (its
 * effects do not fit) or to the start of the batch (it is run again).
 */
import type { Activation, RawState } from "./activation.ts";
import type { Usage } from "./effects.ts";
import type { Traits } from "./state_codec.ts";

export class Changes {
  /** Changed actors of this commit, each once, in order of their first change. */
  readonly dirty: Activation[] = [];
  readonly #usage: Usage;
  /** Bytes counted for `dirty` of the same index. */
  readonly #costs: number[] = [];
  // One journal entry a change, as parallel arrays: no object per message.
  readonly #actors: Activation[] = [];
  readonly #states: unknown[] = [];
  readonly #raws: (RawState | undefined)[] = [];
  readonly #versions: number[] = [];
  readonly #traits: Traits[] = [];
  /** Cost before the change; -1: the actor was unchanged. */
  readonly #formerCosts: number[] = [];

  constructor(usage: Usage) {
    this.#usage = usage;
  }

  /** Bytes counted for changed actors. */
  get bytes(): number {
    let bytes = 0;
    for (const cost of this.#costs) bytes += cost;
    return bytes;
  }

  /** To hand to `undo`. */
  get mark(): number {
    return this.#actors.length;
  }

  /** Notes what the actor is now, before it changes. `cost`: bytes to count if it was unchanged. */
  note(activation: Activation, cost: number): void {
    const index = activation.dirtyIndex;
    this.#actors.push(activation);
    this.#states.push(activation.state);
    this.#raws.push(activation.raw);
    this.#versions.push(activation.version);
    this.#traits.push(activation.traits);
    this.#formerCosts.push(index < 0 ? -1 : this.#costs[index]!);
    if (index >= 0) return;
    activation.dirtyIndex = this.dirty.length;
    this.dirty.push(activation);
    this.#costs.push(cost);
    this.#usage.keys++;
    this.#usage.bytes += cost;
  }

  /** Counts a changed actor with its exact bytes from now on. */
  recost(activation: Activation, cost: number): void {
    const index = activation.dirtyIndex;
    this.#usage.bytes += cost - this.#costs[index]!;
    this.#costs[index] = cost;
  }

  /** Takes back all changes since the mark, newest first. */
  undo(mark: number): void {
    for (let i = this.#actors.length - 1; i >= mark; i--) {
      const activation = this.#actors[i]!;
      activation.state = this.#states[i];
      activation.raw = this.#raws[i];
      activation.version = this.#versions[i]!;
      activation.traits = this.#traits[i]!;
      if (this.#formerCosts[i]! >= 0) this.recost(activation, this.#formerCosts[i]!);
      else this.#clean(activation);
    }
    this.#truncate(mark);
  }

  /** Starts the next commit: what has been changed is the caller's to make durable or forget. */
  clear(): void {
    for (const activation of this.dirty) activation.dirtyIndex = -1;
    this.dirty.length = 0;
    this.#costs.length = 0;
    this.#truncate(0);
  }

  /** The newest of `dirty`: first changes are taken back in the reverse order. */
  #clean(activation: Activation): void {
    this.#usage.keys--;
    this.#usage.bytes -= this.#costs.pop()!;
    this.dirty.pop();
    activation.dirtyIndex = -1;
  }

  #truncate(mark: number): void {
    this.#actors.length = mark;
    this.#states.length = mark;
    this.#raws.length = mark;
    this.#versions.length = mark;
    this.#traits.length = mark;
    this.#formerCosts.length = mark;
  }
}
