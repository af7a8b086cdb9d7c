/** Bounds and costs of backups. Those of the format are fixed with its version. */
const MIB = 1024 * 1024;

export const BACKUP_LIMITS = {
  /** Plain bytes of one sealed chunk: what is in memory at a time. */
  chunkBytes: MIB,
  /** scrypt, 128 MiB and about half a second a guess. Source: RFC 7914; OWASP's cost, 2023. */
  scryptCost: 2 ** 17,
  scryptBlock: 8,
  scryptMemoryBytes: 256 * MIB,
  keyFileBytesMax: 65_536,
  /** Description of one entry, JSON. */
  entryHeadBytesMax: 4_096,
  entriesMax: 100_000,
  /** Looks for a moment at which no store is ahead of another, and the pause between them. */
  snapshotsMax: 500,
  snapshotPauseMs: 10,
  busyMs: 10_000,
} as const;
