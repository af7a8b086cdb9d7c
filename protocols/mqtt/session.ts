/**
 * What outlives a connection: subscriptions, ids of QoS 2 messages between PUBREC and PUBCOMP, and
 * downlinks that were not acknowledged. Belongs to the device, whatever client id it uses. The first
 * two are kept in a gateway row `mqtt/{product}/{device}` if the session is lasting; downlinks are
 * kept in memory only, since the device's actor says again what differs.
 */
import { LIMITS } from "../../runtime/limits.ts";
import { Downlinks } from "./downlinks.ts";
import { DOWN_TOPICS, type DownTopic, isFilter, isMatch } from "./topic.ts";

export interface Subscription {
  readonly filter: string;
  readonly qos: 0 | 1;
}

/** Row value, UTF-8 JSON. */
interface SessionRow {
  readonly version: 1;
  readonly expirySeconds: number;
  /** Absent while connected, and after a crash. */
  readonly endedAtMs?: number;
  readonly subscriptions: readonly Subscription[];
  readonly qos2: readonly number[];
}

export class Session {
  subscriptions: readonly Subscription[] = [];
  /** Ids of QoS 2 messages that were accepted and not yet released. */
  readonly qos2: Set<number> = new Set();
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
  qosOf(prefix: string, topic: DownTopic): 0 | 1 | undefined {
    let qos: 0 | 1 | undefined;
    for (const subscription of this.subscriptions) {
      if (qos !== 1 && isMatch(subscription.filter, prefix + topic)) qos = subscription.qos;
    }
    return qos;
  }
}

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
  const { version, expirySeconds, endedAtMs, subscriptions, qos2 } = row ?? {};
  if (version !== 1 || typeof expirySeconds !== "number") return undefined;
  if (!Array.isArray(subscriptions) || !subscriptions.every(isSubscription)) return undefined;
  if (!Array.isArray(qos2) || !qos2.every(Number.isInteger)) return undefined;
  const session = new Session(Math.min(expirySeconds, LIMITS.mqttSessionExpirySecondsMax));
  session.subscriptions = subscriptions;
  for (const id of qos2) session.qos2.add(id);
  if (typeof endedAtMs === "number") session.endedAtMs = endedAtMs;
  session.hasRow = true;
  return session;
}

function isSubscription(value: unknown): value is Subscription {
  const { filter, qos } = (value ?? {}) as Partial<Subscription>;
  return typeof filter === "string" && isFilter(filter) && (qos === 0 || qos === 1);
}

/** Whether any topic that we publish to devices is matched by `filter`. */
export function matchesDownTopic(filter: string, prefix: string): boolean {
  return DOWN_TOPICS.some((topic) => isMatch(filter, prefix + topic));
}
