/** Where the doctor draws its lines. */
const MIB = 1024 * 1024;

export const DOCTOR_LIMITS = {
  /** What the node holds besides connections: databases, workers, pipes, listeners. */
  ownDescriptors: 128,
  /** Below it a start is of no use; below the other a fleet of some size meets it. */
  descriptorsMin: 512,
  descriptorsLow: 8_192,
  memoryLowBytes: 512 * MIB,
  /** Disk reserves that should be free. */
  reservesFree: 16,
  fsyncs: 32,
  /** A disk this slow makes each acknowledgement wait; SSDs take 0.1 to 2 ms. */
  fsyncSlowMs: 20,
  clockReads: 2_000,
  /** The wall clock against the monotonic one while the doctor looks. */
  clockJumpMs: 100,
  /** File systems keep times in ticks of some ms; another machine may have written them. */
  clockBehindMs: 2_000,
  /** 2026-01-01. */
  sensibleFromMs: 1_767_225_600_000,
  /** `--quick` reads no database whole that is larger. */
  quickDatabaseBytes: 256 * MIB,
  /** How long each measure runs. */
  measureMs: 1_500,
  /** Room that the measures may take on top of the disk's reserve. */
  measureBytes: 256 * MIB,
  /** `idle-connection` of docs/performance.md, with room for sessions and what is in flight. */
  bytesPerConnection: 24 * 1024,
} as const;
