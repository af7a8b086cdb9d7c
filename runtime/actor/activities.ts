/**
 * Runs activities: work that waits (HTTP, SQL, inference), asked for by actors and stored with their
 * commit. At least once, under an id that a repeat does not change; the result goes back to the actor
 * as a message.
 *
 * The caller's duties, in order:
 * 1. `offer` only activities whose commit is durable; what is not taken stays in the store and is
 *    offered again after `onRoom`.
 * 2. After a start, offer everything that is stored, with `isRestart`, so that it is spread in time.
 * 3. `deliver` resolves when the message is durable; only then is the activity finished.
 */
import type { Clock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Logger } from "../logger.ts";
import type { StoredActivity } from "../log/partition_log.ts";
import type { Random } from "../random.ts";
import type { Address } from "./address.ts";
import type { Json } from "./behaviour.ts";
import { utf8Length } from "./utf8.ts";

/** Comes back to the actor. `name` is the id that it gave; `id` the stable one, to deduplicate on. */
export type ActivityResult =
  & { readonly id: string; readonly name: string; readonly kind: string }
  & (
    | { readonly type: "activityDone"; readonly value: Json }
    | { readonly type: "activityFailed"; readonly attempts: number; readonly detail: string }
  );

/** What a handler may look at. */
export interface ActivityCall {
  /** Stable: the same work again has the same id. */
  readonly id: string;
  readonly from: Address;
  /** From 1. Counted anew after a restart. */
  readonly attempt: number;
  /** Aborted at `timeoutMs` and when the runner ends. */
  readonly signal: AbortSignal;
}

export interface ActivityKind {
  /** Calls of this kind at a time. */
  readonly concurrencyMax: number;
  readonly attemptsMax: number;
  /** Longest one attempt may take. Then its signal aborts and the attempt has failed. */
  readonly timeoutMs: number;
  /** Wait after the first failure, doubled up to `backoffMsMax`; the half of it is random. */
  readonly backoffMs: number;
  readonly backoffMsMax: number;
  /** A fault with `retryable: false` is final; others are tried again. */
  run(input: Json, call: ActivityCall): Promise<Json>;
}

export interface ActivityRunnerOptions {
  readonly kinds: ReadonlyMap<string, ActivityKind>;
  readonly clock: Pick<Clock, "after">;
  readonly random: Pick<Random, "fraction">;
  readonly logger: Logger;
  readonly deliver: (to: Address, message: ActivityResult) => Promise<void>;
  readonly finish: (id: string) => Promise<void>;
  /** There is room again after `offer` took less than all. */
  readonly onRoom?: () => void;
  readonly heldMax?: number;
  /** Over how long the stored activities of a restart are spread. Default 5,000. */
  readonly restartSpreadMs?: number;
}

interface Held {
  readonly activity: StoredActivity;
  attempts: number;
}

interface Lane {
  readonly waiting: Held[];
  running: number;
}

const DELIVERY_BACKOFF_MS = 100;
const DELIVERY_BACKOFF_MS_MAX = 10_000;

export class ActivityRunner implements AsyncDisposable {
  readonly #options: ActivityRunnerOptions;
  readonly #held = new Map<string, Held>();
  readonly #lanes = new Map<string, Lane>();
  readonly #timers = new Set<() => void>();
  readonly #running = new Set<Promise<void>>();
  readonly #end = new AbortController();
  #wasRefused = false;

  constructor(options: ActivityRunnerOptions) {
    this.#options = options;
  }

  /** Activities in memory: waiting, running, or waiting for another try. */
  get held(): number {
    return this.#held.size;
  }

  /**
   * Takes activities in order, up to the bound; ids that are held already count as taken.
   * @returns How many of the list, from its start, were taken.
   */
  offer(activities: readonly StoredActivity[], isRestart = false): number {
    const { heldMax = LIMITS.activitiesHeldMax, random, restartSpreadMs = 5_000 } = this.#options;
    if (this.#end.signal.aborted) return 0;
    let taken = 0;
    for (const activity of activities) {
      if (!this.#held.has(activity.id)) {
        if (this.#held.size >= heldMax) break;
        const held = { activity, attempts: 0 };
        this.#held.set(activity.id, held);
        if (isRestart) this.#later(random.fraction() * restartSpreadMs, () => this.#queue(held));
        else this.#queue(held);
      }
      taken++;
    }
    this.#wasRefused ||= taken < activities.length;
    return taken;
  }

  /** Aborts what runs and waits for it; what is not finished stays stored. Twice is harmless. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort(new Error("the activity runner ends"));
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
    await Promise.all(this.#running);
    this.#held.clear();
    this.#lanes.clear();
  }

  #queue(held: Held): void {
    const { kind } = held.activity;
    let lane = this.#lanes.get(kind);
    if (lane === undefined) this.#lanes.set(kind, lane = { waiting: [], running: 0 });
    lane.waiting.push(held);
    this.#startNext(kind, lane);
  }

  #startNext(kind: string, lane: Lane): void {
    const concurrencyMax = this.#options.kinds.get(kind)?.concurrencyMax ?? 1;
    while (lane.running < concurrencyMax && !this.#end.signal.aborted) {
      const held = lane.waiting.shift();
      if (held === undefined) break;
      lane.running++;
      this.#track(
        this.#attempt(held).finally(() => {
          lane.running--;
          if (lane.running === 0 && lane.waiting.length === 0) this.#lanes.delete(kind);
          else this.#startNext(kind, lane);
        }),
      );
    }
  }

  /** One attempt; ends with a result on its way, or with the next attempt set. */
  async #attempt(held: Held): Promise<void> {
    const { activity } = held;
    const kind = this.#options.kinds.get(activity.kind);
    held.attempts++;
    if (kind === undefined) {
      return this.#conclude(held, { detail: `No handler of kind "${activity.kind}" on this node` });
    }
    try {
      const value = await this.#call(kind, held);
      const bytes = utf8Length(JSON.stringify(value ?? null));
      // Half of a message: the rest is for the ids around it.
      if (bytes > LIMITS.payloadBytesMax / 2) {
        const detail = `The result of ${bytes} B does not fit: at most half of payloadBytesMax, ` +
          `${LIMITS.payloadBytesMax / 2}`;
        return this.#conclude(held, { detail });
      }
      this.#conclude(held, { value: value ?? null });
    } catch (fault) {
      if (this.#end.signal.aborted) return;
      const isFinal = (fault as { retryable?: unknown } | undefined)?.retryable === false;
      if (isFinal || held.attempts >= kind.attemptsMax) {
        return this.#conclude(held, { detail: messageOf(fault) });
      }
      this.#later(this.#backoffMs(kind.backoffMs, kind.backoffMsMax, held.attempts), () => {
        this.#queue(held);
      });
    }
  }

  async #call(kind: ActivityKind, held: Held): Promise<Json> {
    const { id, from, input } = held.activity;
    const timeout = new AbortController();
    const cancel = this.#later(kind.timeoutMs, () => {
      timeout.abort(new Error(`No result within ${kind.timeoutMs} ms`));
    });
    const signal = AbortSignal.any([this.#end.signal, timeout.signal]);
    // A handler that ignores its signal must not hold a slot, or the end of the node, for ever.
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    try {
      const call = { id, from, attempt: held.attempts, signal };
      return await Promise.race([kind.run(JSON.parse(input), call), aborted]);
    } finally {
      cancel();
    }
  }

  #conclude(held: Held, outcome: { readonly value: Json } | { readonly detail: string }): void {
    const { id, kind } = held.activity;
    const identity = { id, name: nameOf(id), kind };
    const result: ActivityResult = "value" in outcome
      ? { type: "activityDone", ...identity, value: outcome.value }
      : {
        type: "activityFailed",
        ...identity,
        attempts: held.attempts,
        detail: outcome.detail.slice(0, LIMITS.deadLetterDetailBytesMax),
      };
    this.#track(this.#deliver(held, result, false, 1));
  }

  /** Delivers, then finishes; each is repeated until it succeeds, for the work itself is done. */
  async #deliver(
    held: Held,
    result: ActivityResult,
    isDelivered: boolean,
    attempt: number,
  ): Promise<void> {
    const { deliver, finish, logger } = this.#options;
    const { activity } = held;
    try {
      if (!isDelivered) await deliver(activity.from, result);
      isDelivered = true;
      await finish(activity.id);
    } catch (fault) {
      if (this.#end.signal.aborted) return;
      logger.warn("activity result not delivered", { id: activity.id, fault: messageOf(fault) });
      const delayMs = this.#backoffMs(DELIVERY_BACKOFF_MS, DELIVERY_BACKOFF_MS_MAX, attempt);
      this.#later(delayMs, () => {
        this.#track(this.#deliver(held, result, isDelivered, attempt + 1));
      });
      return;
    }
    this.#held.delete(activity.id);
    if (!this.#wasRefused || this.#end.signal.aborted) return;
    this.#wasRefused = false;
    this.#options.onRoom?.();
  }

  #backoffMs(firstMs: number, maxMs: number, failures: number): number {
    const fullMs = Math.min(maxMs, firstMs * 2 ** (failures - 1));
    return fullMs / 2 + this.#options.random.fraction() * fullMs / 2;
  }

  /** Returns the cancel. After the end nothing is set any more. */
  #later(delayMs: number, callback: () => void): () => void {
    if (this.#end.signal.aborted) return () => {};
    const cancelTimer = this.#options.clock.after(delayMs, () => {
      this.#timers.delete(cancel);
      callback();
    });
    const cancel = () => {
      cancelTimer();
      this.#timers.delete(cancel);
    };
    this.#timers.add(cancel);
    return cancel;
  }

  #track(work: Promise<void>): void {
    const tracked = work.finally(() => this.#running.delete(tracked));
    this.#running.add(tracked);
  }
}

/** The actor's own id in `{recordId}/{n}[:{id}]`; empty if it gave none. */
function nameOf(id: string): string {
  const last = id.slice(id.lastIndexOf("/") + 1);
  const colon = last.indexOf(":");
  return colon < 0 ? "" : last.slice(colon + 1);
}
