/** What a feed is told, and the newest events of all topics for those who come back. */
import { LIMITS } from "../../runtime/limits.ts";

export interface LiveEvent {
  /** Rising by one over all topics. */
  readonly sequence: number;
  readonly key: string;
  /** UTF-8 JSON `{"topic","at","value"}`. */
  readonly body: Uint8Array;
}

export type FeedItem =
  /** The first one. `sequence`: what was before it is not told. */
  | {
    readonly type: "hello";
    readonly sequence: number;
    readonly at: number;
    readonly topics: readonly string[];
  }
  | { readonly type: "change"; readonly event: LiveEvent }
  /** Events of these topics were not told; null: it is not known how many. */
  | {
    readonly type: "gap";
    readonly missed: number | null;
    readonly topics: readonly string[];
  };

const GONE: LiveEvent = { sequence: 0, key: "", body: new Uint8Array() };

/** The newest events without gaps, bounded by count and bytes. */
export class EventRing {
  #events: LiveEvent[] = [];
  #first = 0;
  #bytes = 0;
  readonly #eventsMax: number;
  readonly #bytesMax: number;

  constructor(
    eventsMax: number = LIMITS.liveRingEventsMax,
    bytesMax: number = LIMITS.liveRingBytesMax,
  ) {
    this.#eventsMax = eventsMax;
    this.#bytesMax = bytesMax;
  }

  get length(): number {
    return this.#events.length - this.#first;
  }

  /** Sequences rise by one from one event to the next. */
  add(event: LiveEvent): void {
    this.#events.push(event);
    this.#bytes += event.body.length;
    while (this.length > this.#eventsMax || (this.#bytes > this.#bytesMax && this.length > 1)) {
      this.#bytes -= this.#events[this.#first]!.body.length;
      this.#events[this.#first++] = GONE; // Its slot stays for a while; its memory must not.
    }
    if (this.#first > 64 && this.#first * 2 > this.#events.length) {
      this.#events = this.#events.slice(this.#first);
      this.#first = 0;
    }
  }

  /** Events after `sequence`, in order; undefined: some of them are gone. */
  after(sequence: number): LiveEvent[] | undefined {
    const oldest = this.#events[this.#first];
    if (oldest === undefined) return [];
    if (sequence + 1 < oldest.sequence) return undefined;
    return this.#events.slice(this.#first + sequence + 1 - oldest.sequence);
  }
}
