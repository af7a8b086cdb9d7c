/**
 * What waits for the reader of one feed. Bounded: a reader that is too slow loses what waits, and is
 * told so in its place.
 */
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { FeedItem, LiveEvent } from "./live_event.ts";
import type { KeyedTopic } from "./topics.ts";

export interface FeedBounds {
  readonly eventsMax: number;
  readonly bytesMax: number;
}

export const FEED_BOUNDS: FeedBounds = {
  eventsMax: LIMITS.liveQueueEventsMax,
  bytesMax: LIMITS.liveQueueBytesMax,
};

export class LiveFeed implements Disposable {
  /** Called when something waits after nothing did, and when the feed is closed. */
  onReady: () => void = () => {};
  /** Nothing comes any more. */
  isClosed = false;
  readonly #topics: Map<string, KeyedTopic>;
  /** Names by key, of dropped topics too: what was told of them may still wait. */
  readonly #names: ReadonlyMap<string, string>;
  readonly #clock: Clock;
  readonly #bounds: FeedBounds;
  readonly #leave: (feed: LiveFeed) => void;
  #items: FeedItem[] = [];
  #events = 0;
  #bytes = 0;
  /** Monotonic: since when its reader could have taken something. */
  #waitingSinceMs = Infinity;

  constructor(
    topics: readonly KeyedTopic[],
    clock: Clock,
    bounds: FeedBounds,
    leave: (feed: LiveFeed) => void,
  ) {
    this.#topics = new Map(topics.map((topic) => [topic.key, topic]));
    this.#names = new Map(topics.map(({ key, name }) => [key, name]));
    this.#clock = clock;
    this.#bounds = bounds;
    this.#leave = leave;
  }

  /** By key. */
  get topics(): ReadonlyMap<string, KeyedTopic> {
    return this.#topics;
  }

  get hasItems(): boolean {
    return this.#items.length > 0;
  }

  /** How long its reader has taken nothing of what waits, milliseconds. */
  stalledMs(nowMs: number): number {
    return Math.max(0, nowMs - this.#waitingSinceMs);
  }

  push(item: FeedItem): void {
    if (this.isClosed) return;
    const isFirst = this.#items.length === 0;
    if (item.type === "gap") this.#addGap(item.missed, item.topics);
    else {
      if (item.type === "change") this.#makeRoom(item.event);
      this.#items.push(item);
    }
    if (!isFirst) return;
    this.#waitingSinceMs = this.#clock.monotonicMs();
    this.onReady();
  }

  /** At least one item, if any waits, and then about so many bytes of them. */
  take(bytesMax: number): FeedItem[] {
    let count = 0;
    let bytes = 0;
    for (const item of this.#items) {
      const size = sizeOf(item);
      if (count > 0 && bytes + size > bytesMax) break;
      count++;
      bytes += size;
      if (item.type !== "change") continue;
      this.#events--;
      this.#bytes -= size;
    }
    const taken = this.#items.splice(0, count);
    this.#waitingSinceMs = this.#items.length > 0 ? this.#clock.monotonicMs() : Infinity;
    return taken;
  }

  /** Goes on without this topic; without any, the feed ends once what waits was taken. */
  drop(key: string): void {
    this.#topics.delete(key);
    if (this.#topics.size > 0 || this.isClosed) return;
    this.isClosed = true;
    this.#leave(this);
    this.onReady();
  }

  /** Ends the feed; what waits is dropped. Twice is harmless. */
  [Symbol.dispose](): void {
    this.#items = [];
    if (this.isClosed) return;
    this.isClosed = true;
    this.#leave(this);
    this.onReady();
  }

  #makeRoom({ body }: LiveEvent): void {
    const isOver = this.#events >= this.#bounds.eventsMax ||
      (this.#events > 0 && this.#bytes + body.length > this.#bounds.bytesMax);
    if (isOver) this.#dropAll();
    this.#events++;
    this.#bytes += body.length;
  }

  #dropAll(): void {
    const dropped = this.#items;
    this.#items = dropped.filter(({ type }) => type === "hello");
    this.#events = 0;
    this.#bytes = 0;
    let missed: number | null = 0;
    const topics = new Set<string>();
    for (const item of dropped) {
      if (item.type === "change") {
        topics.add(this.#names.get(item.event.key)!);
        if (missed !== null) missed++;
      } else if (item.type === "gap") {
        for (const topic of item.topics) topics.add(topic);
        missed = missed === null || item.missed === null ? null : missed + item.missed;
      }
    }
    this.#addGap(missed, [...topics]);
  }

  /** Gaps that follow each other are one. */
  #addGap(missed: number | null, topics: readonly string[]): void {
    const last = this.#items.at(-1);
    if (last?.type !== "gap") {
      this.#items.push({ type: "gap", missed, topics });
      return;
    }
    this.#items[this.#items.length - 1] = {
      type: "gap",
      missed: missed === null || last.missed === null ? null : missed + last.missed,
      topics: [...new Set([...last.topics, ...topics])],
    };
  }
}

function sizeOf(item: FeedItem): number {
  return item.type === "change" ? item.event.body.length : 0;
}
