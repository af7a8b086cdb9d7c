/**
 * First answers of requests that came with an `Idempotency-Key`, kept for a day, so that the same
 * request has the same answer and does nothing twice.
 *
 * The caller's duties, in order:
 * 1. One request of a key at a time.
 * 2. `find`, then `fullForMs`: a key is refused before its request does anything.
 * 3. `keep` in the transaction of the effect where the registry holds it: both are durable, or neither.
 *
 * An answer that shows a secret is kept without it, and whole only sealed with the caller's own
 * credential: the registry has a hash of that, so nothing that is stored opens it.
 */
import { Buffer } from "node:buffer";
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Random } from "../../runtime/random.ts";
import type { Kysely } from "../../runtime/store/relational_store.ts";
import type { RegistryStore } from "./registry_store.ts";
import { openSealed, seal } from "./sealed.ts";
import type { AnswersTable, RegistryTables } from "./tables.ts";

/** Whose request, and which. */
export interface KeyedRequest {
  readonly project: string;
  /** `key:{id}` or `user:{id}`. */
  readonly caller: string;
  /** The `Idempotency-Key`. */
  readonly key: string;
  /** SHA-256 of all that makes the request what it is. */
  readonly print: Uint8Array;
  /** What the caller proved itself with; opens the secret of its own answer. */
  readonly credential: string;
}

export interface KeptAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** The body without its secret, where it has one. */
  readonly bodyWithoutSecret?: string;
}

export type FoundAnswer =
  | { readonly type: "none" }
  /** The key stands for another request. */
  | { readonly type: "other" }
  | { readonly type: "same"; readonly answer: KeptAnswer };

export interface KeptAnswersOptions {
  readonly store: RegistryStore;
  readonly clock: Clock;
  readonly random: Random;
  /** Of one project; default: `answersKeptMax`, `answersKeptBytesMax`. */
  readonly bounds?: AnswerBounds;
}

export interface AnswerBounds {
  readonly entriesMax: number;
  readonly bytesMax: number;
}

const BOUNDS: AnswerBounds = {
  entriesMax: LIMITS.answersKeptMax,
  bytesMax: LIMITS.answersKeptBytesMax,
};
/** What a row takes besides its bodies: key, caller, hash, headers, index. */
const ROW_BYTES = 512;
/** Rows of one step of the sweep: a few milliseconds, since it holds up other work. */
const SWEEP_ROWS = 200;

export class KeptAnswers {
  readonly #store: RegistryStore;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #bounds: AnswerBounds;

  constructor({ store, clock, random, bounds = BOUNDS }: KeptAnswersOptions) {
    this.#bounds = bounds;
    this.#store = store;
    this.#clock = clock;
    this.#random = random;
  }

  async find(request: KeyedRequest): Promise<FoundAnswer> {
    const row = await this.#store.db.selectFrom("answers").selectAll()
      .where("project", "=", request.project).where("caller", "=", request.caller)
      .where("key", "=", request.key).where("expires_at", ">", this.#clock.nowMs())
      .executeTakeFirst();
    if (row === undefined) return { type: "none" };
    if (!Buffer.from(row.print).equals(request.print)) return { type: "other" };
    const whole = row.sealed === null
      ? undefined
      : openSealed(row.sealed, request.credential, boundTo(request));
    const answer = {
      status: row.status,
      headers: JSON.parse(row.headers),
      body: whole ?? row.body,
    };
    return { type: "same", answer };
  }

  /**
   * Milliseconds until a project has room for another key again; 0: it has.
   * @param underWay Requests that may come to an answer to be kept, this one with them.
   */
  async fullForMs(project: string, underWay: number): Promise<number> {
    const total = await this.#store.db.selectFrom("answer_totals").selectAll()
      .where("project", "=", project).executeTakeFirst();
    const { entries = 0, bytes = 0 } = total ?? {};
    const isFull = entries + underWay > this.#bounds.entriesMax || bytes >= this.#bounds.bytesMax;
    if (!isFull) return 0;
    const oldest = await this.#store.db.selectFrom("answers").select("expires_at")
      .where("project", "=", project).orderBy("expires_at").limit(1).executeTakeFirst();
    return Math.max(1, (oldest?.expires_at ?? 0) - this.#clock.nowMs());
  }

  /** @param db The transaction of the effect, or none: a transaction of its own. */
  async keep(
    request: KeyedRequest,
    answer: KeptAnswer,
    db?: Kysely<RegistryTables>,
  ): Promise<void> {
    const row = this.#rowOf(request, answer);
    if (db !== undefined) return await insert(db, row, this.#clock.nowMs());
    await this.#store.db.transaction().execute((own) => insert(own, row, this.#clock.nowMs()));
  }

  /** One step: removes some that have expired. True if there may be more. */
  async sweep(): Promise<boolean> {
    const nowMs = this.#clock.nowMs();
    return await this.#store.db.transaction().execute(async (transaction) => {
      const rows = await transaction.selectFrom("answers")
        .select(["project", "caller", "key", "bytes"]).where("expires_at", "<=", nowMs)
        .orderBy("expires_at").limit(SWEEP_ROWS).execute();
      for (const row of rows) await remove(transaction, row);
      return rows.length === SWEEP_ROWS;
    });
  }

  #rowOf(request: KeyedRequest, answer: KeptAnswer): AnswersTable {
    const { project, caller, key, print, credential } = request;
    const { status, headers, body, bodyWithoutSecret } = answer;
    const shown = bodyWithoutSecret ?? body;
    const sealed = bodyWithoutSecret === undefined
      ? null
      : seal(body, credential, boundTo(request), this.#random);
    return {
      project,
      caller,
      key,
      print,
      status,
      headers: JSON.stringify(headers),
      body: shown,
      sealed,
      bytes: ROW_BYTES + Buffer.byteLength(shown, "utf8") + (sealed?.length ?? 0),
      expires_at: this.#clock.nowMs() + LIMITS.answersKeptMs,
    };
  }
}

/** What a sealed body is bound to: in another row it does not open. */
function boundTo({ project, caller, key, print }: KeyedRequest): string {
  return JSON.stringify([project, caller, key, Buffer.from(print).toString("hex")]);
}

async function insert(
  db: Kysely<RegistryTables>,
  row: AnswersTable,
  nowMs: number,
): Promise<void> {
  const { project, caller, key, bytes } = row;
  const expired = await db.selectFrom("answers").select(["project", "caller", "key", "bytes"])
    .where("project", "=", project).where("caller", "=", caller).where("key", "=", key)
    .where("expires_at", "<=", nowMs).executeTakeFirst();
  if (expired !== undefined) await remove(db, expired);
  await db.insertInto("answers").values(row).execute();
  await add(db, project, 1, bytes);
}

async function remove(
  db: Kysely<RegistryTables>,
  { project, caller, key, bytes }: Pick<AnswersTable, "project" | "caller" | "key" | "bytes">,
): Promise<void> {
  await db.deleteFrom("answers").where("project", "=", project).where("caller", "=", caller)
    .where("key", "=", key).execute();
  await add(db, project, -1, -bytes);
}

async function add(
  db: Kysely<RegistryTables>,
  project: string,
  entries: number,
  bytes: number,
): Promise<void> {
  const total = await db.selectFrom("answer_totals").selectAll().where("project", "=", project)
    .executeTakeFirst();
  if (total === undefined) {
    await db.insertInto("answer_totals").values({ project, entries, bytes }).execute();
    return;
  }
  await db.updateTable("answer_totals")
    .set({ entries: total.entries + entries, bytes: total.bytes + bytes })
    .where("project", "=", project).execute();
}
