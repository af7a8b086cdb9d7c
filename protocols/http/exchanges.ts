/**
 * Requests of devices that wait: for their body, then for the append that carries them. Each gets one
 * answer; one timer serves all, since all have the same deadline and start in order.
 *
 * The caller's duties, in order:
 * 1. `open`; undefined means the bound is reached: refuse.
 * 2. `await` the body, then `carry` the exchange by the append that its record went into, or `finish`.
 */
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";

/** One request. Done when it has its answer: `resolve` is then undefined. */
export interface Exchange {
  readonly startedAtMs: number;
  /** Bytes of the reading budget that it holds until its body is here. */
  reserved: number;
  /** Its body is here. */
  isRead: boolean;
  /** Append that carries the record; 0: none yet; Infinity: another way (`handIn`). */
  append: number;
  /** Answer once the append is durable. */
  accepted: Response | undefined;
  resolve: ((response: Response) => void) | undefined;
  readonly instance: string;
  /** `{product}/{device}`. */
  readonly device: string;
  /** The device was deleted, disabled or got another secret since the request was let in. */
  isRevoked: boolean;
}

export interface ExchangeBounds {
  readonly deadlineMs: number;
  readonly openMax: number;
  readonly readingBytesMax: number;
}

export const EXCHANGE_BOUNDS: ExchangeBounds = {
  deadlineMs: LIMITS.acknowledgeMsMax,
  openMax: LIMITS.httpInFlightMax,
  readingBytesMax: LIMITS.httpReadingBytesMax,
};

export class Exchanges {
  readonly #clock: Clock;
  readonly #bounds: ExchangeBounds;
  readonly #late: (exchange: Exchange) => Response;
  /** In order of start. */
  readonly #open = new Set<Exchange>();
  /** In order of append numbers; from `#first` on. */
  #carried: Exchange[] = [];
  #first = 0;
  #readingBytes = 0;
  #cancelTimer: (() => void) | undefined;

  /** @param late Answer of an exchange whose deadline has passed. */
  constructor(clock: Clock, late: (exchange: Exchange) => Response, bounds = EXCHANGE_BOUNDS) {
    this.#clock = clock;
    this.#late = late;
    this.#bounds = bounds;
  }

  get open(): number {
    return this.#open.size;
  }

  get readingBytes(): number {
    return this.#readingBytes;
  }

  /** @param device `{product}/{device}`. @param reserve Bytes that the body may come to. */
  start(
    instance: string,
    device: string,
    reserve: number,
    resolve: (response: Response) => void,
  ): Exchange | undefined {
    const isFull = this.#open.size >= this.#bounds.openMax ||
      this.#readingBytes + reserve > this.#bounds.readingBytesMax;
    if (isFull) return undefined;
    const exchange: Exchange = {
      startedAtMs: this.#clock.monotonicMs(),
      reserved: reserve,
      isRead: false,
      append: 0,
      accepted: undefined,
      resolve,
      instance,
      device,
      isRevoked: false,
    };
    this.#readingBytes += reserve;
    this.#open.add(exchange);
    if (this.#cancelTimer === undefined) this.#arm(this.#bounds.deadlineMs);
    return exchange;
  }

  /** Those of the device that are not offered yet are marked: they were let in before. */
  revoke(device: string): void {
    for (const exchange of this.#open) {
      if (exchange.append === 0 && exchange.device === device) exchange.isRevoked = true;
    }
  }

  /** The body is here: its bytes no longer count as being read. */
  received(exchange: Exchange): void {
    this.#readingBytes -= exchange.reserved;
    exchange.reserved = 0;
    exchange.isRead = true;
  }

  carry(exchange: Exchange, append: number, accepted: Response): void {
    exchange.append = append;
    exchange.accepted = accepted;
    this.#carried.push(exchange);
  }

  /** Its message goes another way than by an append: the caller `finish`es it. */
  handIn(exchange: Exchange): void {
    exchange.append = Infinity;
  }

  /** Answers; nothing if it was answered before. */
  finish(exchange: Exchange, response: Response): void {
    const resolve = exchange.resolve;
    if (resolve === undefined) return;
    exchange.resolve = undefined;
    exchange.accepted = undefined;
    this.received(exchange);
    this.#open.delete(exchange);
    resolve(response);
  }

  /** Answers all whose append is durable. */
  settle(append: number): void {
    const carried = this.#carried;
    while (this.#first < carried.length && carried[this.#first]!.append <= append) {
      const exchange = carried[this.#first++]!;
      if (exchange.resolve !== undefined) this.finish(exchange, exchange.accepted!);
    }
    if (this.#first === carried.length) {
      this.#carried = [];
      this.#first = 0;
    } else if (this.#first > 4_096) {
      this.#carried = carried.slice(this.#first);
      this.#first = 0;
    }
  }

  /** Answers everything that waits as late. */
  close(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    for (const exchange of [...this.#open]) this.finish(exchange, this.#late(exchange));
    this.#carried = [];
    this.#first = 0;
  }

  #arm(delayMs: number): void {
    this.#cancelTimer = this.#clock.after(Math.max(1, delayMs), () => {
      this.#cancelTimer = undefined;
      const passedMs = this.#clock.monotonicMs() - this.#bounds.deadlineMs;
      for (const exchange of this.#open) {
        if (exchange.startedAtMs > passedMs) {
          this.#arm(exchange.startedAtMs - passedMs);
          return;
        }
        this.finish(exchange, this.#late(exchange));
      }
    });
  }
}
