/** Limits of devices that speak HTTP; the others are in `limits.ts`. */
import { assert } from "./errors.ts";
import { LIMITS } from "./limits.ts";

export const HTTP_LIMITS = {
  /** How long a device's token is good. Too long: who finds one may use it longer. */
  tokenMs: 3_600_000,
  /** Bytes from which an answer of the API is compressed; smaller ones fit into a packet or two. */
  compressAtBytes: 2_048,
  /** Bytes that are compressed in one go: about a millisecond of the main thread. */
  compressChunkBytes: 65_536,
  /** Longest that a poll for downlinks waits. Too long: middleboxes forget the connection. */
  pollMsMax: 60_000,
  /** Polls that wait, of all devices, about 35 kB each; at the bound one more gets 503. */
  pollsMax: 10_000,
  /**
   * A device that polls counts as connected until this long after its last poll. Too short: it goes
   * offline in between.
   */
  pollAwayMs: 60_000,
  /** Devices that poll, waiting or not; at the bound the one away longest goes offline early. */
  pollSessionsMax: 50_000,
  /**
   * Searches of devices that one caller has under way. They take turns on one thread: too many make
   * those of others wait.
   */
  searchesOfCallerMax: 16,
  /**
   * Posts of one device that are known by their `Idempotency-Key`, 44 B each, all of them written with
   * each such post. Too few: a device that sends many at once is not known by the first any more.
   */
  keyedPostsMax: 64,
  /** Devices whose keyed posts are in memory, about 10 KB each; of others their row is read. */
  keyedDevicesCachedMax: 2_000,
} as const;

assert(
  HTTP_LIMITS.pollSessionsMax > HTTP_LIMITS.pollsMax,
  "pollSessionsMax must hold every device that waits",
);
assert(
  HTTP_LIMITS.pollMsMax > LIMITS.callResendMs,
  "a poll must be able to wait for the repeat of a call",
);
