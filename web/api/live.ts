/**
 * The live feed as components use it. What was missed is told as a gap, and who listens reads again.
 * When it is lost, `live` says since when, so that no old value passes for a live one.
 */
import { onScopeDispose, reactive, readonly, watch, type WatchSource } from "vue";
import { after, everyMs, nowMs } from "../clock.ts";
import { access } from "./client.ts";
import type { FeedStatus, LiveChange } from "./live_connection.ts";
import { openLink } from "./live_link.ts";
import { FOLLOW_EVERY_MS, type LiveMessage } from "./live_share.ts";

export interface LiveListener {
  readonly onChange: (change: LiveChange) => void;
  /** Events of its topic were missed, or the connection is new: read again. */
  readonly onGap: () => void;
}

export type LiveStatus =
  | FeedStatus
  /** This server has no live feed of it for the caller: pages ask again and again instead. */
  | "absent";

const state = reactive({ status: "idle" as LiveStatus, sinceMs: nowMs() });
export const live = readonly(state);

/** Topics change in bursts as pages mount. */
const SETTLE_MS = 30;
/** A page that nobody sees for so long lets go of its topics. */
const HIDDEN_MS = 20_000;

const listeners = new Map<string, Set<LiveListener>>();
/** Topics whose changes have been told without a gap since they were read. */
const covered = new Set<string>();
const refused = new Set<string>();
const link = openLink(take, () => follow());
let isAway = false;
let cancelFollow = () => {};
let cancelAway = () => {};

/** Listens while the scope lives; a topic of undefined listens to nothing. */
export function useLive(topic: WatchSource<string | undefined>, listener: LiveListener): void {
  let current: string | undefined;
  const stop = () => {
    if (current !== undefined) remove(current, listener);
    current = undefined;
  };
  watch(topic, (next) => {
    stop();
    if (next !== undefined) add(next, listener);
    current = next;
  }, { immediate: true });
  onScopeDispose(stop);
}

function add(topic: string, listener: LiveListener): void {
  const set = listeners.get(topic) ?? new Set();
  listeners.set(topic, set.add(listener));
  followSoon();
}

function remove(topic: string, listener: LiveListener): void {
  const set = listeners.get(topic);
  set?.delete(listener);
  if (set?.size === 0) {
    listeners.delete(topic);
    covered.delete(topic);
    refused.delete(topic);
  }
  followSoon();
}

function followSoon(): void {
  cancelFollow();
  cancelFollow = after(SETTLE_MS, follow);
}

function follow(): void {
  if (isAway) return;
  if (listeners.size === 0) say("idle");
  link({ type: "follow", topics: [...listeners.keys()] });
}

everyMs(FOLLOW_EVERY_MS, () => listeners.size > 0 && follow());

function leave(): void {
  isAway = true;
  covered.clear();
  link({ type: "leave" });
}

function comeBack(): void {
  cancelAway();
  if (!isAway) return;
  isAway = false;
  follow();
}

globalThis.addEventListener("pagehide", leave);
globalThis.addEventListener("pageshow", comeBack);
document.addEventListener("visibilitychange", () => {
  cancelAway();
  if (document.hidden) cancelAway = after(HIDDEN_MS, leave);
  else comeBack();
});

function say(status: LiveStatus): void {
  const shown = refused.size > 0 ? "absent" : status;
  if (state.status === shown) return;
  state.status = shown;
  state.sinceMs = nowMs();
}

function take(message: LiveMessage): void {
  if (isAway) return;
  switch (message.type) {
    case "status":
      if (message.status === "live") return; // Said with the greeting: only then all is told.
      return say(listeners.size === 0 ? "idle" : message.status);
    case "hello":
      return greet(message.topics);
    case "change":
      return tell([message.change.topic], (listener) => listener.onChange(message.change));
    case "gap":
      return tell(message.topics, (listener) => listener.onGap());
    case "refused":
      for (const topic of message.topics) if (listeners.has(topic)) refused.add(topic);
      return say("absent");
    case "unauthorized":
      return access.onUnauthorized();
  }
}

/** What was read before a topic's feed began may have changed before it did. */
function greet(topics: readonly string[]): void {
  const fresh = topics.filter((topic) => !covered.has(topic));
  for (const topic of topics) covered.add(topic);
  say("live");
  tell(fresh, (listener) => listener.onGap());
}

function tell(topics: readonly string[], how: (listener: LiveListener) => void): void {
  for (const topic of topics) listeners.get(topic)?.forEach(how);
}
