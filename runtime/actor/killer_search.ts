/**
 * Finds the root (record or reminder) that kills engines, in the batches of one partition, and says
 * when it is to be parked. Pure: it only decides how much of a batch is tried next.
 *
 * An engine says every `PROGRESS_ROOTS` where it is, so that most deaths name the few roots that may
 * be to blame: what came before them is handled together, they one by one. Without a word of it the
 * batch is halved. A root is parked when it has killed alone, `DEATHS_ALONE` times.
 *
 * Each death in a try of several roots makes the next try smaller, and each try that passes moves the
 * partition on, so that the search ends whatever engines say.
 */
import type { PartitionBatch } from "./batch.ts";
import { type Progress, PROGRESS_ROOTS } from "./partition_run.ts";

/** One more than chance: an engine may be killed from outside as well. */
const DEATHS_ALONE = 2;

export class KillerSearch {
  /** The root that kills is among so many from the front; undefined: nothing is suspected. */
  #within: number | undefined;
  /** So many of them were handled before the death, and are tried together. `0 <= sound < within` */
  #sound = 0;
  #deathsAlone = 0;

  /** @param suspect Where the engine was that died with this partition in hand, if it said so. */
  constructor(suspect?: Progress) {
    if (suspect !== undefined) this.#suspect(Infinity, suspect);
  }

  /** How much of `whole`, the partition's batch as it is now, is to be handed over next. */
  next(whole: PartitionBatch): PartitionBatch {
    if (this.#deathsAlone >= DEATHS_ALONE) return { ...whole, rootsMax: 1, isFirstParked: true };
    if (this.#within === undefined) return whole;
    if (this.#sound > 0) return { ...whole, rootsMax: this.#sound };
    return { ...whole, rootsMax: this.#within <= PROGRESS_ROOTS ? 1 : this.#within >> 1 };
  }

  /** What `next` gave was committed. */
  passed({ rootsMax, isFirstParked }: PartitionBatch): void {
    this.#deathsAlone = 0;
    this.#sound = 0;
    if (this.#within === undefined || rootsMax === undefined) return;
    this.#within -= rootsMax;
    if (this.#within <= 0 || isFirstParked) this.#within = undefined;
  }

  /** An engine died of what `next` gave. */
  died(tried: PartitionBatch, suspect?: Progress): void {
    if (tried.rootsMax !== 1) return this.#suspect(tried.rootsMax ?? rootsOf(tried), suspect);
    this.#deathsAlone++;
    this.#within = 1;
    this.#sound = 0;
  }

  #suspect(tried: number, suspect: Progress | undefined): void {
    const isKnown = suspect !== undefined && suspect.roots < tried;
    this.#sound = isKnown ? suspect.roots : 0;
    this.#within = Math.max(1, isKnown ? Math.min(tried, this.#sound + PROGRESS_ROOTS) : tried);
  }
}

/** At least; reminders that the batch sets itself may fire as well. */
function rootsOf({ segments, reminders }: PartitionBatch): number {
  return segments.reduce((sum, segment) => sum + segment.count, reminders.length);
}
