/** Jobs as rows of the registry. */
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { JobsTable } from "../registry/tables.ts";
import type { Job, JobKindName, JobProblem, JobStatus, StoredJob } from "./job.ts";

export function jobOf(row: JobsTable): Job {
  return {
    id: row.id,
    kind: row.kind as JobKindName,
    status: row.status as JobStatus,
    progress: row.progress,
    createdAt: row.created_at,
    ...(row.started_at === null ? undefined : { startedAt: row.started_at }),
    ...(row.finished_at === null ? undefined : { finishedAt: row.finished_at }),
    createdBy: row.created_by,
    ...(row.detail === null ? undefined : { detail: row.detail }),
    ...(row.result === null ? undefined : { result: JSON.parse(row.result) as Json }),
    ...(row.problem === null ? undefined : { problem: JSON.parse(row.problem) as JobProblem }),
  };
}

export function storedJobOf(row: JobsTable): StoredJob {
  return {
    ...jobOf(row),
    project: row.project,
    input: JSON.parse(row.input),
    checkpoint: row.checkpoint === null ? null : JSON.parse(row.checkpoint),
    starts: row.starts,
  };
}
