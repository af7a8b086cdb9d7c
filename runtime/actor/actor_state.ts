/** States between memory and store: reading old and new versions, sizes, freezing. */
import { InvalidError, messageOf } from "../errors.ts";
import type { Activation } from "./activation.ts";
import { ROW_BYTES } from "./effects.ts";
import { traitsBytes } from "./state_codec.ts";
import { decodeUtf8, utf8Length } from "./utf8.ts";

export class StateFullError extends Error {
  override readonly name = "StateFullError";
}

/**
 * Decodes and upgrades the stored state on its first use. Returns why it cannot be read: the actor's
 * records are parked and the stored bytes stay as they are.
 */
export function readState(
  activation: Activation,
  isFreezing: boolean,
): { readonly reason: string; readonly detail: string } | undefined {
  const raw = activation.raw!;
  if (raw.refusal !== undefined) return raw.refusal;
  const { behaviour } = activation;
  const { stateVersion, json } = raw.envelope!;
  // A node of version N-1 reads N, so that nodes can be replaced one by one.
  if (stateVersion > behaviour.stateVersion + 1) {
    const detail = `Cannot read state version ${stateVersion}: this node has ` +
      `${behaviour.stateVersion} of "${behaviour.kind}"`;
    return raw.refusal = { reason: "newer_state", detail };
  }
  let state: unknown;
  try {
    state = JSON.parse(decodeUtf8(json!));
  } catch (fault) {
    return raw.refusal = { reason: "corrupt_state", detail: messageOf(fault) };
  }
  if (stateVersion < behaviour.stateVersion) {
    try {
      if (behaviour.upgrade === undefined) {
        throw new InvalidError(`"${behaviour.kind}" has no upgrade from version ${stateVersion}`);
      }
      state = behaviour.upgrade(state, stateVersion);
    } catch (fault) {
      return raw.refusal = { reason: "threw", detail: `Upgrade failed: ${messageOf(fault)}` };
    }
  }
  activation.raw = undefined;
  activation.state = isFreezing ? deepFreeze(state) : state;
  return undefined;
}

/** Encoded size of a state. Throws `StateFullError` above `stateBytesMax`. */
export function stateBytes(state: unknown, stateBytesMax: number): number {
  const text = JSON.stringify(state);
  if (text === undefined) throw new InvalidError("Cannot keep a state that is not JSON");
  const bytes = utf8Length(text);
  if (bytes > stateBytesMax) {
    throw new StateFullError(
      `Cannot keep a state of ${bytes} B: stateBytesMax is ${stateBytesMax}`,
    );
  }
  return bytes;
}

/** Bytes that the actor takes in a commit. */
export function exactCost(activation: Activation): number {
  const { address, raw, state, traits } = activation;
  const json = raw?.envelope?.json?.length ??
    (state === undefined ? 0 : utf8Length(JSON.stringify(state)));
  return ROW_BYTES + address.length + traitsBytes(traits) + json;
}

/** Freezes plain data all the way down: a behaviour that changes its input throws at once. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const key of Object.keys(value)) deepFreeze((value as Record<string, unknown>)[key]);
  return value;
}
