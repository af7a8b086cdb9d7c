/** SUBSCRIBE and UNSUBSCRIBE: filters under the own prefix, durable before their answer. */
import type { ISubscribePacket, ISubscription, IUnsubscribePacket } from "mqtt-packet";
import { LIMITS } from "../../runtime/limits.ts";
import { ACK } from "./ack_queue.ts";
import { close } from "./closing.ts";
import { encodePacket } from "./codec.ts";
import type { Connection } from "./connection.ts";
import { type GatewayState, offerSession } from "./gateway_state.ts";
import { REASON } from "./reason.ts";
import { type Session, type Subscription, withSubscription } from "./session.ts";
import { isFilter, isMatch, matchesCalls } from "./topic.ts";

/** @returns False if there is no room for the session's row: nothing was changed, try again. */
export function subscribe(
  state: GatewayState,
  connection: Connection,
  packet: ISubscribePacket,
): boolean {
  const { messageId = 0, subscriptions } = packet;
  if (messageId === 0 || subscriptions.length === 0) return violates(state, connection);
  if (packet.properties?.subscriptionIdentifier !== undefined) {
    close(state, connection, REASON.subscriptionIdsNotSupported, "subscription_ids");
    return true;
  }
  const session = connection.session!;
  const prefix = connection.identity!.prefix;
  let next = session.subscriptions;
  let isDelivering = false;
  const granted: number[] = [];
  for (const asked of subscriptions) {
    const reason = refusalOf(asked, prefix, next);
    if (reason !== 0) {
      granted.push(connection.isV5 ? reason : REASON.unspecified);
      continue;
    }
    const qos = asked.qos === 0 ? 0 : 1; // Nothing that we publish is worth two round trips.
    granted.push(qos);
    next = withSubscription(next, { filter: asked.topic, qos });
    isDelivering ||= isMatch(asked.topic, `${prefix}properties/set`) ||
      matchesCalls(asked.topic, prefix);
  }
  const append = store(state, connection, session, next);
  if (append === undefined) return false;
  const bytes = encodePacket({ cmd: "suback", messageId, granted }, connection.version);
  acknowledgeEncoded(state, connection, append, bytes, isDelivering);
  return true;
}

/** @returns False if there is no room for the session's row: nothing was changed, try again. */
export function unsubscribe(
  state: GatewayState,
  connection: Connection,
  packet: IUnsubscribePacket,
): boolean {
  const { messageId = 0, unsubscriptions } = packet;
  if (messageId === 0 || unsubscriptions.length === 0) return violates(state, connection);
  const session = connection.session!;
  const known = new Set(session.subscriptions.map(({ filter }) => filter));
  const granted = unsubscriptions.map((filter) => known.has(filter) ? 0 : REASON.noSubscription);
  const next = session.subscriptions.filter(({ filter }) => !unsubscriptions.includes(filter));
  const append = store(state, connection, session, next);
  if (append === undefined) return false;
  const bytes = encodePacket({ cmd: "unsuback", messageId, granted }, connection.version);
  acknowledgeEncoded(state, connection, append, bytes, false);
  return true;
}

function violates(state: GatewayState, connection: Connection): true {
  close(state, connection, REASON.protocolError, "protocol_error");
  return true;
}

function refusalOf(asked: ISubscription, prefix: string, list: readonly Subscription[]): number {
  if (!isFilter(asked.topic)) return REASON.filterInvalid;
  if (asked.topic.startsWith("$share/")) return REASON.sharedNotSupported;
  if (!asked.topic.startsWith(prefix)) return REASON.notAuthorized;
  const isKnown = list.some(({ filter }) => filter === asked.topic);
  return isKnown || list.length < LIMITS.mqttSubscriptionsMax ? 0 : REASON.quotaExceeded;
}

/** Sets the subscriptions; number of the append to wait for, 0 if the session has no row. */
function store(
  state: GatewayState,
  connection: Connection,
  session: Session,
  next: readonly Subscription[],
): number | undefined {
  const before = session.subscriptions;
  session.subscriptions = next;
  if (!session.isLasting) return 0;
  const append = offerSession(state, connection.identity!, session);
  if (append === undefined) session.subscriptions = before;
  return append;
}

function acknowledgeEncoded(
  state: GatewayState,
  connection: Connection,
  append: number,
  bytes: Uint8Array,
  isDelivering: boolean,
): void {
  connection.acks.push(append, ACK.encoded, 0, 0, 0);
  (connection.encoded ??= []).push({ bytes, isDelivering });
  if (append > state.ingress.settled) {
    state.appends.add(append, connection, state.clock.monotonicMs());
  }
}
