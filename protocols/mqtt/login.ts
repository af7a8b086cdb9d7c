/** CONNECT: who it is, whether it may, and which session it goes on with. */
import { Buffer } from "node:buffer";
import type { IConnackPacket, IConnectPacket } from "mqtt-packet";
import { messageOf } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { isName } from "../../actors/registry/names.ts";
import type { LoginResult } from "../../actors/device/directory.ts";
import { type Denial, denialOf } from "./access.ts";
import { certifiedDevice } from "./certified_device.ts";
import { close, closeAfter, fail, leave } from "./closing.ts";
import { decodeConnect, encodePacket } from "./codec.ts";
import type { Connection, Identity } from "./connection.ts";
import { pumpDownlinks } from "./downlink.ts";
import { bodyStart } from "./frame.ts";
import { type GatewayState, keepSession, targetOf } from "./gateway_state.ts";
import { askDelivery, tellConnected } from "./presence.ts";
import { connectForm, type FormFault } from "./packet_form.ts";
import { carriedOf, passedOnIn } from "./publish_properties.ts";
import type { QuotaRefusal } from "./quotas.ts";
import { CONNACK_3, REASON } from "./reason.ts";
import { decodeSession, encodeSession, Session, sessionKey } from "./session.ts";
import { withhold } from "./stopped.ts";
import { prefixOf } from "./topic.ts";
import type { Will } from "./will_row.ts";

/** The largest packet that we take, announced to MQTT 5 clients. */
export const PACKET_BYTES_MAX = LIMITS.payloadBytesMax + LIMITS.mqttOverheadBytesMax;

/**
 * Handles the first packet of a connection, which must be a CONNECT.
 * @param resume Called when packets that came after the CONNECT may be handled.
 */
export function connect(
  state: GatewayState,
  connection: Connection,
  bytes: Uint8Array,
  resume: (connection: Connection) => void,
): void {
  const level = levelOf(bytes);
  if (level !== 4 && level !== 5) return refuseVersion(state, connection, level);
  connection.version = level;
  if (!areFlagsSound(bytes, level)) return close(state, connection, 0, "malformed");
  const form = connectForm(bytes, connection.isV5);
  if (!form.ok) return refuseForm(state, connection, form.fault);
  const packet = decodeConnect(bytes);
  if (packet?.cmd !== "connect") return close(state, connection, 0, "malformed");
  if (level === 4 && packet.clientId === "" && packet.clean !== true) {
    return refuse(state, connection, CONNACK_3.badClientId, REASON.ok, "bad_client_id");
  }
  if (packet.properties?.authenticationMethod !== undefined) {
    const { badAuthenticationMethod } = REASON;
    return refuse(state, connection, 0, badAuthenticationMethod, "bad_authentication_method");
  }
  if (state.isDraining || state.owed.isFull) {
    return refuse(state, connection, CONNACK_3.unavailable, REASON.unavailable, "unavailable");
  }
  const early = state.quotas.refusalOfConnect(connection.network);
  if (early !== undefined) return refuseQuota(state, connection, early);
  const identity = authenticate(state, connection, packet);
  if (identity === undefined) return;
  const will = willOf(packet, form.willProperties, identity.prefix);
  if (typeof will === "string") return refuseWill(state, connection, will);
  if (will !== undefined && state.wills.isFull(will)) {
    return refuse(state, connection, CONNACK_3.unavailable, REASON.quotaExceeded, "wills_full");
  }
  const plan = { ...planOf(packet, connection), will };
  // 5: 3.1.2-24. Whoever cannot take it could take nothing else either.
  if (connackOf(identity, connection, plan, false).length > connection.packetBytesMax) {
    return refuse(state, connection, 0, REASON.packetTooLarge, "packet_too_large");
  }
  const old = state.byDevice.get(identity.key);
  const refusal = state.quotas.refusalOfLogin(connection.network, identity, old);
  if (refusal !== undefined) return refuseQuota(state, connection, refusal);
  takeIdentity(state, connection, identity);
  if (withhold(state, connection)) return;
  findSession(state, connection, identity, plan, resume);
}

/** Level of the protocol, or 0 if it is none of MQTT. Looked at before anything else is decoded. */
function levelOf(bytes: Uint8Array): number {
  const start = bodyStart(bytes, 0);
  if (start + 7 > bytes.length) return 0;
  const name = String.fromCharCode(...bytes.subarray(start + 2, start + 6));
  if (bytes[start] !== 0) return 0;
  if (bytes[start + 1] === 4 && name === "MQTT") return bytes[start + 6]!;
  return bytes[start + 1] === 6 && name === "MQIs" ? 3 : 0;
}

/** 3.1.2-3 and -11 to -14; -22 of 3.1.1: no password without a username. */
function areFlagsSound(bytes: Uint8Array, level: 4 | 5): boolean {
  const flags = bytes[bodyStart(bytes, 0) + 7] ?? 1;
  const hasWill = (flags & 4) !== 0;
  const isWillSound = hasWill ? (flags & 0x18) !== 0x18 : (flags & 0x38) === 0;
  const isLoginSound = level === 5 || (flags & 0xc0) !== 0x40;
  return (flags & 1) === 0 && isWillSound && isLoginSound;
}

function refuseVersion(state: GatewayState, connection: Connection, level: number): void {
  if (level === 0) return close(state, connection, 0, "malformed");
  // With its highest bit it is a bridge of mosquitto's, which comes again without it when told so.
  connection.version = level > 5 && level < 0x80 ? 5 : 4;
  const { unsupportedVersion } = REASON;
  refuse(state, connection, CONNACK_3.unsupportedVersion, unsupportedVersion, "bad_version");
}

/** 3.1.1 has no word for it: the connection is closed (3: 3.1.4-1). */
function refuseForm(state: GatewayState, connection: Connection, fault: FormFault): void {
  const reason = fault === "malformed" ? "malformed" : "protocol_error";
  if (connection.isV5) refuse(state, connection, 0, REASON[fault], reason);
  else close(state, connection, 0, reason);
}

function refuse(
  state: GatewayState,
  connection: Connection,
  returnCode: number,
  reasonCode: number,
  reason: string,
): void {
  const bytes = connection.isV5
    ? encodePacket({ cmd: "connack", sessionPresent: false, reasonCode }, 5)
    : encodePacket({ cmd: "connack", sessionPresent: false, returnCode }, 4);
  closeAfter(state, connection, bytes, reason);
}

/** 3.1.1 has no word for it that tells a client to come again later: it is closed. */
function refuseQuota(
  state: GatewayState,
  connection: Connection,
  { code, reason }: QuotaRefusal,
): void {
  if (connection.isV5) refuse(state, connection, 0, code, reason);
  else close(state, connection, 0, reason);
}

function authenticate(
  state: GatewayState,
  connection: Connection,
  packet: IConnectPacket,
): Identity | undefined {
  const { figures, throttle, clock } = state;
  if (throttle.isBlocked(connection.network, clock.monotonicMs())) {
    figures.loginsThrottled++;
    if (connection.isV5) refuse(state, connection, 0, REASON.rateExceeded, "login_throttled");
    else close(state, connection, 0, "login_throttled");
    return undefined;
  }
  const result = packet.password === undefined
    ? loginByCertificate(state, connection, packet.username ?? "")
    : loginBySecret(state, packet.username ?? "", packet.password.toString("utf8"));
  if (!result.ok) {
    figures.loginsRefused++;
    throttle.fail(connection.network, clock.monotonicMs());
    const reason = result.code === "disabled" ? REASON.notAuthorized : REASON.badCredentials;
    refuse(state, connection, CONNACK_3.notAuthorized, reason, result.code);
    return undefined;
  }
  figures.logins++;
  const { product, device } = result.login;
  const prefix = prefixOf(product, device);
  return {
    product,
    device,
    key: `${product}/${device}`,
    id: `${state.incarnation}.${figures.logins}`,
    prefix,
    propertiesTopic: new TextEncoder().encode(`${prefix}properties`),
    target: targetOf(product, device),
  };
}

const BAD_CREDENTIALS: LoginResult = { ok: false, code: "bad_credentials" };

function loginBySecret(state: GatewayState, username: string, secret: string): LoginResult {
  const [product = "", device = "", more] = username.split("/");
  const isWellFormed = isName(product) && isName(device) && more === undefined;
  return isWellFormed ? state.directory.login(product, device, secret) : BAD_CREDENTIALS;
}

/** @param username May be left out; another device's is refused. */
function loginByCertificate(
  state: GatewayState,
  connection: Connection,
  username: string,
): LoginResult {
  if (!state.hasClientCa) return BAD_CREDENTIALS;
  const certified = certifiedDevice(connection.socket, state.clock.nowMs());
  if (certified === undefined) return BAD_CREDENTIALS;
  const { product, device, endsAtMs } = certified;
  if (username !== "" && username !== `${product}/${device}`) return BAD_CREDENTIALS;
  connection.certificateEndsAtMs = endsAtMs;
  return state.directory.loginByCertificate(product, device);
}

/** The last connection of a device wins; the old one is gone before the new one has its CONNACK. */
function takeIdentity(state: GatewayState, connection: Connection, identity: Identity): void {
  const old = state.byDevice.get(identity.key);
  if (old !== undefined) {
    state.figures.takeovers++;
    const isOpen = old.isOpen;
    leave(state, old, "taken_over", true);
    old.end(isOpen ? REASON.takenOver : 0);
    old.deadlineMs = state.clock.monotonicMs() + 2_000;
  }
  connection.identity = identity;
  connection.stage = "connecting";
  state.strangers.remove(connection);
  connection.deadlineMs = state.clock.monotonicMs() + LIMITS.acknowledgeMsMax;
  state.byDevice.set(identity.key, connection);
  state.quotas.entered(connection);
}

/** What the client asked for, within our limits. */
interface ConnectPlan {
  readonly isClean: boolean;
  readonly expirySeconds: number;
  /** Told to MQTT 5 clients where it differs from what they asked. */
  readonly serverKeepAliveSeconds: number | undefined;
  readonly hasClientId: boolean;
  readonly will: Will | undefined;
}

/** What a CONNECT wants published if its connection is lost; a `WillFault` if it may not. */
function willOf(
  { will }: IConnectPacket,
  properties: Uint8Array,
  prefix: string,
): Will | WillFault | undefined {
  if (will === undefined) return undefined;
  const denial = denialOf("will", will.topic, prefix);
  if (denial !== undefined) return denial;
  const { willDelayInterval = 0, messageExpiryInterval = -1 } = will.properties ?? {};
  const passedOn = passedOnIn(properties);
  const carried = carriedOf(passedOn);
  if (typeof carried === "string") return carried;
  return {
    suffix: will.topic.slice(prefix.length),
    payload: Uint8Array.from(Buffer.from(will.payload ?? "")),
    qos: will.qos ?? 0,
    isRetained: will.retain === true,
    delaySeconds: willDelayInterval,
    expirySeconds: messageExpiryInterval,
    passedOn,
  };
}

/** Of its topic, or of its properties. */
type WillFault = Denial | "too_large";

function refuseWill(state: GatewayState, connection: Connection, denial: WillFault): void {
  if (denial === "too_large") { // On MQTT 5 alone.
    return refuse(state, connection, 0, REASON.quotaExceeded, "will_properties_too_large");
  }
  const isInvalid = denial === "invalid";
  // 3.1.1 has no word for a topic that is none: the packet is malformed.
  if (isInvalid && !connection.isV5) return close(state, connection, 0, "malformed");
  const reason = isInvalid ? REASON.topicInvalid : REASON.notAuthorized;
  refuse(state, connection, CONNACK_3.notAuthorized, reason, `will_${denial}`);
}

function planOf(packet: IConnectPacket, connection: Connection): Omit<ConnectPlan, "will"> {
  const asked = packet.keepalive ?? 0;
  const properties = packet.properties ?? {};
  const max = LIMITS.mqttKeepAliveSecondsMax;
  const isServerKeepAlive = connection.isV5 && (asked === 0 || asked > max);
  const keepAliveSeconds = isServerKeepAlive ? max : asked;
  connection.keepAliveMs = keepAliveSeconds * 1_500;
  // Half-open peers without a keep-alive are found by TCP's.
  if (keepAliveSeconds === 0) connection.socket.setKeepAlive(true, 60_000);
  connection.window = Math.min(properties.receiveMaximum ?? 0xffff, LIMITS.mqttDownlinksMax);
  connection.packetBytesMax = properties.maximumPacketSize ?? 0xffffffff;
  const isClean = packet.clean === true;
  const expirySeconds = connection.isV5
    ? properties.sessionExpiryInterval ?? 0
    : (isClean ? 0 : LIMITS.mqttSessionExpirySecondsMax);
  return {
    isClean,
    expirySeconds: Math.min(expirySeconds, LIMITS.mqttSessionExpirySecondsMax),
    serverKeepAliveSeconds: isServerKeepAlive ? max : undefined,
    hasClientId: packet.clientId !== "",
  };
}

function findSession(
  state: GatewayState,
  connection: Connection,
  identity: Identity,
  plan: ConnectPlan,
  resume: (connection: Connection) => void,
): void {
  const { wills, retained } = state;
  // It may have a will that is due, and retained messages for its subscriptions.
  if (!wills.isLoaded || !retained.isLoaded) {
    Promise.all([wills.loaded, retained.loaded]).then(() => {
      whileConnecting(state, connection, () => {
        findSession(state, connection, identity, plan, resume);
      });
    });
    return;
  }
  const known = state.away.get(identity.key);
  state.away.delete(identity.key);
  if (plan.isClean || known !== undefined) {
    return enter(state, connection, identity, plan, plan.isClean ? undefined : known, resume);
  }
  const key = sessionKey(identity.key);
  state.readRow(key).then((row) => {
    whileConnecting(state, connection, () => {
      const session = row === undefined ? undefined : decodeSession(row);
      if (row !== undefined && session === undefined) {
        state.logger.error("session row cannot be read", { key });
      }
      enter(state, connection, identity, plan, session, resume);
    });
  }).catch((fault) => {
    state.logger.error("session row cannot be read", { key, fault: messageOf(fault) });
    if (connection.stage !== "connecting") return;
    refuse(state, connection, CONNACK_3.unavailable, REASON.unavailable, "unavailable");
  });
}

/** Goes on with a login after a wait: nobody above would take a fault of it. */
function whileConnecting(state: GatewayState, connection: Connection, goOn: () => void): void {
  if (connection.stage !== "connecting") return;
  try {
    goOn();
  } catch (fault) {
    fail(state, connection, fault);
  }
}

/** Opens once its will is durable: from the CONNACK on it is promised (3: 3.1.2-8). */
function enter(
  state: GatewayState,
  connection: Connection,
  identity: Identity,
  plan: ConnectPlan,
  found: Session | undefined,
  resume: (connection: Connection) => void,
): void {
  const { key } = identity;
  const { will } = plan;
  state.wills.settle(key, found !== undefined && !found.isExpired(state.clock.nowMs()));
  if (will === undefined) {
    open(state, connection, identity, plan, found);
    return resume(connection);
  }
  // What was found is not in `away` any more: if the peer goes, it must not be lost.
  if (found !== undefined) keepSession(state, key, found);
  void state.wills.store(key, will, plan.expirySeconds).then(() => {
    if (connection.stage !== "connecting") return state.wills.drop(key, will);
    whileConnecting(state, connection, () => {
      const kept = found === undefined ? undefined : state.away.get(key);
      state.away.delete(key);
      connection.will = will;
      open(state, connection, identity, plan, kept ?? found);
      resume(connection);
    });
  });
}

/** Resumes or makes the session, announces the connection to its device, and sends the CONNACK. */
function open(
  state: GatewayState,
  connection: Connection,
  identity: Identity,
  plan: ConnectPlan,
  found: Session | undefined,
): void {
  const isResumed = found !== undefined && !found.isExpired(state.clock.nowMs());
  const session = isResumed ? found : new Session(plan.expirySeconds);
  connection.session = session;
  connection.stage = "open";
  connection.deadlineMs = 0;
  state.figures.connections++;
  if (isResumed) state.figures.sessionsResumed++;
  connection.epoch = state.nextEpoch();
  tellConnected(state, connection);
  session.expirySeconds = plan.expirySeconds;
  session.endedAtMs = undefined;
  const { key } = identity;
  if (session.isLasting) state.owed.row(key, encodeSession(session), session);
  else if (plan.isClean || found !== undefined) state.owed.row(key, undefined, session);
  connection.send(connackOf(identity, connection, plan, isResumed));
  pumpDownlinks(state, connection);
  askDelivery(state, connection);
}

function connackOf(
  identity: Identity,
  connection: Connection,
  plan: ConnectPlan,
  sessionPresent: boolean,
): Uint8Array {
  if (!connection.isV5) return encodePacket({ cmd: "connack", sessionPresent, returnCode: 0 }, 4);
  const properties: NonNullable<IConnackPacket["properties"]> = {
    sessionExpiryInterval: plan.expirySeconds,
    receiveMaximum: LIMITS.mqttReceiveMaximum,
    maximumPacketSize: PACKET_BYTES_MAX,
    topicAliasMaximum: LIMITS.mqttTopicAliasMax,
    sharedSubscriptionAvailable: false,
  };
  if (plan.serverKeepAliveSeconds !== undefined) {
    properties.serverKeepAlive = plan.serverKeepAliveSeconds;
  }
  if (!plan.hasClientId) properties.assignedClientIdentifier = identity.key;
  return encodePacket({ cmd: "connack", sessionPresent, reasonCode: 0, properties }, 5);
}
