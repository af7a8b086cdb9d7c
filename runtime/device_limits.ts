/** Bounds of grouping, finding and tracing devices, as those in `limits.ts`. */
import { assert } from "./errors.ts";

export const DEVICE_LIMITS = {
  /** Groups of one project; a search in one reads the tree of all of them. */
  groupsMax: 1_000,
  /** Levels of groups in groups. */
  groupDepthMax: 8,
  /** Groups that one device is in. */
  groupsPerDeviceMax: 32,
  /** Last messages of one device that are traced; a bit each of one number says by which wire. */
  tracedMessages: 32,
  /** Bytes of all traces, about 2 KB a device; the device that was silent longest gives way. */
  traceBytesMax: 32 * 1024 * 1024,
  /** Characters of a topic or a reason in a trace. */
  tracedTextCharacters: 512,
  /** Appends of each partition whose times are remembered, 48 B each. */
  appendsRemembered: 2_048,
} as const;

assert(
  DEVICE_LIMITS.groupsMax >= DEVICE_LIMITS.groupDepthMax,
  "groupsMax must hold one group of each level",
);
