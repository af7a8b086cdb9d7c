/** The audit as a project's owners read it: newest first. */
import { LIMITS } from "../../runtime/limits.ts";
import { BAD_CURSOR } from "../registry/conditions.ts";
import { decodeCursor, encodeCursor } from "../registry/cursor.ts";
import { accepted, invalid, type Outcome, type Page } from "../registry/outcome.ts";
import type { RegistryStore } from "../registry/registry_store.ts";
import { type AuditRow, auditRowOf } from "./audit_row.ts";

export interface AuditFilter {
  /** Id or name, as it was then. */
  readonly actor?: string;
  readonly action?: string;
  /** This object, or one under it: `devices/pump` finds `devices/pump/p-1`. */
  readonly object?: string;
  readonly outcome?: string;
  /** Inclusive and exclusive, epoch milliseconds. */
  readonly fromMs?: number;
  readonly toMs?: number;
}

export interface AuditQuery extends AuditFilter {
  /** 1 to 500. */
  readonly limit: number;
  readonly cursor?: string;
}

export class AuditReader {
  readonly #store: RegistryStore;

  constructor(store: RegistryStore) {
    this.#store = store;
  }

  /** Refuses a cursor that is none. */
  async list(project: string, query: AuditQuery): Promise<Outcome<Page<AuditRow>>> {
    const before = query.cursor === undefined ? undefined : seqOf(query.cursor);
    if (before === undefined && query.cursor !== undefined) return invalid([BAD_CURSOR]);
    let select = this.#filtered(project, query).selectAll().orderBy("seq", "desc")
      .limit(query.limit + 1);
    if (before !== undefined) select = select.where("seq", "<", before);
    const rows = await select.execute();
    const items = rows.slice(0, query.limit).map(auditRowOf);
    const nextCursor = rows.length > query.limit
      ? encodeCursor(["audit", String(items.at(-1)!.seq)])
      : null;
    return accepted({ items, nextCursor });
  }

  /** How many pass; null: more than `countRowsMax`. */
  async count(project: string, filter: AuditFilter): Promise<number | null> {
    const counted = this.#filtered(project, filter).select("seq").limit(LIMITS.countRowsMax + 1);
    const { count } = await this.#store.db.selectFrom(counted.as("counted"))
      .select((select) => select.fn.countAll<number>().as("count")).executeTakeFirstOrThrow();
    return Number(count) > LIMITS.countRowsMax ? null : Number(count);
  }

  #filtered(project: string, filter: AuditFilter) {
    const { actor, action, object, outcome, fromMs, toMs } = filter;
    let select = this.#store.db.selectFrom("audit").where("project", "=", project);
    if (actor !== undefined) {
      select = select.where((where) =>
        where.or([where("actor_id", "=", actor), where("actor_name", "=", actor)])
      );
    }
    if (action !== undefined) select = select.where("action", "=", action);
    if (object !== undefined) {
      // "0" follows "/": what is under the object stands between the two.
      select = select.where((where) =>
        where.or([
          where("object", "=", object),
          where.and([where("object", ">=", `${object}/`), where("object", "<", `${object}0`)]),
        ])
      );
    }
    if (outcome !== undefined) select = select.where("outcome", "=", outcome);
    if (fromMs !== undefined) select = select.where("at", ">=", fromMs);
    if (toMs !== undefined) select = select.where("at", "<", toMs);
    return select;
  }
}

function seqOf(cursor: string): number | undefined {
  const [kind, text] = decodeCursor(cursor, 2) ?? [];
  const seq = Number(text);
  return kind === "audit" && Number.isSafeInteger(seq) && seq > 0 ? seq : undefined;
}
