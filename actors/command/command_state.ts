/** Open calls of a device as plain functions: what fits, what is due, what is to be sent. */
import { Buffer } from "node:buffer";
import type { Json } from "../../runtime/actor/behaviour.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { CallReply, CommandState, OpenCall } from "./messages.ts";

export const NO_CALLS: CommandState = { calls: [] };

export function inputBytesOf(input: Json): number {
  return Buffer.byteLength(JSON.stringify(input), "utf8");
}

/** Why one more call with so large an input is not taken; undefined: it is. */
export function refusalOf(state: CommandState, inputBytes: number): CallReply | undefined {
  const { callInputBytesMax, callsPerDeviceMax, callsBytesMax } = LIMITS;
  if (inputBytes > callInputBytesMax) {
    const message = `Cannot take an input of ${inputBytes} B: callInputBytesMax is ` +
      `${callInputBytesMax}`;
    return { ok: false, code: "too_large", message };
  }
  if (state.calls.length >= callsPerDeviceMax) {
    const message = `Cannot take one more call: ${state.calls.length} of the device are open, ` +
      `callsPerDeviceMax is ${callsPerDeviceMax}`;
    return { ok: false, code: "calls_full", message };
  }
  const bytes = state.calls.reduce((sum, call) => sum + call.inputBytes, inputBytes);
  if (bytes <= callsBytesMax) return undefined;
  const message = `Cannot take one more call: the inputs of those that are open would be ` +
    `${bytes} B, callsBytesMax is ${callsBytesMax}`;
  return { ok: false, code: "calls_full", message };
}

/** Whether `linked` has to send it. What was sent to this connection waits for its repeat. */
export function isToSend(call: OpenCall, session: string, isNew: boolean): boolean {
  return isNew || call.session !== session || call.resendAtMs === undefined;
}

/** The call as sent now. The pause before its repeat doubles each time. */
export function asSent(call: OpenCall, session: string, nowMs: number): OpenCall {
  const sends = call.sends + 1;
  const pauseMs = Math.min(LIMITS.callResendMsMax, LIMITS.callResendMs * 2 ** (sends - 1));
  return { ...call, sentAtMs: call.sentAtMs ?? nowMs, sends, session, resendAtMs: nowMs + pauseMs };
}

/** Calls whose repeat is due, marked to be sent at once; the same array if there are none. */
export function withRepeatsDue(calls: readonly OpenCall[], nowMs: number): readonly OpenCall[] {
  const isDue = ({ resendAtMs }: OpenCall) => resendAtMs !== undefined && resendAtMs <= nowMs;
  if (!calls.some(isDue)) return calls;
  return calls.map((call) => {
    if (!isDue(call)) return call;
    const { resendAtMs: _past, ...rest } = call;
    return rest;
  });
}

/** When something has to be done next; Infinity: never. */
export function nextDueMs(calls: readonly OpenCall[]): number {
  let dueMs = Infinity;
  for (const { expiresAtMs, resendAtMs = Infinity } of calls) {
    dueMs = Math.min(dueMs, expiresAtMs, resendAtMs);
  }
  return dueMs;
}
