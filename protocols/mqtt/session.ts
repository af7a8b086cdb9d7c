/**
 * What outlives a connection: subscriptions, ids of QoS 2 messages between PUBREC and PUBCOMP in both
 * directions, and downlinks that were not acknowledged. Belongs to the device, whatever client id it
 * uses. All but the downlinks are kept in a gateway row `mqtt/{product}/{device}` if the session is
 * lasting; those are kept in memory only, since the device's actor says again what differs.
 */
import { LIMITS } from "../../runtime/limits.ts";
import { Downlinks } from "./downlinks.ts";
import { DOWN_TOPICS, type DownTopic, isFilter, isMatch } from "./topic.ts";

export interface Subscription {
  readonly filter: string;
  readonly qos: 0 | 1 | 2;
  /** The device's own messages do not match. */
  readonly isNoLocal?: true;
  /** Copies keep the retain flag of their message. */
  readonly isRetainKept?: true;
  /** Subscription identifier. */
  readonly id?: number;
}

/** What the subscriptions that match a topic come to. */
export interface Match {
  /** The highest that was granted. */
  readonly qos: 0 | 1 | 2;
  readonly isRetainKept: boolean;
  readonly ids: readonly number[];
}

/** Row value, UTF-8 JSON. */
interface SessionRow {
  readonly version: 1;
  readonly expirySeconds: number;
  /** Absent while connected, and after a crash. */
  readonly endedAtMs?: number;
  readonly subscriptions: readonly Subscription[];
  readonly qos2: readonly number[];
  /** Absent in rows of before there were any. */
  readonly outgoing?: readonly number[];
}

export class Session {
  subscriptions: readonly Subscription[] = [];
  /** Ids of QoS 2 messages that were accepted and not yet released. */
  readonly qos2: Set<number> = new Set();
  /** Ids of QoS 2 messages to the device that it has not completed. */
  readonly outgoing: Set<number> = new Set();
  readonly downlinks: Downlinks = new Downlinks();
  /** How long it outlives its connection; 0: not at all, and it has no row. */
  expirySeconds: number;
  /** Set while the device is away, epoch milliseconds. */
  endedAtMs: number | undefined;
  /** A row of it is written, or on its way. */
  hasRow = false;
  /** Append with its newest row, or the row's removal; `Infinity` while that waits for room. */
  rowAppend = 0;

  constructor(expirySeconds: number) {
    this.expirySeconds = expirySeconds;
  }

  get isLasting(): boolean {
    return this.expirySeconds > 0;
  }

  isExpired(nowMs: number): boolean {
    return this.endedAtMs !== undefined && nowMs >= this.endedAtMs + this.expirySeconds * 1_000;
  }

  /** The highest granted QoS of a topic after `prefix`, or undefined if it is not subscribed. */
  qosOf(prefix: string, topic: DownTopic): 0 | 1 | 2 | undefined {
    return this.match(prefix + topic, false)?.qos;
  }

  /** @param isOwn The message is the device's own. @returns Undefined if nothing matches. */
  match(topic: string, isOwn: boolean): Match | undefined {
    let qos: 0 | 1 | 2 | undefined;
    let isRetainKept = false;
    let ids: number[] | undefined;
    for (const subscription of this.subscriptions) {
      if (isOwn && subscription.isNoLocal === true) continue;
      if (!isMatch(subscription.filter, topic)) continue;
      if (qos === undefined || subscription.qos > qos) qos = subscription.qos;
      isRetainKept ||= subscription.isRetainKept === true;
      if (subscription.id !== undefined) (ids ??= []).push(subscription.id);
    }
    return qos === undefined ? undefined : { qos, isRetainKept, ids: ids ?? NO_IDS };
  }
}

const NO_IDS: readonly number[] = [];

/** Subscriptions with one added or replaced. */
export function withSubscription(
  list: readonly Subscription[],
  added: Subscription,
): readonly Subscription[] {
  return [...list.filter((one) => one.filter !== added.filter), added];
}

export const SESSION_PREFIX = "mqtt/";

/** @param key `{product}/{device}`. */
export function sessionKey(key: string): string {
  return SESSION_PREFIX + key;
}

export function encodeSession(session: Session): Uint8Array {
  const row: SessionRow = {
    version: 1,
    expirySeconds: session.expirySeconds,
    ...(session.endedAtMs === undefined ? undefined : { endedAtMs: session.endedAtMs }),
    subscriptions: session.subscriptions,
    qos2: [...session.qos2],
    ...(session.outgoing.size === 0 ? undefined : { outgoing: [...session.outgoing] }),
  };
  return new TextEncoder().encode(JSON.stringify(row));
}

/** Undefined if the row is not one that `encodeSession` made. */
export function decodeSession(bytes: Uint8Array): Session | undefined {
  let row: Partial<SessionRow>;
  try {
    row = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
  const { version, expirySeconds, endedAtMs, subscriptions, qos2, outgoing = [] } = row ?? {};
  if (version !== 1 || typeof expirySeconds !== "number") return undefined;
  if (!Array.isArray(subscriptions) || !subscriptions.every(isSubscription)) return undefined;
  for (const ids of [qos2, outgoing]) {
    if (!Array.isArray(ids) || !ids.every(Number.isInteger)) return undefined;
  }
  const session = new Session(Math.min(expirySeconds, LIMITS.mqttSessionExpirySecondsMax));
  session.subscriptions = subscriptions;
  for (const id of qos2!) session.qos2.add(id);
  for (const id of outgoing) {
    session.outgoing.add(id);
    session.downlinks.restore(id);
  }
  if (typeof endedAtMs === "number") session.endedAtMs = endedAtMs;
  session.hasRow = true;
  return session;
}

function isSubscription(value: unknown): value is Subscription {
  const { filter, qos } = (value ?? {}) as Partial<Subscription>;
  return typeof filter === "string" && isFilter(filter) && (qos === 0 || qos === 1 || qos === 2);
}

/** Whether any topic that we publish to devices is matched by `filter`. */
export function matchesDownTopic(filter: string, prefix: string): boolean {
  return DOWN_TOPICS.some((topic) => isMatch(filter, prefix + topic));
}
