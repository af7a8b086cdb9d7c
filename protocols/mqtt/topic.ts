/** Topics and filters of a device: all of them begin with its own prefix `v1/{product}/{device}/`. */
import { LIMITS } from "../../runtime/limits.ts";

/** What we publish to a device, after its prefix. */
export const DOWN_TOPICS = ["properties/set", "shadow", "time", "errors"] as const;
export type DownTopic = typeof DOWN_TOPICS[number];

export function prefixOf(product: string, device: string): string {
  return `v1/${product}/${device}/`;
}

/** Whether a filter is well formed: `+` and `#` alone in their level, `#` last. */
export function isFilter(filter: string): boolean {
  if (filter.length === 0 || filter.length > LIMITS.mqttFilterCharactersMax) return false;
  // Control characters: each would take six bytes in the session's row.
  // deno-lint-ignore no-control-regex
  if (/[\0-\x1f]/.test(filter) || !filter.isWellFormed()) return false;
  const levels = filter.split("/");
  return levels.every((level, i) =>
    level === "+" || (level === "#" && i === levels.length - 1) || !/[+#]/.test(level)
  );
}

/** Whether `topic` is matched by a well-formed filter. */
export function isMatch(filter: string, topic: string): boolean {
  const wanted = filter.split("/");
  const levels = topic.split("/");
  for (let i = 0; i < wanted.length; i++) {
    if (wanted[i] === "#") return true; // Also the parent level: `a/#` matches `a`.
    if (i >= levels.length) return false;
    if (wanted[i] !== "+" && wanted[i] !== levels[i]) return false;
  }
  return wanted.length === levels.length;
}
