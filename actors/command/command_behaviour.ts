/**
 * The actor of a device's service calls, beside the device's own: a call is a state machine, queued,
 * sent, and then answered, failed, expired or cancelled. It is sent once the device's actor says that
 * there is a connection that takes calls, in order of creation, and again, under the same id, to each
 * new connection and after a pause: what was lost with a process or a socket is made good by that.
 *
 * Calls that have ended leave the state at once: view `calls` keeps them.
 */
import type { Behaviour, Context, Json } from "../../runtime/actor/behaviour.ts";
import { AssertionError } from "../../runtime/errors.ts";
import type { DeviceDownlink, DeviceMessage } from "../device/messages.ts";
import { callRowOf } from "./call_row.ts";
import {
  asSent,
  inputBytesOf,
  isToSend,
  nextDueMs,
  NO_CALLS,
  refusalOf,
  withRepeatsDue,
} from "./command_state.ts";
import {
  type AnsweredReply,
  CALL_TOPIC,
  type CallAnswer,
  type CallEnd,
  type CallReply,
  type CallRow,
  CALLS,
  type CallStatus,
  type CancelReply,
  type CommandMessage,
  type CommandState,
  type FetchedCall,
  type FetchReply,
  type OpenCall,
} from "./messages.ts";

type Of<Type extends CommandMessage["type"]> = Extract<CommandMessage, { readonly type: Type }>;

const REMINDER = "due";
/** Has the device's actor say whether there is a connection. */
const CALLS_WAIT: DeviceMessage = { type: "callsWait" };
const HEARD: DeviceMessage = { type: "heard" };

/** No state: no call is open. */
export const commandBehaviour: Behaviour<CommandState | null, CommandMessage> = {
  kind: "command",
  placement: { group: "things" },
  stateVersion: 1,
  renewedBy: "removed" satisfies CommandMessage["type"],
  initial: () => NO_CALLS,
  receive(stored, message, context) {
    const state = stored ?? NO_CALLS;
    if (message.type === "removed") return remove(state, context);
    const { calls } = state;
    const next = handle(expire(calls, context), message, context);
    // A state that was never changed is not kept: answers to calls long gone leave no trace.
    return next === calls && message.type !== "due" ? state : settle(state, next, message, context);
  },
};

function handle(
  calls: readonly OpenCall[],
  message: Exclude<CommandMessage, Of<"removed">>,
  context: Context,
): readonly OpenCall[] {
  switch (message.type) {
    case "call":
      return call(calls, message, context);
    case "cancel":
      return cancel(calls, message.callId, context);
    case "linked":
      return send(calls, message, context);
    case "answered":
      return answer(calls, message, context);
    case "fetch":
      return fetch(calls, message.session, context);
    case "due": {
      const next = withRepeatsDue(calls, context.nowMs);
      if (next !== calls) askLink(context);
      return next;
    }
  }
  // Only a record of a newer version gets here: parked, where an operator sees it.
  throw new AssertionError(`Cannot handle "${(message as { type: string }).type}"`);
}

function call(
  calls: readonly OpenCall[],
  message: Of<"call">,
  context: Context,
): readonly OpenCall[] {
  const { callId, service, input, mode, expiresAtMs, createdBy } = message;
  const known = calls.find((each) => each.callId === callId);
  if (known !== undefined) return reply(calls, { ok: true, status: statusOf(known) }, context);
  const inputBytes = inputBytesOf(input);
  const refusal = refusalOf({ calls }, inputBytes);
  if (refusal !== undefined) return reply(calls, refusal, context);
  const fresh: OpenCall = {
    callId,
    service,
    input,
    mode,
    createdBy,
    createdAtMs: context.nowMs,
    expiresAtMs,
    inputBytes,
    sends: 0,
  };
  if (expiresAtMs <= context.nowMs) { // It came late: a backlog, or a replay.
    end(fresh, "expired", undefined, context);
    return reply(calls, { ok: true, status: "expired" }, context);
  }
  project(callRowOf(keyOf(context), fresh, "queued"), context);
  askLink(context);
  return reply([...calls, fresh], { ok: true, status: "queued" }, context);
}

/** Sends what the connection has not had, in order. */
function send(
  calls: readonly OpenCall[],
  { session, isNew }: Of<"linked">,
  context: Context,
): readonly OpenCall[] {
  return handOut(calls, session, isNew, context, ({ callId, service, input, expiresAtMs }) => {
    downlink({ type: "call", callId, service, input, expiresAtMs }, context);
  });
}

/** Hands them to who asks. */
function fetch(
  calls: readonly OpenCall[],
  session: string,
  context: Context,
): readonly OpenCall[] {
  const taken: FetchedCall[] = [];
  const next = handOut(calls, session, false, context, (call) => {
    const { callId, service, input, expiresAtMs } = call;
    taken.push({ callId, service, input, expiresAtMs });
  });
  const value: FetchReply = { calls: taken };
  return context.reply(next, value as unknown as Json);
}

/** The calls, those that are to go to this connection as sent, in order. */
function handOut(
  calls: readonly OpenCall[],
  session: string,
  isNew: boolean,
  context: Context,
  take: (call: OpenCall) => void,
): readonly OpenCall[] {
  if (!calls.some((each) => isToSend(each, session, isNew))) return calls;
  return calls.map((each) => {
    if (!isToSend(each, session, isNew)) return each;
    const sent = asSent(each, session, context.nowMs);
    take(sent);
    if (each.sends === 0) project(callRowOf(keyOf(context), sent, "sent"), context);
    return sent;
  });
}

function answer(
  calls: readonly OpenCall[],
  { callId, answer, service }: Of<"answered">,
  context: Context,
): readonly OpenCall[] {
  const open = calls.find((each) => each.callId === callId);
  const isOpen = open !== undefined && (service === undefined || service === open.service);
  if (service !== undefined) { // Straight from a gateway: the device's actor was not told.
    context.send(`device/${keyOf(context)}`, HEARD);
    const value: AnsweredReply = { isOpen };
    context.reply(calls, value);
  }
  if (!isOpen) return calls;
  end(open, answer.ok ? "answered" : "failed", answer, context);
  return without(calls, open);
}

function cancel(
  calls: readonly OpenCall[],
  callId: string,
  context: Context,
): readonly OpenCall[] {
  const open = calls.find((each) => each.callId === callId);
  const value: CancelReply = { isCancelled: open !== undefined };
  context.reply(calls, value as unknown as Json);
  if (open === undefined) return calls;
  end(open, "cancelled", undefined, context);
  // It may still wait at a gateway.
  if (open.sends > 0) downlink({ type: "callEnded", callId, service: open.service }, context);
  return without(calls, open);
}

function expire(calls: readonly OpenCall[], context: Context): readonly OpenCall[] {
  const isOver = ({ expiresAtMs }: OpenCall) => expiresAtMs <= context.nowMs;
  if (!calls.some(isOver)) return calls;
  for (const each of calls) if (isOver(each)) end(each, "expired", undefined, context);
  return calls.filter((each) => !isOver(each));
}

function remove({ calls }: CommandState, context: Context): null {
  for (const { callId } of calls) tellEnd(callId, { status: "cancelled" }, context);
  context.project(CALLS, keyOf(context), undefined); // All rows of the device.
  context.cancelReminder(REMINDER);
  return null;
}

/** The state of these calls, with its reminder set: no more often than calls change. */
function settle(
  { dueAtMs }: CommandState,
  calls: readonly OpenCall[],
  message: CommandMessage,
  context: Context,
): CommandState | null {
  if (calls.length === 0) {
    context.cancelReminder(REMINDER);
    return null;
  }
  const nextMs = nextDueMs(calls);
  // One that is due earlier comes for nothing and costs less than to be moved with each call.
  const isSet = dueAtMs !== undefined && dueAtMs > context.nowMs && message.type !== "due";
  if (isSet && dueAtMs <= nextMs) return { calls, dueAtMs };
  context.remind(REMINDER, nextMs, { type: "due" } satisfies CommandMessage);
  return { calls, dueAtMs: nextMs };
}

function end(
  open: OpenCall,
  status: CallStatus,
  answer: CallAnswer | undefined,
  context: Context,
): void {
  const ended = answer === undefined ? undefined : { answer, atMs: context.nowMs };
  project(callRowOf(keyOf(context), open, status, ended), context);
  const { sentAtMs } = open;
  const sent = sentAtMs === undefined ? undefined : { sentAt: sentAtMs };
  tellEnd(open.callId, { status, ...sent, ...(answer && { answer }) }, context);
}

function tellEnd(callId: string, end: CallEnd, context: Context): void {
  context.publish(CALL_TOPIC + callId, end as unknown as Json);
}

function project(row: CallRow, context: Context): void {
  context.project(CALLS, `${keyOf(context)}/${row.callId}`, row as unknown as Json);
}

function askLink(context: Context): void {
  context.send(`device/${keyOf(context)}`, CALLS_WAIT);
}

function downlink(message: DeviceDownlink, context: Context): void {
  context.downlink(message);
}

function reply(
  calls: readonly OpenCall[],
  value: CallReply,
  context: Context,
): readonly OpenCall[] {
  return context.reply(calls, value as unknown as Json);
}

function without(calls: readonly OpenCall[], gone: OpenCall): readonly OpenCall[] {
  return calls.filter((each) => each !== gone);
}

function statusOf({ sends }: OpenCall): CallStatus {
  return sends === 0 ? "queued" : "sent";
}

/** `{product}/{device}`. */
function keyOf(context: Context): string {
  return context.address.slice(context.address.indexOf("/") + 1);
}
