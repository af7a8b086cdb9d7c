/** Long work: what a job is, and what a kind of job has to do. */
import type { Json } from "../../runtime/actor/behaviour.ts";

export type JobStatus = "queued" | "running" | "done" | "failed" | "cancelled";

export type JobKindName = "telemetryExport" | "telemetryImport" | "deviceImport" | "rebuildViews";

/** As people and programs see it. */
export interface Job {
  readonly id: string;
  readonly kind: JobKindName;
  readonly status: JobStatus;
  /** 0 to 1. */
  readonly progress: number;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly startedAt?: number;
  readonly finishedAt?: number;
  /** Id of the user or key. */
  readonly createdBy: string;
  /** What it is at, for people. */
  readonly detail?: string;
  readonly result?: Json;
  readonly problem?: JobProblem;
}

export interface JobProblem {
  /** `urn:roost:problem:{code}`. */
  readonly type: string;
  readonly detail: string;
}

/** A job with what its kind needs. */
export interface StoredJob extends Job {
  readonly project: string;
  readonly input: Json;
  /** From where it goes on; null: from the start. */
  readonly checkpoint: Json;
  /** Starts since it last made progress. */
  readonly starts: number;
}

export interface JobFile {
  /** For `Content-Type` and `Content-Disposition`. */
  readonly mediaType: string;
  readonly name: string;
  /** How long it can be fetched. */
  readonly keptMs: number;
}

export interface JobStep {
  /** 0 to 1, never falling. */
  readonly progress: number;
  /** Everything up to here is done for good: a restart goes on behind it. */
  readonly checkpoint: Json;
  readonly detail?: string;
  /** Present: this was the last step. */
  readonly result?: Json;
  /** With `result`: the file of `JobFiles` that can be fetched. */
  readonly file?: JobFile;
}

export interface JobWork extends AsyncDisposable {
  /** One slice of a few milliseconds. */
  step(): Promise<JobStep>;
}

export interface JobKind {
  readonly kind: JobKindName;
  /** Takes the job up at its checkpoint. */
  open(job: StoredJob): Promise<JobWork>;
}

/** A job that cannot be done: told as its problem, and not tried again. */
export class JobError extends Error {
  override readonly name = "JobError";
  readonly code: string;

  /** @param code Constant, for `urn:roost:problem:{code}`. */
  constructor(code: string, detail: string) {
    super(detail);
    this.code = code;
  }
}

export function problemOf(code: string, detail: string): JobProblem {
  return { type: `urn:roost:problem:${code}`, detail };
}
