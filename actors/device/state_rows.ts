/** What read models have of an actor, made of its committed state: for rebuilding them. */
import type { Json } from "../../runtime/actor/behaviour.ts";
import { idOf, kindOf } from "../../runtime/actor/address.ts";
import { decodeEnvelope, peekState } from "../../runtime/actor/state_codec.ts";
import { openCallRow } from "../command/call_row.ts";
import { CALLS, type CommandState } from "../command/messages.ts";
import type { DeviceState, PresenceRow } from "./messages.ts";
import { PRESENCE, type RowRepair } from "./views.ts";

/** Kinds of actors that have rows. */
export const ROW_KINDS = ["device", "command"] as const;

/**
 * Rows of an actor as they are to be. Of calls only the open ones: those that have ended are in no
 * state any more.
 * @param bytes Undefined: it has no state, and so no row.
 * @throws {CodecError} They are no state.
 */
export function rowsOfState(address: string, bytes: Uint8Array | undefined): RowRepair[] {
  const key = idOf(address);
  const version = bytes === undefined ? 0 : decodeEnvelope(bytes).version;
  const state = bytes === undefined ? undefined : peekState(bytes).state;
  if (kindOf(address) === "device") {
    const row = presenceOf(state as DeviceState | undefined);
    const write = { view: PRESENCE, key, version, at: row?.atMs ?? 0 };
    return [row === undefined ? write : { ...write, row: { ...row } }];
  }
  const { calls } = (state ?? { calls: [] }) as CommandState;
  return calls.map((open) => ({
    view: CALLS,
    key: `${key}/${open.callId}`,
    row: openCallRow(key, open) as unknown as Json,
    version,
    at: open.createdAtMs,
  }));
}

/** Undefined: the device was never heard of. */
function presenceOf(state: DeviceState | undefined): PresenceRow | undefined {
  if (state === undefined) return undefined;
  const { link, lastSeenAtMs } = state;
  const atMs = lastSeenAtMs ?? link?.connectedAtMs;
  if (atMs === undefined) return undefined;
  return { online: link !== undefined, session: link?.session ?? null, atMs };
}
