/** Bounds of jobs (`actors/job/`), as `limits.ts` has those of the rest. */
import { assert } from "./errors.ts";
import { LIMITS } from "./limits.ts";

export const JOB_LIMITS = {
  /** Jobs that run at a time; the others wait their turn. Each takes a share of the main thread. */
  jobsRunningMax: 3,
  /** Those of one project: the others' first job waits for a turn, not for the end of its jobs. */
  jobsRunningOfProjectMax: 2,
  /** Jobs of one project that wait or run. At the bound a new one is refused. */
  jobsOpenMax: 50,
  /** Jobs of one project that are kept when they have ended, and how long. */
  jobsEndedMax: 500,
  jobEndedMs: 30 * 86_400_000,
  /** How long the file that a job has made can be fetched; one with secrets much shorter. */
  jobResultMs: 86_400_000,
  jobSecretResultMs: 3_600_000,
  /** Bytes of one file of a job, and of all of them together: what exports may take of the disk. */
  jobFileBytesMax: 1024 * 1024 * 1024,
  jobFilesBytesMax: 4 * 1024 * 1024 * 1024,
  /** Those of one project: what is left of all is the others'. */
  jobFilesBytesOfProjectMax: 3 * 1024 * 1024 * 1024,
  /** Bytes of an upload, and the longest it may take to arrive. */
  jobUploadBytesMax: 256 * 1024 * 1024,
  jobUploadMs: 600_000,
  /** Bytes of an upload of devices: what is made of it, with secrets, is several times as long. */
  jobDeviceUploadBytesMax: 32 * 1024 * 1024,
  /** Devices of one slice of an import: one transaction of the registry. */
  jobSliceDevices: 250,
  /** Longest that an upload may bring nothing. */
  jobUploadStallMs: 30_000,
  /** Uploads that arrive at a time, of all projects; one more gets 503. */
  jobUploadsMax: 4,
  /** Those of one project; one more gets 429. */
  jobUploadsOfProjectMax: 2,
  /** Starts of a job without progress, after which it has failed: it may be what ends the process. */
  jobStartsMax: 3,
  /** Longest that a job waits for a part of the node that is down. */
  jobPatienceMs: 600_000,
  /** Points of one slice of an export. */
  jobSlicePoints: 2_000,
  /**
   * Lines and bytes of one slice of an import: one write of the store, which live writers wait for.
   * Its last record may go beyond.
   */
  jobSliceLines: 500,
  jobSliceBytes: 256 * 1024,
  /** Bytes of one line of an upload. */
  jobLineBytesMax: 65_536,
  /** Lines of one row of a table, which go on inside of quotes: as long as a slice cannot end. */
  jobRowLinesMax: 1_000,
  /** Empty lines of an upload that are read at a stretch: as long as a slice cannot end. */
  jobEmptyLinesMax: 100,
  /** How old a point of an import may be, days. */
  importLateDaysMax: 7_305,
  /** Refused lines that an import's result lists; all are counted. */
  jobRefusalsMax: 10_000,
} as const;

assert(
  JOB_LIMITS.jobFilesBytesMax >= 4 * JOB_LIMITS.jobFileBytesMax &&
    JOB_LIMITS.jobFileBytesMax >= JOB_LIMITS.jobUploadBytesMax,
  "jobFilesBytesMax must hold several files, jobFileBytesMax an upload",
);
assert(
  JOB_LIMITS.jobFileBytesMax >= 10 * JOB_LIMITS.jobDeviceUploadBytesMax,
  "jobFileBytesMax must hold the secrets of all devices of an upload",
);
assert(
  JOB_LIMITS.jobSliceBytes >= 2 * JOB_LIMITS.jobLineBytesMax &&
    JOB_LIMITS.jobLineBytesMax <= LIMITS.payloadBytesMax,
  "jobSliceBytes must hold lines, jobLineBytesMax is what a device could send",
);
assert(
  JOB_LIMITS.jobsRunningMax > JOB_LIMITS.jobsRunningOfProjectMax &&
    JOB_LIMITS.jobFilesBytesMax >
      JOB_LIMITS.jobFilesBytesOfProjectMax + JOB_LIMITS.jobUploadBytesMax &&
    JOB_LIMITS.jobUploadsMax > JOB_LIMITS.jobUploadsOfProjectMax,
  "a project alone must leave room for others",
);
