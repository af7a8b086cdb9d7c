/** SUBSCRIBE and UNSUBSCRIBE: filters under the own prefix, durable before their answer. */
import type { ISubscribePacket, ISubscription, IUnsubscribePacket } from "mqtt-packet";
import { denialOf } from "./access.ts";
import { ACK } from "./ack_queue.ts";
import { close } from "./closing.ts";
import { encodePacket } from "./codec.ts";
import type { Connection } from "./connection.ts";
import { sendCopy } from "./downlink.ts";
import { type GatewayState, offerSession } from "./gateway_state.ts";
import { REASON } from "./reason.ts";
import { type Session, type Subscription, withSubscription } from "./session.ts";
import { isMatch, matchesCalls } from "./topic.ts";

const NONE: readonly Subscription[] = [];

/** @returns False if there is no room for the session's row: nothing was changed, try again. */
export function subscribe(
  state: GatewayState,
  connection: Connection,
  packet: ISubscribePacket,
): boolean {
  const { messageId = 0, subscriptions } = packet;
  if (messageId === 0 || subscriptions.length === 0) return violates(state, connection);
  const id = packet.properties?.subscriptionIdentifier;
  // 5: 3.8.3-4.
  const isShareLocal = subscriptions.some(({ topic, nl }) => nl && topic.startsWith("$share/"));
  if (isShareLocal) return violates(state, connection);
  const session = connection.session!;
  const prefix = connection.identity!.prefix;
  let next = session.subscriptions;
  let isDelivering = false;
  const granted: number[] = [];
  /** By filter: what is retained is sent once, however often one packet has the filter. */
  const fresh = new Map<string, Subscription>();
  let refusedByQuota = 0;
  for (const asked of subscriptions) {
    const reason = refusalOf(asked, prefix, next, state.quotas.subscriptionsMax);
    if (reason !== 0) {
      if (reason === REASON.quotaExceeded) refusedByQuota++;
      granted.push(connection.isV5 ? reason : REASON.unspecified);
      continue;
    }
    granted.push(asked.qos);
    const subscription = subscriptionOf(asked, id);
    const { rh = 0 } = asked;
    const isNew = !next.some(({ filter }) => filter === asked.topic);
    // 5: 3.3.1-9 to -11. What is retained is the device's own.
    if ((rh === 0 || (rh === 1 && isNew)) && asked.nl !== true) {
      fresh.set(asked.topic, subscription);
    }
    next = withSubscription(next, subscription);
    isDelivering ||= isMatch(asked.topic, `${prefix}properties/set`) ||
      matchesCalls(asked.topic, prefix);
  }
  const bytes = encodePacket({ cmd: "suback", messageId, granted }, connection.version);
  if (!fits(state, connection, bytes)) return true;
  const append = store(state, connection, session, next);
  if (append === undefined) return false;
  for (; refusedByQuota > 0; refusedByQuota--) state.refuse("subscriptions_full");
  acknowledgeEncoded(state, connection, append, bytes, isDelivering, [...fresh.values()]);
  return true;
}

/** After its SUBACK: what is retained, for each new subscription by itself. */
export function sendRetained(state: GatewayState, connection: Connection): void {
  const { identity, fresh = NONE } = connection;
  connection.fresh = undefined;
  for (const { filter, qos, id } of fresh) {
    for (const message of state.retained.matching(identity!.key, identity!.prefix, filter)) {
      const { suffix, payload, passedOn, expiresAtMs } = message;
      sendCopy(state, connection, {
        topic: suffix,
        payload,
        qos: Math.min(qos, message.qos) as 0 | 1 | 2,
        isRetained: true,
        passedOn,
        subscriptionIds: id === undefined ? [] : [id],
        expiresAtMs,
      });
    }
  }
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
  const bytes = encodePacket({ cmd: "unsuback", messageId, granted }, connection.version);
  if (!fits(state, connection, bytes)) return true;
  const append = store(state, connection, session, next);
  if (append === undefined) return false;
  acknowledgeEncoded(state, connection, append, bytes, false);
  return true;
}

function subscriptionOf({ topic, qos, nl, rap }: ISubscription, id?: number): Subscription {
  return {
    filter: topic,
    qos,
    ...(nl === true ? { isNoLocal: true } : undefined),
    ...(rap === true ? { isRetainKept: true } : undefined),
    ...(id === undefined ? undefined : { id }),
  };
}

/** An answer above the client's Maximum Packet Size may not be sent (5: 3.1.2-24): it is closed. */
function fits(state: GatewayState, connection: Connection, answer: Uint8Array): boolean {
  if (answer.length <= connection.packetBytesMax) return true;
  close(state, connection, REASON.packetTooLarge, "packet_too_large");
  return false;
}

function violates(state: GatewayState, connection: Connection): true {
  close(state, connection, REASON.protocolError, "protocol_error");
  return true;
}

function refusalOf(
  asked: ISubscription,
  prefix: string,
  list: readonly Subscription[],
  max: number,
): number {
  if (asked.topic.startsWith("$share/")) return REASON.sharedNotSupported;
  const denial = denialOf("subscribe", asked.topic, prefix);
  if (denial !== undefined) {
    return denial === "invalid" ? REASON.filterInvalid : REASON.notAuthorized;
  }
  const isKnown = list.some(({ filter }) => filter === asked.topic);
  return isKnown || list.length < max ? 0 : REASON.quotaExceeded;
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
  fresh: readonly Subscription[] = NONE,
): void {
  connection.acks.push(append, ACK.encoded, 0, 0, 0);
  (connection.encoded ??= []).push({ bytes, isDelivering, fresh });
  if (append > state.ingress.settled) {
    state.appends.add(append, connection, state.clock.monotonicMs());
  }
}
