/**
 * Live feeds of a node: who wants to hear of what, and what there is to hear. A topic is followed
 * while a feed wants it, and a little longer; nothing is done for topics that nobody wants.
 *
 * Coverage: from event `since` of a topic on, all its events are in the ring or were pushed out of
 * it; so a reader that comes back after an event not before `since` can be told all that it missed.
 */
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Clock } from "../../runtime/clock.ts";
import { messageOf, UnavailableError } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Logger } from "../../runtime/logger.ts";
import { EventRing, type LiveEvent } from "./live_event.ts";
import { FEED_BOUNDS, type FeedBounds, LiveFeed } from "./live_feed.ts";
import type { KeyedTopic, LiveTopic } from "./topics.ts";

/** Where events of some types of topics come from. */
export interface LiveSource {
  readonly types: readonly LiveTopic["type"][];
  /** Resolves when every event from now on will be published. */
  follow(topics: readonly KeyedTopic[]): Promise<void>;
  unfollow(topics: readonly KeyedTopic[]): void;
}

export interface LiveHubOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Of this start of the process: the first part of each event's id. Without `-`. */
  readonly incarnation: string;
  readonly feedBounds?: FeedBounds;
  readonly ring?: EventRing;
}

interface Entry {
  readonly keyed: KeyedTopic;
  readonly feeds: Set<LiveFeed>;
  /** Feeds that wait for it to be followed. */
  opening: number;
  followed: Promise<void>;
  /** Event after which all are told; undefined: it is not followed. */
  since: number | undefined;
  /** Monotonic; Infinity: it is wanted. */
  lingerUntilMs: number;
  /** Last event of a topic whose events are whole states. */
  last: LiveEvent | undefined;
}

/** Topics of which a new feed is told the present state. */
const STATES: ReadonlySet<LiveTopic["type"]> = new Set(["ledger", "tree", "deadLetters"]);
const ENCODER = new TextEncoder();

export class LiveHub implements Disposable {
  readonly incarnation: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #feedBounds: FeedBounds;
  readonly #ring: EventRing;
  readonly #entries = new Map<string, Entry>();
  readonly #sources = new Map<LiveTopic["type"], LiveSource>();
  readonly #feeds = new Set<LiveFeed>();
  #sequence = 0;
  #lingering = 0;
  #isClosed = false;
  #cancelSweep: (() => void) | undefined;

  constructor({ clock, logger, incarnation, feedBounds, ring }: LiveHubOptions) {
    this.#clock = clock;
    this.#logger = logger;
    this.incarnation = incarnation;
    this.#feedBounds = feedBounds ?? FEED_BOUNDS;
    this.#ring = ring ?? new EventRing();
  }

  get feeds(): number {
    return this.#feeds.size;
  }

  /** Whether events of this topic are worth making. */
  wants(key: string): boolean {
    return this.#entries.has(key);
  }

  /** Tells an event to the feeds of its topic; does nothing if nobody wants it. */
  publish(key: string, value: Json, atMs: number): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    const { name, topic } = entry.keyed;
    const body = ENCODER.encode(JSON.stringify({ topic: name, at: atMs, value }));
    const event = { sequence: ++this.#sequence, key, body };
    this.#ring.add(event);
    if (STATES.has(topic.type)) entry.last = event;
    for (const feed of entry.feeds) feed.push({ type: "change", event });
  }

  /** Events of these types were lost: every feed of them is told, and nobody resumes before. */
  lose(types: readonly LiveTopic["type"][], missed: number | null): void {
    for (const entry of this.#entries.values()) {
      if (entry.since !== undefined && types.includes(entry.keyed.topic.type)) {
        entry.since = this.#sequence + 1; // Who knows the present one was not told of the loss.
      }
    }
    for (const feed of this.#feeds) {
      const lost = [...feed.topics.values()].filter(({ topic }) => types.includes(topic.type));
      if (lost.length > 0) feed.push({ type: "gap", missed, topics: lost.map(({ name }) => name) });
    }
  }

  /** The topic is over: its feeds go on without it, and one of nothing else is closed. */
  end(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    for (const feed of [...entry.feeds]) {
      entry.feeds.delete(feed);
      feed.drop(key);
    }
    this.#abandon(entry);
  }

  /** From now on `source` is asked for its types, at first for what is wanted already. */
  async attach(source: LiveSource): Promise<void> {
    for (const type of source.types) this.#sources.set(type, source);
    const own = [...this.#entries.values()].filter(({ keyed }) =>
      source.types.includes(keyed.topic.type)
    );
    if (own.length === 0) return;
    await source.follow(own.map(({ keyed }) => keyed));
    for (const entry of own) {
      entry.since = this.#sequence;
      entry.followed = Promise.resolve();
    }
    this.lose(source.types, null);
  }

  /** Its topics are followed by nobody until another source is attached. */
  detach(source: LiveSource): void {
    for (const type of source.types) {
      if (this.#sources.get(type) === source) this.#sources.delete(type);
    }
    for (const entry of this.#entries.values()) {
      if (source.types.includes(entry.keyed.topic.type)) entry.since = undefined;
    }
  }

  /**
   * A feed of these topics, each once. It begins with `hello`, then what was missed since
   * `lastEventId`, or a gap.
   * @throws {UnavailableError} A topic cannot be followed now.
   */
  async open(topics: readonly KeyedTopic[], lastEventId?: string): Promise<LiveFeed> {
    const entries = topics.map((keyed) => this.#hold(keyed));
    try {
      await Promise.all(entries.map((entry) => entry.followed));
      if (this.#isClosed) throw new UnavailableError("live feed", "this node is closing");
    } catch (fault) {
      for (const entry of entries) this.#letGo(entry);
      const message = `Cannot open a live feed: ${messageOf(fault)}`;
      throw new UnavailableError("live feed", message, { cause: fault });
    }
    const feed = new LiveFeed(topics, this.#clock, this.#feedBounds, (own) => this.#leave(own));
    this.#feeds.add(feed);
    for (const entry of entries) {
      entry.feeds.add(feed);
      entry.opening--;
    }
    this.#begin(feed, entries, lastEventId);
    return feed;
  }

  /** Closes all feeds, and opens none any more. */
  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
    for (const feed of [...this.#feeds]) feed[Symbol.dispose]();
  }

  #begin(feed: LiveFeed, entries: readonly Entry[], lastEventId: string | undefined): void {
    const names = entries.map(({ keyed }) => keyed.name);
    const last = lastEventId === undefined ? undefined : this.#sequenceOf(lastEventId);
    const events = last === undefined ? undefined : this.#ring.after(last);
    const sequence = events === undefined ? this.#sequence : last!;
    feed.push({ type: "hello", sequence, at: this.#clock.nowMs(), topics: names });
    const told = new Set<string>();
    if (lastEventId !== undefined) {
      const lost: string[] = [];
      for (const { keyed, since } of entries) {
        const isCovered = events !== undefined && since !== undefined && since <= last!;
        if (isCovered) told.add(keyed.key);
        else lost.push(keyed.name);
      }
      if (lost.length > 0) feed.push({ type: "gap", missed: null, topics: lost });
    }
    const replayed = events?.filter(({ key }) => told.has(key)) ?? [];
    for (const event of replayed) feed.push({ type: "change", event });
    for (const { last: state, keyed } of entries) {
      if (state === undefined || told.has(keyed.key)) continue;
      feed.push({ type: "change", event: state });
    }
  }

  /** Undefined: an id that this start of the process never gave. */
  #sequenceOf(lastEventId: string): number | undefined {
    const [incarnation, digits = "", ...rest] = lastEventId.slice(0, 128).split("-");
    if (incarnation !== this.incarnation || rest.length > 0) return undefined;
    if (!/^\d{1,15}$/.test(digits)) return undefined;
    const sequence = Number(digits);
    return sequence <= this.#sequence ? sequence : undefined;
  }

  #hold(keyed: KeyedTopic): Entry {
    const known = this.#entries.get(keyed.key);
    if (known !== undefined) {
      if (known.lingerUntilMs !== Infinity) this.#lingering--;
      known.lingerUntilMs = Infinity;
      known.opening++;
      if (known.since === undefined) this.#follow(known);
      return known;
    }
    const entry: Entry = {
      keyed,
      feeds: new Set(),
      opening: 1,
      followed: Promise.resolve(),
      since: undefined,
      lingerUntilMs: Infinity,
      last: undefined,
    };
    this.#entries.set(keyed.key, entry);
    this.#follow(entry);
    return entry;
  }

  #follow(entry: Entry): void {
    const { type } = entry.keyed.topic;
    const source = this.#sources.get(type);
    entry.followed = source === undefined
      ? Promise.reject(new UnavailableError("live feed", `nothing tells of "${type}" at present`))
      : source.follow([entry.keyed]).then(() => {
        entry.since ??= this.#sequence;
      });
    entry.followed.catch(() => {}); // Met by `open`.
  }

  #letGo(entry: Entry): void {
    entry.opening--;
    this.#abandon(entry);
  }

  #leave(feed: LiveFeed): void {
    if (!this.#feeds.delete(feed)) return;
    for (const key of feed.topics.keys()) {
      const entry = this.#entries.get(key);
      entry?.feeds.delete(feed);
      if (entry !== undefined) this.#abandon(entry);
    }
  }

  #abandon(entry: Entry): void {
    if (entry.feeds.size > 0 || entry.opening > 0 || entry.lingerUntilMs !== Infinity) return;
    if (entry.since === undefined) return this.#forget([entry]);
    this.#lingering++;
    entry.lingerUntilMs = this.#clock.monotonicMs() + LIMITS.liveLingerMs;
    this.#entries.delete(entry.keyed.key); // Behind those that were abandoned before.
    this.#entries.set(entry.keyed.key, entry);
    if (this.#lingering > LIMITS.liveLingerTopicsMax) {
      for (const oldest of this.#entries.values()) {
        if (oldest.lingerUntilMs === Infinity) continue;
        this.#forget([oldest]);
        break;
      }
    }
    this.#cancelSweep ??= this.#clock.after(LIMITS.liveLingerMs, () => this.#sweep());
  }

  #sweep(): void {
    this.#cancelSweep = undefined;
    const nowMs = this.#clock.monotonicMs();
    let nextMs = Infinity;
    const over: Entry[] = [];
    for (const entry of this.#entries.values()) {
      if (entry.lingerUntilMs <= nowMs) over.push(entry);
      else nextMs = Math.min(nextMs, entry.lingerUntilMs);
    }
    this.#forget(over);
    if (nextMs !== Infinity) {
      this.#cancelSweep = this.#clock.after(nextMs - nowMs, () => this.#sweep());
    }
  }

  #forget(entries: readonly Entry[]): void {
    const bySource = new Map<LiveSource, KeyedTopic[]>();
    for (const entry of entries) {
      if (entry.lingerUntilMs !== Infinity) this.#lingering--;
      this.#entries.delete(entry.keyed.key);
      const source = this.#sources.get(entry.keyed.topic.type);
      if (source === undefined) continue;
      const topics = bySource.get(source);
      if (topics === undefined) bySource.set(source, [entry.keyed]);
      else topics.push(entry.keyed);
    }
    for (const [source, topics] of bySource) {
      try {
        source.unfollow(topics);
      } catch (fault) { // It only does more than it needs to.
        this.#logger.warn("live topics were not given up", { fault: messageOf(fault) });
      }
    }
  }
}
