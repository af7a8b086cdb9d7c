/** Rows of view `calls`, made of the calls that an actor's state has. */
import type { CallAnswer, CallRow, CallStatus, OpenCall } from "./messages.ts";

/**
 * @param key `{product}/{device}`.
 * @param ended How it was answered, and when, epoch milliseconds.
 */
export function callRowOf(
  key: string,
  open: OpenCall,
  status: CallStatus,
  ended?: { readonly answer: CallAnswer; readonly atMs: number },
): CallRow {
  const [product = "", device = ""] = key.split("/");
  const { callId, service, mode, input, createdAtMs, sentAtMs, expiresAtMs, createdBy } = open;
  const answer = ended?.answer;
  return {
    callId,
    product,
    device,
    service,
    status,
    mode,
    input,
    ...(answer === undefined
      ? undefined
      : answer.ok
      ? { output: answer.output }
      : { error: answer.error }),
    createdAt: createdAtMs,
    ...(sentAtMs === undefined ? undefined : { sentAt: sentAtMs }),
    ...(ended === undefined ? undefined : { answeredAt: ended.atMs }),
    expiresAt: expiresAtMs,
    createdBy,
  };
}

/** The row of a call that is open still. */
export function openCallRow(key: string, open: OpenCall): CallRow {
  return callRowOf(key, open, open.sentAtMs === undefined ? "queued" : "sent");
}
