/** What came with a message of a device beside its payload: kept for traces, never interpreted. */
import { Buffer } from "node:buffer";

export interface Carried {
  /** Published for the device because its connection was lost: the device itself was not heard of. */
  readonly isWill?: true;
  /** Of MQTT 5, in order; a name may come again. */
  readonly userProperties?: readonly (readonly [string, string])[];
  readonly contentType?: string;
  readonly responseTopic?: string;
  /** Base64. */
  readonly correlation?: string;
}

/** The body of a message, a JSON object in pieces, with a last member `carried`. */
export function withCarried(
  parts: readonly Uint8Array[],
  carried: Carried,
): readonly Uint8Array[] {
  const last = parts.at(-1)!;
  const member = Buffer.from(`,"carried":${JSON.stringify(carried)}}`);
  return [...parts.slice(0, -1), last.subarray(0, last.length - 1), member];
}
