/** Folds the points of one metric into buckets of equal length. */
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Aggregate, Bucket } from "./store.ts";

/** Points come in order of time; buckets start at multiples of `bucketMs` and are never empty. */
export class BucketFold {
  readonly #bucketMs: number;
  readonly #wants: Readonly<Record<Aggregate, boolean>>;
  readonly #done: Bucket[] = [];
  #start = 0;
  #end = -Infinity;
  #count = 0;
  /** Finite numbers among the points: what `avg`, `min` and `max` look at. */
  #numbers = 0;
  #sum = 0;
  #min = 0;
  #max = 0;
  #first: Json = null;
  #last: Json = null;

  constructor(bucketMs: number, aggregates: readonly Aggregate[]) {
    this.#bucketMs = bucketMs;
    const has = (aggregate: Aggregate) => aggregates.includes(aggregate);
    this.#wants = {
      avg: has("avg"),
      min: has("min"),
      max: has("max"),
      count: has("count"),
      first: has("first"),
      last: has("last"),
    };
  }

  add(atMs: number, value: Json): void {
    if (atMs >= this.#end) {
      this.#close();
      this.#start = Math.floor(atMs / this.#bucketMs) * this.#bucketMs;
      this.#end = this.#start + this.#bucketMs;
      this.#first = value;
    }
    this.#count++;
    this.#last = value;
    if (typeof value !== "number" || !Number.isFinite(value)) return;
    if (this.#numbers++ === 0) {
      this.#sum = this.#min = this.#max = value;
      return;
    }
    this.#sum += value;
    if (value < this.#min) this.#min = value;
    if (value > this.#max) this.#max = value;
  }

  /** The buckets in order of time. Nothing may be added after it. */
  finish(): Bucket[] {
    this.#close();
    return this.#done;
  }

  #close(): void {
    if (this.#count === 0) return;
    const wants = this.#wants;
    const hasNumbers = this.#numbers > 0;
    this.#done.push({
      at: this.#start,
      ...(wants.avg && hasNumbers ? { avg: this.#sum / this.#numbers } : undefined),
      ...(wants.min && hasNumbers ? { min: this.#min } : undefined),
      ...(wants.max && hasNumbers ? { max: this.#max } : undefined),
      ...(wants.count ? { count: this.#count } : undefined),
      ...(wants.first ? { first: this.#first } : undefined),
      ...(wants.last ? { last: this.#last } : undefined),
    });
    this.#count = 0;
    this.#numbers = 0;
  }
}
