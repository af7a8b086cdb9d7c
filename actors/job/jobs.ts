/** Jobs in the registry: made, listed, cancelled, and what becomes of them. */
import { Buffer } from "node:buffer";
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Clock } from "../../runtime/clock.ts";
import { JOB_LIMITS } from "../../runtime/job_limits.ts";
import type { Random } from "../../runtime/random.ts";
import { sql, type Transaction } from "../../runtime/store/relational_store.ts";
import { BAD_CURSOR } from "../registry/conditions.ts";
import { decodeCursor, encodeCursor } from "../registry/cursor.ts";
import { accepted, invalid, type Outcome, type Page, refused } from "../registry/outcome.ts";
import type { Alongside, RegistryStore } from "../registry/registry_store.ts";
import type { JobsTable, RegistryTables } from "../registry/tables.ts";
import type { Job, JobFile, JobKindName, JobProblem, JobStatus, StoredJob } from "./job.ts";
import { jobOf, storedJobOf } from "./job_row.ts";

export interface NewJob {
  readonly project: string;
  readonly kind: JobKindName;
  readonly input: Json;
  readonly createdBy: string;
  /** Made before, for its upload. */
  readonly id?: string;
}

export interface JobQuery {
  readonly status?: JobStatus;
  readonly kind?: JobKindName;
  /** 1 to 500. */
  readonly limit: number;
  readonly cursor?: string;
}

export interface JobsOptions {
  readonly store: RegistryStore;
  readonly clock: Clock;
  readonly random: Random;
}

/** The file of a job that can be fetched. */
export interface FetchableFile {
  readonly mediaType: string;
  readonly name: string;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
}

export interface FilesNeed {
  readonly project: string;
  readonly use: "open" | "fetchable" | "over";
}

export type RunningJob = Pick<StoredJob, "id" | "project">;

type Ended = Exclude<JobStatus, "queued" | "running">;

const ID_BYTES = 9;
const OPEN: readonly JobStatus[] = ["queued", "running"];
/** Rows of one step of the sweep. */
const SWEEP_ROWS = 100;
/** Projects whose last turn is remembered. */
const TURNS_MAX = 10_000;

export class Jobs {
  readonly #options: JobsOptions;
  readonly #listeners = new Set<(job: Job, project: string) => void>();
  /** When a project had its last turn, by number; the oldest first. */
  readonly #turns = new Map<string, number>();
  #lastTurn = 0;
  #lastIdMs = 0;
  #idsOfMs = 0;

  constructor(options: JobsOptions) {
    this.#options = options;
  }

  /**
   * Ids rise with time, so that files say how old they are; those of one millisecond by a number, so
   * that jobs keep their order.
   */
  createId(): string {
    const { clock, random } = this.#options;
    const nowMs = Math.floor(clock.nowMs());
    this.#idsOfMs = nowMs === this.#lastIdMs ? this.#idsOfMs + 1 : 0;
    this.#lastIdMs = nowMs;
    const time = nowMs.toString(36).padStart(9, "0");
    const number = this.#idsOfMs.toString(36).padStart(3, "0");
    return `${time}-${number}${Buffer.from(random.bytes(ID_BYTES)).toString("hex")}`;
  }

  /** Refuses with `in_use` at `jobsOpenMax`. */
  async create(input: NewJob, alongside?: Alongside<Job>): Promise<Outcome<Job>> {
    const row: JobsTable = {
      id: input.id ?? this.createId(),
      project: input.project,
      kind: input.kind,
      status: "queued",
      progress: 0,
      input: JSON.stringify(input.input),
      checkpoint: null,
      starts: 0,
      detail: null,
      result: null,
      problem: null,
      created_by: input.createdBy,
      created_at: this.#options.clock.nowMs(),
      started_at: null,
      finished_at: null,
      file_type: null,
      file_name: null,
      file_expires_at: null,
    };
    const outcome = await this.#db.transaction().execute(async (transaction) => {
      const { count } = await transaction.selectFrom("jobs")
        .select((select) => select.fn.countAll<number>().as("count"))
        .where("project", "=", row.project).where("status", "in", OPEN).executeTakeFirstOrThrow();
      if (Number(count) >= JOB_LIMITS.jobsOpenMax) {
        const message = `Cannot start a job: ${count} are open, jobsOpenMax is ` +
          `${JOB_LIMITS.jobsOpenMax}`;
        return refused("in_use", message);
      }
      await transaction.insertInto("jobs").values(row).execute();
      await alongside?.(transaction, jobOf(row));
      return accepted(jobOf(row));
    });
    if (outcome.ok) this.#tell(row);
    return outcome;
  }

  async get(project: string, id: string): Promise<Job | undefined> {
    const row = await this.#row(id);
    return row?.project === project ? jobOf(row) : undefined;
  }

  /** Newest first. Refuses a cursor that is none. */
  async list(project: string, query: JobQuery): Promise<Outcome<Page<Job>>> {
    const after = query.cursor === undefined ? undefined : decodeCursor(query.cursor, 2);
    const at = Number(after?.[0]);
    if (query.cursor !== undefined && !Number.isSafeInteger(at)) return invalid([BAD_CURSOR]);
    let select = this.#filtered(project, query).selectAll();
    if (after !== undefined) {
      select = select.where(sql<boolean>`(created_at, id) < (${at}, ${after[1]!})`);
    }
    const rows = await select.orderBy("created_at", "desc").orderBy("id", "desc")
      .limit(query.limit + 1).execute();
    const page = rows.slice(0, query.limit);
    const last = rows.length > query.limit ? page.at(-1) : undefined;
    return accepted({
      items: page.map(jobOf),
      nextCursor: last === undefined ? null : encodeCursor([String(last.created_at), last.id]),
    });
  }

  /** How many pass; a project has at most `jobsOpenMax` and `jobsEndedMax`. */
  async count(project: string, filter: Pick<JobQuery, "status" | "kind">): Promise<number> {
    const { count } = await this.#filtered(project, filter)
      .select((select) => select.fn.countAll<number>().as("count")).executeTakeFirstOrThrow();
    return Number(count);
  }

  /** Of a job that is done; undefined: it has none, or not any more. */
  async fileOf(project: string, id: string): Promise<FetchableFile | undefined> {
    const row = await this.#row(id);
    const nowMs = this.#options.clock.nowMs();
    if (row?.project !== project || row.file_expires_at === null) return undefined;
    if (row.file_type === null || row.file_name === null) return undefined;
    if (row.file_expires_at <= nowMs) return undefined;
    return { mediaType: row.file_type, name: row.file_name, expiresAt: row.file_expires_at };
  }

  /**
   * Cancels a job that is not over; of one that is, forgets the file. True if there is such a job.
   * The runner follows by `onChange`.
   */
  async cancel(project: string, id: string): Promise<boolean> {
    const changed = await this.#change(id, (row) => {
      if (row.project !== project) return undefined;
      if (!OPEN.includes(row.status as JobStatus)) {
        return { file_type: null, file_name: null, file_expires_at: null };
      }
      return { status: "cancelled", finished_at: this.#options.clock.nowMs() };
    });
    return changed !== undefined;
  }

  /**
   * Whose turn it is, of those that wait or were under way when the process ended; undefined: nobody's,
   * beside those that run. Projects take turns, so that none keeps the rest waiting: the one of which
   * the fewest run, then the one that has waited longest for a turn. Of a project the oldest.
   */
  async next(running: readonly RunningJob[]): Promise<StoredJob | undefined> {
    let open = this.#db.selectFrom("jobs").where("status", "in", OPEN);
    if (running.length > 0) open = open.where("id", "not in", running.map(({ id }) => id));
    const waiting = await open.select(["project", (select) => select.fn.min("created_at").as("at")])
      .groupBy("project").execute();
    const candidates = waiting.map(({ project, at }) => ({
      project,
      rank: [
        running.filter((job) => job.project === project).length,
        this.#turns.get(project) ?? 0,
        at,
      ],
    })).filter(({ rank: [runs] }) => runs! < JOB_LIMITS.jobsRunningOfProjectMax);
    const first = candidates.sort((one, other) => compareRanks(one.rank, other.rank))[0];
    if (first === undefined) return undefined;
    const { project } = first;
    this.#turns.delete(project);
    this.#turns.set(project, ++this.#lastTurn);
    if (this.#turns.size > TURNS_MAX) this.#turns.delete(this.#turns.keys().next().value!);
    const row = await open.selectAll().where("project", "=", project)
      .orderBy("created_at").orderBy("id").limit(1).executeTakeFirst();
    return row === undefined ? undefined : storedJobOf(row);
  }

  /** Undefined: it was cancelled meanwhile. */
  async start(id: string): Promise<StoredJob | undefined> {
    const row = await this.#changeOpen(id, (before) => ({
      status: "running",
      starts: before.starts + 1,
      started_at: before.started_at ?? this.#options.clock.nowMs(),
    }));
    return row === undefined ? undefined : storedJobOf(row);
  }

  /** False: it was cancelled meanwhile. */
  async advance(
    id: string,
    step: { readonly progress: number; readonly checkpoint: Json; readonly detail?: string },
  ): Promise<boolean> {
    const row = await this.#changeOpen(id, (before) => ({
      progress: Math.max(before.progress, Math.min(1, step.progress)),
      checkpoint: JSON.stringify(step.checkpoint),
      detail: step.detail ?? before.detail,
      starts: 0,
    }));
    return row !== undefined;
  }

  /** The same inside a transaction of the job's own effect; tells nobody. */
  async advanceIn(
    transaction: Transaction<RegistryTables>,
    id: string,
    checkpoint: Json,
  ): Promise<void> {
    await transaction.updateTable("jobs").set({ checkpoint: JSON.stringify(checkpoint), starts: 0 })
      .where("id", "=", id).execute();
  }

  /** What it was at last is told for good: of quick steps not each one was stored. */
  async finish(
    id: string,
    { result = null, file, detail }: {
      readonly result?: Json;
      readonly file?: JobFile;
      readonly detail: string | undefined;
    },
  ): Promise<void> {
    const nowMs = this.#options.clock.nowMs();
    const shown = file === undefined
      ? result
      : { ...result as object, expiresAt: nowMs + file.keptMs };
    await this.#end(id, "done", {
      progress: 1,
      result: JSON.stringify(shown),
      ...(detail === undefined ? undefined : { detail }),
      ...(file === undefined ? undefined : {
        file_type: file.mediaType,
        file_name: file.name,
        file_expires_at: nowMs + file.keptMs,
      }),
    });
  }

  async fail(id: string, problem: JobProblem): Promise<void> {
    await this.#end(id, "failed", { problem: JSON.stringify(problem) });
  }

  /** Called after each change, with the job as it is now. */
  onChange(listener: (job: Job, project: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** What files of these jobs are for; an id without a job is absent. */
  async needs(ids: readonly string[]): Promise<ReadonlyMap<string, FilesNeed>> {
    const nowMs = this.#options.clock.nowMs();
    const needs = new Map<string, FilesNeed>();
    for (let at = 0; at < ids.length; at += SWEEP_ROWS) {
      const rows = await this.#db.selectFrom("jobs")
        .select(["id", "project", "status", "file_expires_at"])
        .where("id", "in", ids.slice(at, at + SWEEP_ROWS)).execute();
      for (const { id, project, status, file_expires_at: expiresAtMs } of rows) {
        const isOpen = OPEN.includes(status as JobStatus);
        const use = isOpen ? "open" : (expiresAtMs ?? 0) > nowMs ? "fetchable" : "over";
        needs.set(id, { project, use });
      }
    }
    return needs;
  }

  /** Forgets some of those that ended long ago or are too many. True if there may be more. */
  async sweep(): Promise<boolean> {
    const beforeMs = this.#options.clock.nowMs() - JOB_LIMITS.jobEndedMs;
    const ended = this.#db.selectFrom("jobs").select("id").where("status", "not in", OPEN);
    const old = await ended.where("finished_at", "<", beforeMs).limit(SWEEP_ROWS).execute();
    const projects = await this.#db.selectFrom("jobs").select("project")
      .where("status", "not in", OPEN).groupBy("project")
      .having((having) => having.fn.countAll(), ">", JOB_LIMITS.jobsEndedMax).limit(10).execute();
    const ids = old.map(({ id }) => id);
    for (const { project } of projects) {
      const over = await ended.where("project", "=", project)
        .orderBy("created_at", "desc").orderBy("id", "desc")
        .offset(JOB_LIMITS.jobsEndedMax).limit(SWEEP_ROWS).execute();
      ids.push(...over.map(({ id }) => id));
    }
    if (ids.length === 0) return false;
    await this.#db.deleteFrom("jobs").where("id", "in", ids).execute();
    return true;
  }

  #filtered(project: string, { status, kind }: Pick<JobQuery, "status" | "kind">) {
    let select = this.#db.selectFrom("jobs").where("project", "=", project);
    if (status !== undefined) select = select.where("status", "=", status);
    return kind === undefined ? select : select.where("kind", "=", kind);
  }

  get #db() {
    return this.#options.store.db;
  }

  #row(id: string): Promise<JobsTable | undefined> {
    return this.#db.selectFrom("jobs").selectAll().where("id", "=", id).executeTakeFirst();
  }

  async #end(id: string, status: Ended, set: Partial<JobsTable>): Promise<void> {
    await this.#changeOpen(id, () => {
      return { ...set, status, finished_at: this.#options.clock.nowMs() };
    });
  }

  #changeOpen(
    id: string,
    decide: (row: JobsTable) => Partial<JobsTable>,
  ): Promise<JobsTable | undefined> {
    return this.#change(
      id,
      (row) => OPEN.includes(row.status as JobStatus) ? decide(row) : undefined,
    );
  }

  /** Undefined: there is no such job, or `decide` leaves it as it is. */
  async #change(
    id: string,
    decide: (row: JobsTable) => Partial<JobsTable> | undefined,
  ): Promise<JobsTable | undefined> {
    const changed = await this.#db.transaction().execute(async (transaction) => {
      const row = await transaction.selectFrom("jobs").selectAll()
        .where("id", "=", id).executeTakeFirst();
      const set = row === undefined ? undefined : decide(row);
      if (row === undefined || set === undefined) return undefined;
      await transaction.updateTable("jobs").set(set).where("id", "=", id).execute();
      return { ...row, ...set };
    });
    if (changed !== undefined) this.#tell(changed);
    return changed;
  }

  #tell(row: JobsTable): void {
    const job = jobOf(row);
    for (const listener of this.#listeners) listener(job, row.project);
  }
}

function compareRanks(one: readonly number[], other: readonly number[]): number {
  const differs = one.findIndex((value, index) => value !== other[index]);
  return differs === -1 ? 0 : one[differs]! - other[differs]!;
}
