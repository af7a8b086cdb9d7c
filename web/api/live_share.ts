/**
 * One connection of the live feed for all pages of a browser: it has six connections to a host, and
 * each page would hold one. Pages say what they follow; what is told goes to those that follow it.
 */
import { monotonicMs } from "../clock.ts";
import { type FeedStatus, type LiveChange, LiveConnection } from "./live_connection.ts";

/** From a page. */
export type LiveRequest =
  /** Again and again while it lives: a page that crashed says no farewell. */
  | { readonly type: "follow"; readonly topics: readonly string[] }
  | { readonly type: "leave" };

/** To a page. */
export type LiveMessage =
  | { readonly type: "status"; readonly status: FeedStatus }
  /** All that happens to these topics, the page's own, is told from now on. */
  | { readonly type: "hello"; readonly topics: readonly string[] }
  | { readonly type: "change"; readonly change: LiveChange }
  | { readonly type: "gap"; readonly topics: readonly string[] }
  | { readonly type: "refused"; readonly topics: readonly string[] }
  | { readonly type: "unauthorized" };

export type LiveSink = (message: LiveMessage) => void;

interface Follower {
  readonly topics: ReadonlySet<string>;
  readonly heardAtMs: number;
}

/** A page says what it follows every so often; one that does not for so long is gone. */
export const FOLLOW_EVERY_MS = 5_000;
const GONE_MS = 20_000;

export class LiveShare {
  readonly #followers = new Map<LiveSink, Follower>();
  readonly #connection = new LiveConnection({
    onStatus: (status) => this.#tellAll({ type: "status", status }),
    onHello: () => this.#each((sink, topics) => this.#greet(sink, topics)),
    onChange: (change) =>
      this.#each((sink, topics) => topics.has(change.topic) && sink({ type: "change", change })),
    onGap: (missed) =>
      this.#each((sink, topics) => {
        const own = [...topics].filter((topic) => missed === undefined || missed.includes(topic));
        if (own.length > 0) sink({ type: "gap", topics: own });
      }),
    onRefused: () => this.#each((sink, topics) => this.#refuse(sink, topics)),
    onUnauthorized: () => this.#tellAll({ type: "unauthorized" }),
  });

  take(sink: LiveSink, request: LiveRequest): void {
    if (request.type === "leave") this.#followers.delete(sink);
    else this.#follow(sink, new Set(request.topics));
    this.#connection.follow(this.#union());
  }

  /** To be called now and then. */
  prune(): void {
    const nowMs = monotonicMs();
    for (const [sink, { heardAtMs }] of this.#followers) {
      if (nowMs - heardAtMs > GONE_MS) this.#followers.delete(sink);
    }
    this.#connection.follow(this.#union());
  }

  #follow(sink: LiveSink, topics: ReadonlySet<string>): void {
    const before = this.#followers.get(sink);
    this.#followers.set(sink, { topics, heardAtMs: monotonicMs() });
    const isSame = before !== undefined && before.topics.size === topics.size &&
      [...topics].every((topic) => before.topics.has(topic));
    if (isSame) return;
    this.#refuse(sink, topics);
    // Another page follows them already: no new connection will greet this one.
    const isCovered = [...topics].every((topic) =>
      this.#connection.covers(topic) || this.#connection.refused.has(topic)
    );
    sink({ type: "status", status: this.#connection.status });
    if (isCovered) this.#greet(sink, topics);
  }

  #greet(sink: LiveSink, topics: ReadonlySet<string>): void {
    const covered = [...topics].filter((topic) => this.#connection.covers(topic));
    if (covered.length > 0) sink({ type: "hello", topics: covered });
  }

  #refuse(sink: LiveSink, topics: ReadonlySet<string>): void {
    const own = [...topics].filter((topic) => this.#connection.refused.has(topic));
    if (own.length > 0) sink({ type: "refused", topics: own });
  }

  #union(): Set<string> {
    return new Set([...this.#followers.values()].flatMap(({ topics }) => [...topics]));
  }

  #tellAll(message: LiveMessage): void {
    this.#each((sink, topics) => topics.size > 0 && sink(message));
  }

  #each(act: (sink: LiveSink, topics: ReadonlySet<string>) => unknown): void {
    for (const [sink, { topics }] of this.#followers) act(sink, topics);
  }
}
