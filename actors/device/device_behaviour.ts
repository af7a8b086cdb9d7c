/**
 * The actor of a device: last values, desired properties, and the connection it has. Its own log
 * records (`properties`) are history already: the telemetry reader takes them from the log.
 */
import { hashKey } from "../../runtime/actor/address.ts";
import type { Behaviour, Context, Json } from "../../runtime/actor/behaviour.ts";
import { AssertionError } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { CommandMessage } from "../command/messages.ts";
import type { Carried } from "./carried.ts";
import {
  deltaOf,
  INITIAL_STATE,
  isSame,
  shadowOf,
  STATE_FULL,
  withDesired,
  withReported,
} from "./device_state.ts";
import {
  type CallsWait,
  type DeviceDownlink,
  type DeviceMessage,
  type DeviceState,
  NODE_RESTARTED,
  type PresenceRow,
  type ShadowReply,
} from "./messages.ts";

type Of<Type extends DeviceMessage["type"]> = Extract<DeviceMessage, { readonly type: Type }>;

/** Characters of a peer's address that are kept. */
const REMOTE_CHARACTERS_MAX = 64;

export const deviceBehaviour: Behaviour<DeviceState, DeviceMessage> = {
  kind: "device",
  placement: { group: "things" },
  stateVersion: 1,
  renewedBy: "removed" satisfies DeviceMessage["type"],
  initial: () => INITIAL_STATE,
  receive(state, message, context) {
    switch (message.type) {
      case "properties":
        return report(state, message, context);
      case "event":
        return raise(state, message, context);
      case "message":
        return hear(state, message.carried, context);
      case "connected":
        return connect(state, message, context);
      case "disconnected":
        return disconnect(state, message, context);
      case "absent":
        return leave(state, message.epoch, context);
      case "deliver":
        return deliver(state, message, context);
      case "reply":
        return passReply(state, message, context);
      case "callsWait":
        if (state.link?.takesCalls) tellLink(state.link, false, context);
        else downlink({ type: "callsWait" }, context);
        return state;
      case "heard":
        return hear(state, undefined, context);
      case "shadowGet":
        return showShadow(state, message.session, context);
      case "desire":
        return desire(state, message, context);
      case "removed":
        context.project("presence", keyOf(context), undefined);
        tellCommands({ type: "removed" }, context);
        return INITIAL_STATE;
    }
    // Only a record of a newer version gets here: parked, where an operator sees it.
    throw new AssertionError(`Cannot handle "${(message as { type: string }).type}"`);
  },
};

/** A will is no word of its device: that was heard of last when its connection ended. */
function hear(state: DeviceState, carried: Carried | undefined, context: Context): DeviceState {
  if (carried?.isWill === true) return state;
  showHeard(state, context);
  return { ...state, lastSeenAtMs: context.nowMs };
}

function report(state: DeviceState, message: Of<"properties">, context: Context): DeviceState {
  const isWill = message.carried?.isWill === true;
  if (!isWill) showHeard(state, context);
  const lastSeenAtMs = isWill ? state.lastSeenAtMs ?? context.nowMs : context.nowMs;
  const next = withReported(state, message.samples, context.nowMs, lastSeenAtMs);
  if (next !== undefined) {
    if (Object.keys(next.desired).length > 0) publishDelta(state, next, context);
    return next;
  }
  // History has the values all the same; only the last values stay as they were.
  const refusal = { type: "refused", reason: "state_full", detail: STATE_FULL, at: context.nowMs };
  context.publish(context.address, refusal);
  return { ...state, lastSeenAtMs };
}

function raise(state: DeviceState, message: Of<"event">, context: Context): DeviceState {
  const { event, at = context.nowMs, data } = message;
  context.record("event", { event, at, data });
  return hear(state, message.carried, context);
}

function connect(state: DeviceState, message: Of<"connected">, context: Context): DeviceState {
  const { session, epoch, wire, remote } = message;
  // The same epoch is the same session: told again, or replayed after its close.
  if (epoch <= state.epoch) return state;
  project({ online: true, session, atMs: context.nowMs }, context);
  const connectedAtMs = context.nowMs;
  const link = remote === undefined
    ? { session, epoch, wire, connectedAtMs }
    : { session, epoch, wire, connectedAtMs, remote: remote.slice(0, REMOTE_CHARACTERS_MAX) };
  return { ...state, link, epoch, lastSeenAtMs: context.nowMs };
}

/** A late close of an old session must not take a new one offline. */
function disconnect(
  state: DeviceState,
  message: Of<"disconnected">,
  context: Context,
): DeviceState {
  if (state.link?.session !== message.session) return state;
  const { lastSeenAtMs = context.nowMs } = state;
  const atMs = message.reason === NODE_RESTARTED ? lastSeenAtMs : context.nowMs;
  project({ online: false, session: null, atMs }, context);
  const { link: _closed, ...rest } = state;
  return { ...rest, lastSeenAtMs: atMs };
}

/** What comes late of the connections before is ignored from now, as in `connect`. */
function leave(state: DeviceState, epoch: number, context: Context): DeviceState {
  if (epoch <= state.epoch) return state;
  const { link, ...rest } = state;
  if (link === undefined) return { ...state, epoch };
  const { lastSeenAtMs = context.nowMs } = state;
  project({ online: false, session: null, atMs: lastSeenAtMs }, context);
  return { ...rest, epoch, lastSeenAtMs };
}

function deliver(state: DeviceState, message: Of<"deliver">, context: Context): DeviceState {
  const { session, values, calls } = message;
  const { link } = state;
  if (link?.session !== session) return state;
  if (values !== false) sendDelta(state, context);
  if (!calls) return state;
  tellLink(link, true, context);
  return link.takesCalls ? state : { ...state, link: { ...link, takesCalls: true } };
}

function passReply(state: DeviceState, message: Of<"reply">, context: Context): DeviceState {
  const { callId, answer } = message;
  tellCommands({ type: "answered", callId, answer }, context);
  showHeard(state, context);
  return { ...state, lastSeenAtMs: context.nowMs };
}

function tellLink(
  { session }: NonNullable<DeviceState["link"]>,
  isNew: boolean,
  context: Context,
): void {
  tellCommands({ type: "linked", session, isNew }, context);
}

/** In the same partition: handled in the same commit. */
function tellCommands(message: CommandMessage, context: Context): void {
  context.send(`command/${keyOf(context)}`, message);
}

function showShadow(state: DeviceState, session: string, context: Context): DeviceState {
  if (state.link?.session !== session) return state;
  downlink({ type: "shadow", session, shadow: shadowOf(state) }, context);
  showHeard(state, context);
  return { ...state, lastSeenAtMs: context.nowMs };
}

function desire(state: DeviceState, message: Of<"desire">, context: Context): DeviceState {
  const { values, expectedVersion } = message;
  if (expectedVersion !== undefined && expectedVersion !== state.version) {
    return reply(state, { ok: false, code: "stale_version", version: state.version }, context);
  }
  const next = withDesired(state, values, context.nowMs);
  if (next === undefined) {
    return reply(state, { ok: false, code: "state_full", message: STATE_FULL }, context);
  }
  publishDelta(state, next, context);
  // Also where nothing changed: asking again is how a caller repeats what a device missed.
  if (next.link !== undefined) sendDelta(next, context);
  return reply(next, { ok: true, shadow: shadowOf(next), delta: deltaOf(next) ?? {} }, context);
}

function sendDelta(state: DeviceState, context: Context): void {
  const values = deltaOf(state);
  if (values === undefined) return;
  downlink({ type: "propertySet", version: state.version, values }, context);
}

/** Tells live feeds when what is desired, or what of it is not reported yet, has changed. */
function publishDelta(before: DeviceState, after: DeviceState, context: Context): void {
  const delta = deltaOf(after) ?? {};
  if (before.version === after.version && isSame(deltaOf(before) ?? {}, delta)) return;
  context.publish(context.address, { type: "shadow", version: after.version, delta });
}

function downlink(message: DeviceDownlink | CallsWait, context: Context): void {
  context.downlink(message);
}

/**
 * Shows to lists that the device was heard of by a message: the first one in each `presenceEveryMs`.
 * Each device has a phase of its own, so that a fleet does not write its rows in one moment.
 */
function showHeard({ lastSeenAtMs, link }: DeviceState, context: Context): void {
  const { address, nowMs } = context;
  if (lastSeenAtMs !== undefined) {
    const phaseMs = hashKey(address) % LIMITS.presenceEveryMs;
    const periodOf = (atMs: number) => Math.floor((atMs + phaseMs) / LIMITS.presenceEveryMs);
    if (periodOf(lastSeenAtMs) === periodOf(nowMs)) return;
  }
  project({ online: link !== undefined, session: link?.session ?? null, atMs: nowMs }, context);
}

function project(row: PresenceRow, context: Context): void {
  context.project("presence", keyOf(context), { ...row });
}

function reply(state: DeviceState, value: ShadowReply, context: Context): DeviceState {
  return context.reply(state, value as unknown as Json);
}

/** `{product}/{device}`. */
function keyOf(context: Context): string {
  return context.address.slice(context.address.indexOf("/") + 1);
}
