/** Server-Sent Events (WHATWG HTML, 9.2): items of a live feed as bytes, and the stream of one feed. */
import type { FeedItem } from "../../actors/live/live_event.ts";
import type { LiveFeed } from "../../actors/live/live_feed.ts";
import type { Clock } from "../../runtime/clock.ts";

/** Bytes handed to the connection at once: what it buffers by the piece stays small. */
const CHUNK_BYTES = 8_192;
/** What a browser waits before it comes back. */
const RETRY_MS = 2_000;
const ENCODER = new TextEncoder();
const END = ENCODER.encode("\n\n");
const HEARTBEAT = ENCODER.encode(":\n\n");

/**
 * The body of one feed's response. It asks the feed only when its reader has room, so that what waits
 * for a slow reader waits in the feed, which is bounded.
 */
export class EventStream {
  readonly body: ReadableStream<Uint8Array>;
  readonly feed: LiveFeed;
  readonly #incarnation: string;
  readonly #clock: Clock;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  /** Resolves the pull that waits for something to send. */
  #pulled: (() => void) | undefined;
  #isOver = false;
  #sentAtMs: number;

  constructor(
    feed: LiveFeed,
    incarnation: string,
    clock: Clock,
    onEnd: (own: EventStream) => void,
  ) {
    this.feed = feed;
    this.#incarnation = incarnation;
    this.#clock = clock;
    this.#sentAtMs = clock.monotonicMs();
    const end = () => {
      this.#isOver = true;
      this.feed[Symbol.dispose]();
      onEnd(this);
    };
    this.body = new ReadableStream<Uint8Array>({
      start: (controller) => void (this.#controller = controller),
      pull: () => this.#pull(end),
      cancel: end,
    }, { highWaterMark: 0 });
    feed.onReady = () => {
      if (!feed.isClosed || feed.hasItems) this.#send();
      else if (!this.#isOver) {
        end();
        this.#controller.close();
        this.#settle();
      }
    };
  }

  /** Sends a comment if nothing was sent for so long and the reader has room. */
  beat(silentMs: number): void {
    if (this.#pulled === undefined) return;
    if (this.#clock.monotonicMs() - this.#sentAtMs < silentMs) return;
    this.#enqueue(HEARTBEAT);
  }

  /** Breaks the connection of a reader that does not read. */
  abort(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#controller.error(new Error("the reader does not read"));
    this.feed[Symbol.dispose]();
  }

  #pull(end: () => void): Promise<void> | void {
    if (this.feed.hasItems) return this.#enqueue(this.#take());
    if (this.feed.isClosed) {
      end();
      return this.#controller.close();
    }
    return new Promise((resolve) => this.#pulled = resolve);
  }

  #send(): void {
    if (this.#pulled !== undefined && this.feed.hasItems) this.#enqueue(this.#take());
  }

  #enqueue(bytes: Uint8Array): void {
    this.#sentAtMs = this.#clock.monotonicMs();
    this.#controller.enqueue(bytes);
    this.#settle();
  }

  #settle(): void {
    const settle = this.#pulled;
    this.#pulled = undefined;
    settle?.();
  }

  #take(): Uint8Array {
    const parts = this.feed.take(CHUNK_BYTES).flatMap((item) => this.#partsOf(item));
    let length = 0;
    for (const part of parts) length += part.length;
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }

  /** JSON holds no line break: each item is one `data` line. */
  #partsOf(item: FeedItem): Uint8Array[] {
    const id = (sequence: number) => `id: ${this.#incarnation}-${sequence}\n`;
    if (item.type === "change") {
      const { sequence, body } = item.event;
      return [ENCODER.encode(`${id(sequence)}event: change\ndata: `), body, END];
    }
    if (item.type === "hello") {
      const { sequence, at, topics } = item;
      const data = JSON.stringify({ at, topics });
      const head = `retry: ${RETRY_MS}\n${id(sequence)}`;
      return [ENCODER.encode(`${head}event: hello\ndata: ${data}\n\n`)];
    }
    const data = JSON.stringify({ missed: item.missed, topics: item.topics });
    return [ENCODER.encode(`event: gap\ndata: ${data}\n\n`)];
  }
}
