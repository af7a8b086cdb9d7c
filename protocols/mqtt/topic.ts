/** Topics and filters of a device: all of them begin with its own prefix `v1/{product}/{device}/`. */
import { isName } from "../../actors/registry/names.ts";
import { LIMITS } from "../../runtime/limits.ts";

/** What we publish to a device, after its prefix. */
export const DOWN_TOPICS = ["properties/set", "shadow", "time", "errors"] as const;
/** The last: a service call, `services/{service}/{callId}`. */
export type DownTopic = typeof DOWN_TOPICS[number] | `services/${string}`;

export function callTopic(service: string, callId: string): DownTopic {
  return `services/${service}/${callId}`;
}

export function isCallTopic(topic: DownTopic): boolean {
  return topic.startsWith("services/");
}

/** `services/{service}/{callId}/reply` after the prefix; undefined if it is none. */
export function parseReplyTopic(
  suffix: string,
): { readonly service: string; readonly callId: string } | undefined {
  const [services, service, callId, reply, ...rest] = suffix.split("/");
  if (services !== "services" || reply !== "reply" || rest.length > 0) return undefined;
  return isName(service!) && isName(callId!) ? { service: service!, callId: callId! } : undefined;
}

/** Whether a well-formed filter matches service calls, be it of one service or of all. */
export function matchesCalls(filter: string, prefix: string): boolean {
  const wanted = filter.split("/");
  const levels = `${prefix}services`.split("/");
  for (let i = 0; i < levels.length + 2; i++) {
    if (wanted[i] === "#") return true;
    if (i >= wanted.length) return false;
    if (i < levels.length && wanted[i] !== "+" && wanted[i] !== levels[i]) return false;
  }
  const rest = wanted.slice(levels.length + 2);
  return rest.length === 0 || (rest.length === 1 && rest[0] === "#");
}

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

const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;

/** Whether `topic` is matched by a well-formed filter. In one pass: it is asked for each message. */
export function isMatch(filter: string, topic: string): boolean {
  let at = 0;
  let topicAt = 0;
  for (; at < filter.length; at++) {
    const wanted = filter.charCodeAt(at);
    if (wanted === HASH) return true;
    if (wanted === PLUS) {
      while (topicAt < topic.length && topic.charCodeAt(topicAt) !== SLASH) topicAt++;
    } else if (topicAt === topic.length) {
      // Also the parent level: `a/#` matches `a`.
      return wanted === SLASH && filter.charCodeAt(at + 1) === HASH;
    } else if (wanted !== topic.charCodeAt(topicAt++)) return false;
  }
  return topicAt === topic.length;
}
