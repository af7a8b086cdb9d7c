/**
 * Every bound of Roost, in one place. Each says its unit, its relation to others, and what goes
 * wrong when it is too small or too big. The asserts at the end hold the arithmetic between them.
 */
import { assert } from "./errors.ts";

export const LIMITS = {
  /** Partitions of group `things`. Fixed when the data directory is made. More spread commits thin. */
  partitionsOfThings: 32,
  /** Partitions of group `cameras`. */
  partitionsOfCameras: 16,

  /** Bytes of one message body on any wire. Bigger bodies would stall the socket loop while parsing. */
  payloadBytesMax: 65_536,
  /** Points (device, metric, time, value) of one message. */
  pointsPerMessageMax: 1_000,
  /** Levels of a JSON document from outside; deeper would risk the stack of a recursive walk. */
  jsonDepthMax: 32,
  /** Characters of a name: product, device, property, event, service. */
  nameCharactersMax: 64,
  /** How far a device's own time may run ahead of acceptance. */
  aheadMsMax: 600_000,
  /** Default of a product's `lateDaysMax`: how old a point may be. */
  lateDaysDefault: 30,

  /** Bytes of one actor's state, encoded. A value that would pass it is refused: `state_full`. */
  stateBytesMax: 65_536,
  /** Messages that one root record may cause, itself included. Spent means dead letter. */
  budgetPerRootRecord: 10_000,
  /** Parks of one actor within `parkWindowMs` that suspend it. */
  parksMax: 5,
  parkWindowMs: 60_000,
  /** Dead letters kept for one suspended actor. At the bound its ingress is refused. */
  deadLettersPerActorMax: 1_000,
  /** Reminders of one actor at a time. */
  remindersPerActorMax: 64,

  /** Activations kept in an engine process: by count, by bytes of encoded state, by idle time. */
  activationsMax: 200_000,
  activationBytesMax: 96 * 1024 * 1024,
  activationIdleMs: 600_000,

  /** Records of one partition handed to the engine in one batch. */
  batchRecordsMax: 1_024,
  /** Bytes of one partition's slice of a batch. */
  batchBytesMax: 512 * 1024,
  /** Bytes and keys of what one partition commits in one step: bounds the atomic step of any store. */
  commitBytesMax: 256 * 1024,
  commitKeysMax: 500,
  /** Engine silence with a batch in hand after which it is killed. Too small: a busy host kills it. */
  engineStallMs: 2_000,
  /** Old-space heap of the engine process, megabytes. */
  engineHeapMbMax: 512,

  /** Bytes of one append: one SQLite blob, one frame between threads. */
  appendBytesMax: 1024 * 1024,
  /** Longest a record waits for its append to be closed. Adds to each acknowledgement. */
  appendDelayMs: 2,
  /** Unacknowledged ingress bytes in the process, of all wires. At the bound senders are held back. */
  unacknowledgedBytesMax: 24 * 1024 * 1024,
  /** Longest a connection waits for one acknowledgement before it is closed. */
  acknowledgeMsMax: 10_000,

  /** Pending ingress records of the log; ingress stops at `admissionRatio` of it. */
  pendingRecordsMax: 4_000_000,
  /** Bytes of the log, handled and not; ingress stops at `admissionRatio` of it. */
  logBytesMax: 4 * 1024 * 1024 * 1024,
  /** Share of a bound at which ingress is refused, so that sends and reminders still fit. */
  admissionRatio: 0.7,
  /** Free disk below which ingress is refused. A full disk stops commits, not only appends. */
  diskReserveBytes: 64 * 1024 * 1024,
  /** Packed ticks kept in memory for readers that are close to the head. */
  tickCacheBytesMax: 16 * 1024 * 1024,

  /** Rows of the telemetry hot table. */
  hotRowsMax: 1_000_000,
  /** Points of one compacted chunk. Bigger compresses better, smaller reads less for short ranges. */
  chunkPointsMax: 1_024,
} as const;

assert(
  LIMITS.commitBytesMax >= 2 * LIMITS.stateBytesMax + LIMITS.payloadBytesMax,
  "commitBytesMax must hold one full state, its page and one record",
);
assert(
  LIMITS.unacknowledgedBytesMax >= 8 * LIMITS.appendBytesMax,
  "unacknowledgedBytesMax must hold several appends",
);
assert(
  LIMITS.appendBytesMax >= 2 * LIMITS.payloadBytesMax,
  "appendBytesMax must hold the largest record",
);
assert(
  LIMITS.acknowledgeMsMax > 2 * LIMITS.engineStallMs,
  "a stuck engine must not cost connections",
);
