/** Messages to a device: what a commit asked for, and answers of the gateway itself. */
import type { DeviceDownlink } from "../../actors/device/messages.ts";
import { type Connection, PAUSE } from "./connection.ts";
import { encodePublish } from "./frame.ts";
import type { GatewayState } from "./gateway_state.ts";
import { callTopic, type DownTopic } from "./topic.ts";

const ENCODER = new TextEncoder();

/** @returns False if the device is not connected here, or does not want it. */
export function deliver(
  state: GatewayState,
  product: string,
  device: string,
  downlink: DeviceDownlink,
): boolean {
  const connection = state.byDevice.get(`${product}/${device}`);
  if (connection?.isOpen !== true || connection.isPeerDone) return unwanted(state);
  switch (downlink.type) {
    case "propertySet": {
      const { version, values } = downlink;
      return publish(state, connection, "properties/set", { version, values });
    }
    case "shadow":
      if (downlink.session !== connection.identity!.id) return unwanted(state);
      return publish(state, connection, "shadow", downlink.shadow);
    case "call": {
      const { service, callId, input, expiresAtMs } = downlink;
      return publish(state, connection, callTopic(service, callId), { input }, expiresAtMs);
    }
    case "callEnded":
      connection.session!.downlinks.drop(callTopic(downlink.service, downlink.callId));
      return true;
  }
}

/** QoS 1 if the device subscribed so: kept until it is acknowledged. */
function publish(
  state: GatewayState,
  connection: Connection,
  topic: DownTopic,
  body: unknown,
  expiresAtMs?: number,
): boolean {
  const session = connection.session!;
  const qos = session.qosOf(connection.identity!.prefix, topic);
  if (qos === undefined) return unwanted(state);
  if (qos === 0) return publishOnce(state, connection, topic, body);
  const payload = ENCODER.encode(JSON.stringify(body));
  if (!session.downlinks.push(topic, payload, expiresAtMs)) {
    state.figures.downlinksDropped++;
    return false;
  }
  pumpDownlinks(state, connection);
  return true;
}

/** QoS 0, for what is worth nothing later: times, errors. Dropped for a peer that does not read. */
export function publishOnce(
  state: GatewayState,
  connection: Connection,
  topic: DownTopic,
  body: unknown,
): boolean {
  const prefix = connection.identity!.prefix;
  if (connection.session!.qosOf(prefix, topic) === undefined) return unwanted(state);
  const payload = ENCODER.encode(JSON.stringify(body));
  const bytes = encodePublish(prefix + topic, payload, 0, false, connection.isV5);
  if (bytes.length > connection.packetBytesMax || (connection.paused & PAUSE.unread) !== 0) {
    state.figures.downlinksDropped++;
    return false;
  }
  connection.send(bytes);
  state.figures.downlinksSent++;
  return true;
}

/** Sends what waits, as far as the client's Receive Maximum allows. */
export function pumpDownlinks(state: GatewayState, connection: Connection): void {
  const { downlinks } = connection.session!;
  const prefix = connection.identity!.prefix;
  const next = () => downlinks.next(connection.window, state.clock.nowMs());
  for (let item = next(); item !== undefined; item = next()) {
    const { topic, payload, packetId, isRepeat } = item;
    const bytes = encodePublish(prefix + topic, payload, packetId, isRepeat, connection.isV5);
    item.isSent = true;
    item.isRepeat = true;
    if (bytes.length > connection.packetBytesMax) {
      state.figures.downlinksDropped++;
      downlinks.acknowledge(packetId);
      continue;
    }
    connection.send(bytes);
    state.figures.downlinksSent++;
  }
}

function unwanted(state: GatewayState): false {
  state.figures.downlinksUnwanted++;
  return false;
}
