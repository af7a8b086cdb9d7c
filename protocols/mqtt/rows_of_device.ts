/** The gateway rows of a device that is deleted: their removals, to be durable with its own. */
import type { GatewayRow } from "../../runtime/log/partition_log.ts";
import { retainedKey } from "./retained_row.ts";
import { sessionKey } from "./session.ts";
import { willKey } from "./will_row.ts";

/** @param key `{product}/{device}`. */
export function rowsOfDevice(key: string): readonly GatewayRow[] {
  return [{ key: sessionKey(key) }, { key: willKey(key) }, { key: retainedKey(key) }];
}
