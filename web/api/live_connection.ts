/**
 * One connection of the live feed (`GET /api/v1/live`). It resumes by `Last-Event-ID`, comes back by
 * itself, and leaves out topics that are refused. It knows nothing of pages: it also runs in a worker.
 */
import { after } from "../clock.ts";
import { EventDecoder, type StreamEvent } from "./event_stream.ts";

export interface LiveChange {
  readonly topic: string;
  /** Epoch milliseconds. */
  readonly at: number;
  readonly value: unknown;
}

export type FeedStatus =
  /** Nothing is followed. */
  | "idle"
  | "connecting"
  | "live"
  | "lost";

export interface FeedEvents {
  readonly onStatus: (status: FeedStatus) => void;
  /** All that happens to these topics from now on is told. */
  readonly onHello: () => void;
  readonly onChange: (change: LiveChange) => void;
  /** Undefined: of every topic something may have been missed. */
  readonly onGap: (topics: readonly string[] | undefined) => void;
  readonly onRefused: () => void;
  readonly onUnauthorized: () => void;
}

const PATH = "/api/v1/live";
/** Topics change in bursts as pages mount. */
const SETTLE_MS = 30;
const BACKOFF_MS = [250, 500, 1_000, 2_000, 5_000] as const;
/** The server writes a comment every 15 s: longer silence is a dead connection. */
const SILENCE_MS = 40_000;
/** As the API takes them at once. */
const TOPICS_MAX = 64;

export class LiveConnection {
  readonly #events: FeedEvents;
  /** Topics that the API does not let the person follow. */
  readonly refused = new Set<string>();
  #wanted: ReadonlySet<string> = new Set();
  #open: AbortController | undefined;
  #openTopics = "";
  #status: FeedStatus = "idle";
  #lastId = "";
  #failures = 0;
  #cancelOpen: (() => void) | undefined;

  constructor(events: FeedEvents) {
    this.#events = events;
  }

  get status(): FeedStatus {
    return this.#status;
  }

  /** Whether what happens to this topic is told. */
  covers(topic: string): boolean {
    return this.#status === "live" && this.#openTopics.split(",").includes(topic);
  }

  follow(topics: ReadonlySet<string>): void {
    this.#wanted = topics;
    for (const topic of this.refused) if (!topics.has(topic)) this.refused.delete(topic);
    this.#openSoon(SETTLE_MS);
  }

  #openSoon(delayMs: number): void {
    this.#cancelOpen?.();
    this.#cancelOpen = after(delayMs, () => {
      this.#cancelOpen = undefined;
      const allowed = [...this.#wanted].filter((topic) => !this.refused.has(topic)).sort();
      const topics = allowed.slice(0, TOPICS_MAX).join(",");
      if (topics === this.#openTopics && this.#open !== undefined) return;
      this.#open?.abort();
      this.#open = undefined;
      this.#openTopics = topics;
      if (topics === "") return this.#say("idle");
      void this.#connect(topics, this.#open = new AbortController());
    });
  }

  #say(status: FeedStatus): void {
    if (this.#status === status) return;
    this.#status = status;
    this.#events.onStatus(status);
  }

  async #connect(topics: string, own: AbortController): Promise<void> {
    if (this.#status === "idle") this.#say("connecting");
    let response: Response;
    try {
      response = await fetch(urlOf(topics), {
        headers: {
          accept: "text/event-stream",
          ...(this.#lastId && { "last-event-id": this.#lastId }),
        },
        signal: own.signal,
        cache: "no-store",
      });
    } catch {
      return this.#again(own);
    }
    if (this.#open !== own) return;
    if (response.status === 401) this.#events.onUnauthorized();
    if ([400, 403, 404].includes(response.status)) return await this.#leaveOut(topics, own);
    if (!response.ok || response.body === null) return this.#again(own);
    await this.#read(response.body, own);
  }

  /** One refused topic must not end the others: each is asked for by itself. */
  async #leaveOut(topics: string, own: AbortController): Promise<void> {
    try {
      await Promise.all(
        topics.split(",").map(async (topic) => {
          const { signal } = own;
          const answer = await fetch(urlOf(topic), { method: "HEAD", signal, cache: "no-store" });
          if ([400, 403, 404].includes(answer.status)) this.refused.add(topic);
        }),
      );
    } catch {
      return this.#again(own);
    }
    this.#events.onRefused();
    this.#again(own);
  }

  async #read(body: ReadableStream<Uint8Array<ArrayBuffer>>, own: AbortController): Promise<void> {
    const decoder = new EventDecoder();
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let cancelSilence = () => {};
    try {
      while (true) {
        cancelSilence = after(SILENCE_MS, () => own.abort());
        const { done, value } = await reader.read();
        cancelSilence();
        if (done) break;
        for (const event of decoder.push(value)) this.#take(event);
      }
    } catch {
      cancelSilence(); // The connection broke: it is opened again below.
    }
    this.#again(own);
  }

  #take({ event, data, id }: StreamEvent): void {
    if (id !== "") this.#lastId = id;
    this.#failures = 0;
    if (event === "hello") {
      this.#say("live");
      return this.#events.onHello();
    }
    const told = JSON.parse(data) as LiveChange & { topics?: readonly string[] };
    if (event === "change") this.#events.onChange(told);
    if (event === "gap") this.#events.onGap(told.topics);
  }

  #again(own: AbortController): void {
    if (this.#open !== own) return;
    this.#open = undefined;
    const isAll = [...this.#wanted].every((topic) => this.refused.has(topic));
    this.#say(isAll ? "idle" : "lost");
    this.#openSoon(BACKOFF_MS[Math.min(this.#failures++, BACKOFF_MS.length - 1)]!);
  }
}

function urlOf(topics: string): string {
  return `${PATH}?topics=${encodeURIComponent(topics)}`;
}
