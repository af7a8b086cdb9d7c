/** Bounds of grouping, finding and tracing devices, as those in `limits.ts`. */
import { assert } from "./errors.ts";

export const DEVICE_LIMITS = {
  /** Groups of one project; a search in one reads the tree of all of them. */
  groupsMax: 1_000,
  /** Levels of groups in groups. */
  groupDepthMax: 8,
  /** Groups that one device is in. */
  groupsPerDeviceMax: 32,
  /** Conditions on values of one search. */
  propertyConditionsMax: 4,
  /** Values of one device that can be searched for, and characters of a text among them. */
  indexedPropertiesMax: 64,
  indexedTextCharactersMax: 256,
  /**
   * States that the index of values takes in one go, and the share of time it may work: at 0.1 it takes
   * 1,000 changed states a second, 0.1 ms each. Too much: it takes the processor from messages; too little: searches lag.
   */
  indexSliceStates: 128,
  indexTimeShare: 0.1,
  /** Longest that the index rests when states have changed. */
  indexEveryMs: 500,
  /** Addresses of changed states that wait for a reader; beyond it that reads all states again. */
  changedStatesMax: 200_000,
  /** Last messages of one device that are traced; a bit each of one number says by which wire. */
  tracedMessages: 32,
  /** Bytes of all traces, about 2 KB a device; the device that was silent longest gives way. */
  traceBytesMax: 32 * 1024 * 1024,
  /** Characters of a topic or a reason in a trace. */
  tracedTextCharacters: 512,
  /** Appends of each partition whose times are remembered, 48 B each. */
  appendsRemembered: 2_048,
  /**
   * Matches of one condition up to which a list looks at all of them, sorted, at once; and up to which it
   * does where so many rows of an index were walked for it that did not pass. Counts look at all of them
   * up to the second one.
   */
  searchNarrowKeys: 2_000,
  searchSourceKeys: 20_000,
  searchWalkRows: 10_000,
  /** Keys that one store is asked about in one statement: 1 to 3 ms. */
  searchChunkKeys: 1_000,
  /**
   * How long searches have the views' thread before other work of it runs, which may wait for the disk: 15
   * ms with what is in one go. Too little: a search that looks at much waits again and again.
   */
  searchTurnMs: 10,
} as const;

assert(
  DEVICE_LIMITS.groupsMax >= DEVICE_LIMITS.groupDepthMax,
  "groupsMax must hold one group of each level",
);
