/**
 * What a device may use: topics and filters under its own prefix, and of those not the topics that
 * only the platform publishes on. One decision for PUBLISH, retained or not, wills and SUBSCRIBE.
 */
import { LIMITS } from "../../runtime/limits.ts";
import { DOWN_TOPICS, isFilter } from "./topic.ts";

export type Action = "publish" | "retain" | "will" | "subscribe";

/** Why not; `invalid`: it is no topic or filter at all. */
export type Denial = "invalid" | "outside_prefix" | "platform_topic";

/** @param name Topic, or filter of a `subscribe`. @returns Undefined if the device may. */
export function denialOf(action: Action, name: string, prefix: string): Denial | undefined {
  const isValid = action === "subscribe" ? isFilter(name) : isTopic(name);
  if (!isValid) return "invalid";
  if (!name.startsWith(prefix) || name.length === prefix.length) return "outside_prefix";
  if (action === "subscribe") return undefined;
  const suffix = name.slice(prefix.length);
  const isPlatform = DOWN_TOPICS.some((topic) => topic === suffix) ||
    /^services\/[^/]+\/[^/]+$/.test(suffix);
  return isPlatform ? "platform_topic" : undefined;
}

/** A topic of a message: no wildcards, no control characters (3.3.2-2, 1.5.4-2), not too long. */
function isTopic(topic: string): boolean {
  if (topic.length === 0 || topic.length > LIMITS.mqttFilterCharactersMax) return false;
  // deno-lint-ignore no-control-regex
  return !/[\0-\x1f\x7f+#]/.test(topic) && topic.isWellFormed();
}
