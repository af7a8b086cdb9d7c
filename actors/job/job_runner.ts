/**
 * Runs jobs in small slices on the thread of its caller, a few at a time, projects in turn, and takes
 * up after a restart what was under way. A slice is followed by a pause as long as it took, times the
 * jobs that run: one has half of the thread at most, and several leave the rest its share.
 *
 * A job ends in one of four ways: it is done, it is cancelled, its kind says that it cannot be done
 * (`JobError`), or it makes no progress: a part of the node is down for too long, or it was started
 * `jobStartsMax` times without any.
 */
import type { Clock } from "../../runtime/clock.ts";
import { messageOf } from "../../runtime/errors.ts";
import { JOB_LIMITS } from "../../runtime/job_limits.ts";
import type { Logger } from "../../runtime/logger.ts";
import { JobError, type JobKind, type JobStep, problemOf, type StoredJob } from "./job.ts";
import type { JobFiles } from "./job_files.ts";
import type { Jobs } from "./jobs.ts";

export interface JobRunnerOptions {
  readonly jobs: Jobs;
  readonly files: JobFiles;
  readonly kinds: readonly JobKind[];
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How often progress is stored and told. */
const ADVANCE_MS = 500;
/** How often old jobs and files are looked for. */
const SWEEP_MS = 60_000;
const PAUSE_MS_MIN = 1;
const PAUSE_MS_MAX = 100;
const RETRY_MS_MIN = 200;
const RETRY_MS_MAX = 10_000;

/** Disposing stops between two slices; what is under way goes on at the next start. */
export function startJobRunner(options: JobRunnerOptions): AsyncDisposable {
  const runner = new JobRunner(options);
  runner.wake();
  return { [Symbol.asyncDispose]: () => runner.stop() };
}

class JobRunner {
  readonly #options: JobRunnerOptions;
  readonly #running = new Map<string, { readonly job: StoredJob; readonly end: Promise<void> }>();
  readonly #cancelled = new Set<string>();
  readonly #unlisten: () => void;
  readonly #waits = new Set<() => void>();
  #isStopping = false;
  #taking: Promise<void> | undefined;
  #isAgain = false;
  #sweeping: Promise<void>;

  constructor(options: JobRunnerOptions) {
    this.#options = options;
    this.#unlisten = options.jobs.onChange((job) => {
      if (job.status === "cancelled" && this.#running.has(job.id)) this.#cancelled.add(job.id);
      if (job.status === "queued") this.wake();
    });
    this.#sweeping = this.#sweepForever();
  }

  /** Takes up what waits, if there is room. */
  wake(): void {
    this.#isAgain = true;
    this.#taking ??= this.#takeUp().finally(() => this.#taking = undefined);
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#unlisten();
    for (const end of [...this.#waits]) end();
    await this.#taking;
    await Promise.all([...this.#running.values()].map(({ end }) => end));
    await this.#sweeping;
  }

  async #takeUp(): Promise<void> {
    const { jobs, logger } = this.#options;
    while (this.#isAgain && !this.#isStopping) {
      this.#isAgain = false;
      try {
        while (this.#running.size < JOB_LIMITS.jobsRunningMax && !this.#isStopping) {
          const job = await jobs.next([...this.#running.values()].map(({ job }) => job));
          if (job === undefined) break;
          const end = this.#run(job).finally(() => {
            this.#running.delete(job.id);
            this.#cancelled.delete(job.id);
            this.wake();
          });
          this.#running.set(job.id, { job, end });
        }
      } catch (fault) {
        logger.warn("jobs could not be read", { fault: messageOf(fault) });
        this.#isAgain = true;
        await this.#wait(RETRY_MS_MIN);
      }
    }
  }

  async #run(waiting: StoredJob): Promise<void> {
    const { jobs, files, logger } = this.#options;
    const { id, kind, project } = waiting;
    files.own(id, project);
    try {
      if (waiting.starts >= JOB_LIMITS.jobStartsMax) {
        const detail = `It was interrupted ${waiting.starts} times without progress`;
        await jobs.fail(id, problemOf("interrupted", detail));
      } else {
        const job = await jobs.start(id);
        if (job !== undefined) await this.#work(job);
      }
    } catch (fault) {
      const isExpected = fault instanceof JobError;
      if (!isExpected) logger.error("job failed", { job: id, kind, fault });
      const detail = isExpected ? fault.message : "The job failed; the log says why";
      await jobs.fail(id, problemOf(isExpected ? fault.code : "internal", detail))
        .catch(async (cause) => {
          logger.error("job not ended", { job: id, fault: messageOf(cause) });
          await this.#wait(RETRY_MS_MAX); // It is taken up again: the registry may be full.
        });
    }
    if (this.#isStopping) return;
    await this.#removeFiles([id]).catch((fault) =>
      logger.warn("files of a job were not removed", { job: id, fault: messageOf(fault) })
    );
    logger.debug("job ended", { job: id, kind, bytes: files.bytes });
  }

  async #work(job: StoredJob): Promise<void> {
    const { jobs, clock, kinds } = this.#options;
    const kind = kinds.find((candidate) => candidate.kind === job.kind);
    if (kind === undefined) {
      throw new JobError("interrupted", `This version has no jobs of kind "${job.kind}"`);
    }
    await using work = await this.#patiently(job.id, () => kind.open(job));
    if (work === undefined) return;
    let storedAtMs = -Infinity;
    let detail = job.detail;
    for (;;) {
      const startMs = clock.monotonicMs();
      const step: JobStep | undefined = await this.#patiently(job.id, () => work.step());
      if (step === undefined) return;
      const tookMs = clock.monotonicMs() - startMs;
      detail = step.detail ?? detail;
      if (step.result !== undefined) return await jobs.finish(job.id, { ...step, detail });
      if (clock.monotonicMs() - storedAtMs >= ADVANCE_MS || this.#isStopping) {
        if (!await jobs.advance(job.id, step)) return;
        storedAtMs = clock.monotonicMs();
      }
      if (this.#isStopping) return;
      const pauseMs = tookMs * this.#running.size;
      await this.#wait(Math.min(PAUSE_MS_MAX, Math.max(PAUSE_MS_MIN, pauseMs)));
    }
  }

  /** What `work` gives, tried again while a part is down; undefined: stopped or cancelled. */
  async #patiently<T>(id: string, work: () => Promise<T>): Promise<T | undefined> {
    const { clock, logger } = this.#options;
    const untilMs = clock.monotonicMs() + JOB_LIMITS.jobPatienceMs;
    for (let delayMs = RETRY_MS_MIN;; delayMs = Math.min(RETRY_MS_MAX, delayMs * 2)) {
      if (this.#isStopping || this.#cancelled.has(id)) return undefined;
      try {
        return await work();
      } catch (fault) {
        if (!isPassing(fault)) throw fault;
        if (clock.monotonicMs() >= untilMs) {
          throw new JobError("unavailable", `A part of the node is down: ${messageOf(fault)}`);
        }
        logger.warn("job waits", { job: id, delayMs, fault: messageOf(fault) });
      }
      await this.#wait(delayMs);
    }
  }

  async #sweepForever(): Promise<void> {
    const { jobs, files, logger } = this.#options;
    while (!this.#isStopping) {
      try {
        while (await jobs.sweep());
        await this.#removeFiles(files.ids());
      } catch (fault) {
        logger.warn("old jobs were not removed", { fault: messageOf(fault) });
      }
      await this.#wait(SWEEP_MS);
    }
  }

  /** Removes what nobody needs: uploads of jobs that are over, results that cannot be fetched. */
  async #removeFiles(ids: readonly string[]): Promise<void> {
    const { jobs, files, clock } = this.#options;
    const needs = await jobs.needs(ids);
    for (const id of ids) {
      const need = needs.get(id);
      if (need !== undefined) files.own(id, need.project);
      if (need?.use === "open") continue;
      // Its job is made when all of it has arrived.
      const isArriving = need === undefined &&
        clock.nowMs() - madeAtMs(id) < 2 * JOB_LIMITS.jobUploadMs;
      if (isArriving) continue;
      await files.remove(id, "in");
      if (need?.use !== "fetchable") await files.remove(id, "out");
    }
  }

  /** Ends early when the runner stops. */
  #wait(delayMs: number): Promise<void> {
    if (this.#isStopping) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        cancel();
        this.#waits.delete(end);
        resolve();
      };
      const cancel = this.#options.clock.after(delayMs, end);
      this.#waits.add(end);
    });
  }
}

/** A part of the node is down or full: it will be there again. */
function isPassing(fault: unknown): boolean {
  const isKnown = typeof fault === "object" && fault !== null && "retryable" in fault;
  return isKnown && fault.retryable === true;
}

/** As `Jobs.createId` writes it; what is no id is old. */
function madeAtMs(id: string): number {
  const madeMs = Number.parseInt(id.split("-")[0]!, 36);
  return Number.isFinite(madeMs) ? madeMs : 0;
}
