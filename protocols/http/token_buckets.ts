/** Token buckets by name, bounded: the least recently used one is forgotten first. */
import type { Clock } from "../../runtime/clock.ts";

export interface BucketRate {
  /** Tokens that come back a second. */
  readonly perSecond: number;
  /** Tokens of a full bucket. */
  readonly burst: number;
}

export interface BucketState {
  readonly isAllowed: boolean;
  readonly limit: number;
  /** Whole tokens left. */
  readonly remaining: number;
  /** Until the bucket is full again. */
  readonly resetMs: number;
  /** Until there is one token; 0 if there is. */
  readonly retryAfterMs: number;
}

interface Bucket {
  tokens: number;
  atMs: number;
}

export class TokenBuckets {
  readonly #buckets = new Map<string, Bucket>();
  readonly #rate: BucketRate;
  readonly #clock: Clock;
  readonly #entriesMax: number;

  constructor(rate: BucketRate, clock: Clock, entriesMax: number) {
    this.#rate = rate;
    this.#clock = clock;
    this.#entriesMax = entriesMax;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Takes `tokens` if they are there. */
  take(name: string, tokens = 1): BucketState {
    const { perSecond, burst } = this.#rate;
    const nowMs = this.#clock.monotonicMs();
    let bucket = this.#buckets.get(name);
    if (bucket === undefined) {
      bucket = { tokens: burst, atMs: nowMs };
      if (this.#buckets.size >= this.#entriesMax) {
        this.#buckets.delete(this.#buckets.keys().next().value!);
      }
    } else {
      this.#buckets.delete(name);
      bucket.tokens = Math.min(burst, bucket.tokens + (nowMs - bucket.atMs) * perSecond / 1_000);
      bucket.atMs = nowMs;
    }
    this.#buckets.set(name, bucket);
    const isAllowed = bucket.tokens >= tokens;
    if (isAllowed) bucket.tokens -= tokens;
    return {
      isAllowed,
      limit: burst,
      remaining: Math.floor(bucket.tokens),
      resetMs: (burst - bucket.tokens) * 1_000 / perSecond,
      retryAfterMs: Math.max(0, (1 - bucket.tokens) * 1_000 / perSecond),
    };
  }
}

/** Adds `RateLimit-*`, so that callers can pace themselves; reset in whole seconds. */
export function withRate(response: Response, state: BucketState): Response {
  const { headers } = response;
  headers.set("ratelimit-limit", String(state.limit));
  headers.set("ratelimit-remaining", String(state.remaining));
  headers.set("ratelimit-reset", String(Math.ceil(state.resetMs / 1_000)));
  return response;
}
