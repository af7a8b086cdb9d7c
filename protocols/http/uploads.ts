/**
 * Bodies that are kept in a file as they come: bounded in bytes, in time, and in how many come at a
 * time. One that ends early leaves nothing.
 */
import { JobError } from "../../actors/job/job.ts";
import type { JobFiles } from "../../actors/job/job_files.ts";
import type { TableFormat } from "../../actors/job/upload_records.ts";
import type { Clock } from "../../runtime/clock.ts";
import { InvalidError, OverloadedError } from "../../runtime/errors.ts";
import { JOB_LIMITS } from "../../runtime/job_limits.ts";
import { ProblemError } from "./problem.ts";

export const TABLE_TYPES: Readonly<Record<string, TableFormat>> = {
  "text/csv": "csv",
  "application/x-ndjson": "ndjson",
};
const RETRY_MS = 5_000;

/** @throws {ProblemError} 415. */
export function tableFormatOf(request: Request): TableFormat {
  const type = (request.headers.get("content-type") ?? "").toLowerCase();
  const found = /^([a-z/-]+)\s*(?:;\s*charset="?utf-8"?\s*)?$/.exec(type)?.[1] ?? "";
  const isPlain = (request.headers.get("content-encoding") ?? "identity") === "identity";
  if (isPlain && Object.hasOwn(TABLE_TYPES, found)) return TABLE_TYPES[found]!;
  const detail =
    `Cannot read "${type.slice(0, 80)}": send ${Object.keys(TABLE_TYPES).join(" or ")}` +
    ", in UTF-8 and not encoded otherwise";
  throw new ProblemError("media-type", detail);
}

export class Uploads {
  readonly #files: Pick<JobFiles, "write" | "remove" | "own" | "bytesOf">;
  readonly #clock: Clock;
  /** Those that come, by project. */
  readonly #open = new Map<string, number>();

  constructor(files: Pick<JobFiles, "write" | "remove" | "own" | "bytesOf">, clock: Clock) {
    this.#files = files;
    this.#clock = clock;
  }

  /**
   * The body is in the file `in` of the job, durable, when it resolves.
   * @param bytesMax At most `jobUploadBytesMax`.
   * @throws {ProblemError} 408, 413; 429: too many of the project come, or it has no room left.
   * @throws {InvalidError} It ended early, or is empty.
   * @throws {OverloadedError} Too many come, or there is no room for it.
   */
  async receive(
    request: Request,
    { id, project }: { readonly id: string; readonly project: string },
    bytesMax: number,
  ): Promise<void> {
    const announced = Number(request.headers.get("content-length") ?? 0);
    if (!(announced <= bytesMax)) throw tooLarge(announced, bytesMax);
    this.#assertRoom(project);
    this.#open.set(project, (this.#open.get(project) ?? 0) + 1);
    this.#files.own(id, project);
    try {
      await this.#receive(request, id, bytesMax);
    } catch (fault) {
      await this.#files.remove(id, "in");
      if (!(fault instanceof JobError)) throw fault;
      if (fault.code === "too-large") throw new ProblemError("too-large", fault.message);
      throw new OverloadedError(fault.message, RETRY_MS);
    } finally {
      const left = this.#open.get(project)! - 1;
      if (left === 0) this.#open.delete(project);
      else this.#open.set(project, left);
    }
  }

  #assertRoom(project: string): void {
    const { jobUploadsMax, jobUploadsOfProjectMax, jobFilesBytesOfProjectMax } = JOB_LIMITS;
    const own = this.#open.get(project) ?? 0;
    if (own >= jobUploadsOfProjectMax) {
      const detail = `Cannot take more uploads of the project: ${own} come, ` +
        `jobUploadsOfProjectMax is ${jobUploadsOfProjectMax}`;
      throw new ProblemError("rate-limited", detail, { retryAfterMs: RETRY_MS });
    }
    const bytes = this.#files.bytesOf(project);
    if (bytes >= jobFilesBytesOfProjectMax) {
      const detail = `Cannot take the upload: files of the project's jobs have ${bytes} B, ` +
        `jobFilesBytesOfProjectMax is ${jobFilesBytesOfProjectMax}`;
      const hint = "Delete jobs whose results nobody needs: DELETE /api/v1/jobs/{id}";
      throw new ProblemError("rate-limited", detail, { retryAfterMs: RETRY_MS, hint });
    }
    const all = [...this.#open.values()].reduce((sum, count) => sum + count, 0);
    if (all < jobUploadsMax) return;
    const message = `Cannot take more uploads: ${all} come, jobUploadsMax is ${jobUploadsMax}`;
    throw new OverloadedError(message, RETRY_MS);
  }

  async #receive(request: Request, jobId: string, bytesMax: number): Promise<void> {
    const reader = request.body?.getReader();
    if (reader === undefined) throw new InvalidError("Cannot import an empty body");
    let isLate = false;
    const giveUp = () => {
      isLate = true;
      reader.cancel().catch(() => {}); // It is refused either way: below, as late.
    };
    const cancelEnd = this.#clock.after(JOB_LIMITS.jobUploadMs, giveUp);
    let cancelStall = () => {};
    try {
      await using writer = await this.#files.write(jobId, "in");
      for (;;) {
        cancelStall();
        cancelStall = this.#clock.after(JOB_LIMITS.jobUploadStallMs, giveUp);
        const { done, value } = await reader.read().catch(() => {
          throw new InvalidError("Cannot read the body: it ended early");
        });
        if (isLate) {
          throw new ProblemError("body-timeout", "Cannot read the body: it did not arrive in time");
        }
        if (done) break;
        if (writer.offset + value.length > bytesMax) {
          throw tooLarge(writer.offset + value.length, bytesMax);
        }
        await writer.write(value);
      }
      if (writer.offset === 0) throw new InvalidError("Cannot import an empty body");
      await writer.sync();
    } catch (fault) {
      reader.cancel().catch(() => {}); // What is left of it is not wanted.
      throw fault;
    } finally {
      cancelEnd();
      cancelStall();
    }
  }
}

function tooLarge(bytes: number, bytesMax: number): ProblemError {
  return new ProblemError("too-large", `Cannot take ${bytes} B: the bound is ${bytesMax}`);
}
