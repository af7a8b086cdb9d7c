/**
 * Topics that are states of the node: looked at twice a second while a feed wants them, and told when
 * they have changed.
 */
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Clock } from "../../runtime/clock.ts";
import { messageOf } from "../../runtime/errors.ts";
import type { Ledger } from "../../runtime/log/partition_log.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { LiveHub, LiveSource } from "./live_hub.ts";
import type { KeyedTopic } from "./topics.ts";

export interface StatePorts {
  ledger(): Promise<Ledger>;
  /** Refused messages by reason, since the start of the process. */
  refused(): Readonly<Record<string, number>>;
  /** As `GET cluster/tree` shows it. */
  tree(): Json;
}

export interface StateSourceOptions {
  readonly ports: StatePorts;
  readonly hub: LiveHub;
  readonly clock: Clock;
  readonly logger: Logger;
}

const TYPES = ["ledger", "tree", "deadLetters"] as const;
type StateType = typeof TYPES[number];
const LOOK_MS = 500;
/** Rates are of this time or a little more. */
const RATE_MS = 1_000;

interface Reading {
  readonly atMs: number;
  readonly accepted: number;
  readonly processed: number;
}

/** Attached to the hub until it is disposed. */
export function startStateSource(options: StateSourceOptions): Disposable {
  const source = new StateSource(options);
  // Nothing is asked of it before it is attached: there is nothing to wait for.
  void options.hub.attach(source);
  return source;
}

class StateSource implements LiveSource, Disposable {
  readonly types = TYPES;
  readonly #options: StateSourceOptions;
  readonly #wanted = new Set<StateType>();
  /** JSON of what was told last. */
  readonly #told = new Map<StateType, string>();
  #readings: Reading[] = [];
  #looking: Promise<void> | undefined;
  #cancel: (() => void) | undefined;

  constructor(options: StateSourceOptions) {
    this.#options = options;
  }

  async follow(topics: readonly KeyedTopic[]): Promise<void> {
    for (const { topic } of topics) {
      this.#wanted.add(topic.type as StateType);
      this.#told.delete(topic.type as StateType);
    }
    await this.#looking; // It may have begun before these were wanted.
    await this.#look();
  }

  unfollow(topics: readonly KeyedTopic[]): void {
    for (const { topic } of topics) this.#wanted.delete(topic.type as StateType);
    if (this.#wanted.size > 0) return;
    this.#cancel?.();
    this.#cancel = undefined;
    this.#readings = [];
  }

  [Symbol.dispose](): void {
    this.#wanted.clear();
    this.#cancel?.();
    this.#cancel = undefined;
    this.#options.hub.detach(this);
  }

  #look(): Promise<void> {
    this.#cancel?.();
    this.#looking ??= this.#lookNow().finally(() => {
      this.#looking = undefined;
      this.#cancel = this.#wanted.size === 0
        ? undefined
        : this.#options.clock.after(LOOK_MS, () => void this.#look());
    });
    return this.#looking;
  }

  async #lookNow(): Promise<void> {
    const { logger, ports } = this.#options;
    try {
      if (this.#wanted.has("ledger") || this.#wanted.has("deadLetters")) {
        this.#tellLedger(await ports.ledger());
      }
      if (this.#wanted.has("tree")) this.#tell("tree", ports.tree());
    } catch (fault) { // The log restarts; the tree, which tells that, is looked at again.
      logger.debug("states for live feeds were not read", { fault: messageOf(fault) });
      if (this.#wanted.has("tree")) this.#tell("tree", ports.tree());
    }
  }

  #tellLedger(ledger: Ledger): void {
    const refused = Object.values(this.#options.ports.refused());
    const refusedTotal = refused.reduce((sum, count) => sum + count, 0);
    const rates = this.#ratesOf(ledger);
    if (this.#wanted.has("ledger")) {
      this.#tell("ledger", { ...ledger.total, refusedTotal, rates });
    }
    const { deadLettered } = ledger.total;
    if (this.#wanted.has("deadLetters")) this.#tell("deadLetters", { deadLettered });
  }

  #ratesOf({ total: { accepted, processed } }: Ledger) {
    const atMs = this.#options.clock.monotonicMs();
    this.#readings.push({ atMs, accepted, processed });
    while (this.#readings.length > 2 && atMs - this.#readings[1]!.atMs >= RATE_MS) {
      this.#readings.shift();
    }
    const first = this.#readings[0]!;
    const seconds = Math.max(1, atMs - first.atMs) / 1_000;
    const rate = (now: number, before: number) =>
      Math.max(0, Math.round((now - before) / seconds * 10) / 10);
    return {
      acceptedPerSecond: rate(accepted, first.accepted),
      processedPerSecond: rate(processed, first.processed),
    };
  }

  #tell(type: StateType, value: Json): void {
    const text = JSON.stringify(value);
    if (this.#told.get(type) === text) return;
    this.#told.set(type, text);
    this.#options.hub.publish(type, value, this.#options.clock.nowMs());
  }
}
