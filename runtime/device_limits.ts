/** Bounds of grouping, finding and tracing devices, as those in `limits.ts`. */
import { assert } from "./errors.ts";

export const DEVICE_LIMITS = {
  /** Groups of one project; a search in one reads the tree of all of them. */
  groupsMax: 1_000,
  /** Levels of groups in groups. */
  groupDepthMax: 8,
  /** Groups that one device is in. */
  groupsPerDeviceMax: 32,
} as const;

assert(
  DEVICE_LIMITS.groupsMax >= DEVICE_LIMITS.groupDepthMax,
  "groupsMax must hold one group of each level",
);
