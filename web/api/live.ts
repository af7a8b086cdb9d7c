/**
 * The live feed: one connection for all topics that something on the page listens to. It resumes by
 * `Last-Event-ID`; what was missed is told as a gap, and who listens reads again. When it is lost,
 * `live` says since when, so that no old value passes for a live one.
 */
import { onScopeDispose, reactive, readonly, watch, type WatchSource } from "vue";
import { after, nowMs } from "../clock.ts";
import { EventDecoder, type StreamEvent } from "./event_stream.ts";
import { access } from "./client.ts";

export interface LiveChange {
  readonly topic: string;
  /** Epoch milliseconds. */
  readonly at: number;
  readonly value: unknown;
}

export interface LiveListener {
  readonly onChange: (change: LiveChange) => void;
  /** Events of its topic were missed, or the connection is new: read again. */
  readonly onGap: () => void;
}

export type LiveStatus =
  /** Nothing listens. */
  | "idle"
  | "connecting"
  | "live"
  | "lost"
  /** This server has no live feed for the caller: pages ask again and again instead. */
  | "absent";

const state = reactive({ status: "idle" as LiveStatus, sinceMs: nowMs() });
export const live = readonly(state);

/** Topics change in bursts as pages mount. */
const SETTLE_MS = 30;
const BACKOFF_MS = [250, 500, 1_000, 2_000, 5_000] as const;
/** The server writes a comment every 15 s: longer silence is a dead connection. */
const SILENCE_MS = 40_000;

/** A page that nobody sees for so long lets go of its connection. */
const HIDDEN_MS = 20_000;

const listeners = new Map<string, Set<LiveListener>>();
let connection: AbortController | undefined;
let lastId = "";
let failures = 0;
let cancelOpen: (() => void) | undefined;
let topicsOpen = "";
/** Topics whose changes have been told without a gap since they were read. */
let covered: ReadonlySet<string> = new Set();

/** Listens while the scope lives; a topic of undefined listens to nothing. */
export function useLive(
  topic: WatchSource<string | undefined>,
  listener: LiveListener,
): void {
  let current: string | undefined;
  const leave = () => {
    if (current !== undefined) remove(current, listener);
    current = undefined;
  };
  watch(topic, (next) => {
    leave();
    if (next !== undefined) add(next, listener);
    current = next;
  }, { immediate: true });
  onScopeDispose(leave);
}

function add(topic: string, listener: LiveListener): void {
  const set = listeners.get(topic) ?? new Set();
  listeners.set(topic, set.add(listener));
  openSoon(SETTLE_MS);
}

function remove(topic: string, listener: LiveListener): void {
  const set = listeners.get(topic);
  set?.delete(listener);
  if (set?.size === 0) listeners.delete(topic);
  openSoon(SETTLE_MS);
}

/**
 * A browser has six connections to a host, of all its tabs, and a page that was left keeps its own
 * in case one comes back. So neither that nor a tab that nobody looks at may hold one.
 */
let isAway = false;
let cancelAway = () => {};

function leave(): void {
  isAway = true;
  cancelOpen?.();
  connection?.abort();
  connection = undefined;
}

function comeBack(): void {
  cancelAway();
  if (!isAway) return;
  isAway = false;
  openSoon(0);
}

globalThis.addEventListener("pagehide", leave);
globalThis.addEventListener("pageshow", comeBack);
document.addEventListener("visibilitychange", () => {
  cancelAway();
  if (document.hidden) cancelAway = after(HIDDEN_MS, leave);
  else comeBack();
});

function openSoon(delayMs: number): void {
  if (isAway) return;
  cancelOpen?.();
  cancelOpen = after(delayMs, () => {
    cancelOpen = undefined;
    const topics = [...listeners.keys()].sort().join(",");
    if (topics === topicsOpen && connection !== undefined) return;
    connection?.abort();
    connection = undefined;
    topicsOpen = topics;
    if (topics === "") return say("idle");
    void open(topics, connection = new AbortController());
  });
}

function say(status: LiveStatus): void {
  if (state.status === status) return;
  state.status = status;
  state.sinceMs = nowMs();
}

async function open(topics: string, own: AbortController): Promise<void> {
  if (state.status === "idle") say("connecting");
  let response: Response;
  try {
    response = await fetch(
      `/api/v1/live?topics=${encodeURIComponent(topics)}`,
      {
        headers: {
          accept: "text/event-stream",
          ...(lastId && { "last-event-id": lastId }),
        },
        signal: own.signal,
        cache: "no-store",
      },
    );
  } catch {
    return again(own);
  }
  if (response.status === 401) access.onUnauthorized();
  const isGone = [400, 401, 403, 404].includes(response.status);
  if (isGone) return end(own);
  if (!response.ok || response.body === null) return again(own);
  await read(response.body, own);
}

async function read(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  own: AbortController,
): Promise<void> {
  const decoder = new EventDecoder();
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let cancelSilence = () => {};
  try {
    while (true) {
      cancelSilence = after(SILENCE_MS, () => own.abort());
      const { done, value } = await reader.read();
      cancelSilence();
      if (done) break;
      for (const event of decoder.push(value)) take(event);
    }
  } catch {
    cancelSilence(); // The connection broke: it is opened again below.
  }
  again(own);
}

function take({ event, data, id }: StreamEvent): void {
  if (id !== "") lastId = id;
  failures = 0;
  if (event === "hello") return greet();
  const told = JSON.parse(data) as LiveChange & { topics?: readonly string[] };
  if (event === "change") {
    tell([told.topic], (listener) => listener.onChange(told));
  }
  if (event === "gap") {
    tell(told.topics ?? [...listeners.keys()], (listener) => listener.onGap());
  }
}

/** What was read before a topic's feed began may have changed before it did. */
function greet(): void {
  const fresh = [...listeners.keys()].filter((topic) => !covered.has(topic));
  covered = new Set(topicsOpen.split(","));
  say("live");
  tell(fresh, (listener) => listener.onGap());
}

function tell(
  topics: readonly string[],
  how: (listener: LiveListener) => void,
): void {
  for (const topic of topics) listeners.get(topic)?.forEach(how);
}

function again(own: AbortController): void {
  if (connection !== own) return;
  connection = undefined;
  say("lost");
  openSoon(BACKOFF_MS[Math.min(failures++, BACKOFF_MS.length - 1)]!);
}

function end(own: AbortController): void {
  if (connection === own) say("absent");
}
