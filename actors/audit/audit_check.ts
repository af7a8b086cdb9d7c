/** Whether a project's audit is what was written: no row changed, taken out, added or moved. */
import type { Clock } from "../../runtime/clock.ts";
import type { Keyring } from "../../runtime/secret/keyring.ts";
import type { RegistryStore } from "../registry/registry_store.ts";
import type { AuditHeadsTable } from "../registry/tables.ts";
import { sealedHead } from "./audit_log.ts";
import { chainHash } from "./audit_row.ts";

export interface AuditCheck {
  readonly project: string;
  readonly isIntact: boolean;
  /** Rows that were looked at and belong to the chain. */
  readonly rows: number;
  /** First that is kept; older ones gave way to the bound. */
  readonly firstSeq: number;
  /** Absent: intact. The first that was found. */
  readonly fault?: AuditFault;
}

export interface AuditFault {
  /** Of the row, or where it should be. */
  readonly seq: number;
  /**
   * `changed`: the row is not what was hashed, or was not written by Roost. `missing`: it was taken
   * out. `cut`: the newest rows were. `forged`: the seal of the chain's head or start is not ours.
   */
  readonly reason: "changed" | "missing" | "cut" | "forged";
}

export interface AuditCheckOptions {
  readonly store: RegistryStore;
  readonly clock: Clock;
  readonly keyring: Pick<Keyring, "isMac">;
}

const PAGE_ROWS = 1_000;

/**
 * Reads in pages, and lets other work run in between. What is appended meanwhile is not looked at; rows
 * that gave way to the bound meanwhile are not missing: it is checked again from where they end now.
 */
export async function checkAudit(
  options: AuditCheckOptions,
  project: string,
): Promise<AuditCheck> {
  for (;;) {
    const head = await headOf(options.store, project);
    if (head === undefined) return await checkEmpty(options.store, project);
    const check = await checkChain(options, head);
    if (check.isIntact) return check;
    const now = await headOf(options.store, project);
    if (now === undefined || now.kept_after <= head.kept_after) return check;
  }
}

function headOf({ db }: RegistryStore, project: string): Promise<AuditHeadsTable | undefined> {
  return db.selectFrom("audit_heads").selectAll().where("project", "=", project)
    .executeTakeFirst();
}

async function checkChain(
  { store, clock, keyring }: AuditCheckOptions,
  head: AuditHeadsTable,
): Promise<AuditCheck> {
  const { project } = head;
  const found = (rows: number, fault?: AuditFault): AuditCheck => {
    const isIntact = fault === undefined;
    const firstSeq = head.kept_after + 1;
    return { project, isIntact, rows, firstSeq, ...(fault && { fault }) };
  };
  const start = sealedHead(project, head.kept_after, head.kept_hash);
  if (!keyring.isMac(head.kept_mac, "audit start", start)) {
    return found(0, { seq: head.kept_after, reason: "forged" });
  }
  if (!keyring.isMac(head.mac, "audit head", sealedHead(project, head.seq, head.hash))) {
    return found(0, { seq: head.seq, reason: "forged" });
  }
  let seq = head.kept_after;
  let hash = head.kept_hash;
  while (seq < head.seq) {
    const rows = await store.db.selectFrom("audit").selectAll()
      .where("project", "=", project).where("seq", ">", seq).where("seq", "<=", head.seq)
      .orderBy("seq").limit(PAGE_ROWS).execute();
    for (const { hash: stored, ...row } of rows) {
      const rowsBefore = seq - head.kept_after;
      if (row.seq !== seq + 1) return found(rowsBefore, { seq: seq + 1, reason: "missing" });
      hash = chainHash(hash, row);
      if (!isSame(hash, stored)) return found(rowsBefore, { seq: row.seq, reason: "changed" });
      seq = row.seq;
    }
    if (rows.length === 0) return found(seq - head.kept_after, { seq: seq + 1, reason: "cut" });
    await new Promise<void>((resolve) => clock.soon(resolve));
  }
  const rows = seq - head.kept_after;
  return isSame(hash, head.hash) ? found(rows) : found(rows, { seq, reason: "forged" });
}

/** Every project that has, or had, an audit. */
export async function checkAudits(options: AuditCheckOptions): Promise<readonly AuditCheck[]> {
  const { db } = options.store;
  const heads = await db.selectFrom("audit_heads").select("project").execute();
  const rows = await db.selectFrom("audit").select("project").distinct().execute();
  const projects = new Set([...heads, ...rows].map(({ project }) => project));
  const checks: AuditCheck[] = [];
  for (const project of [...projects].sort()) checks.push(await checkAudit(options, project));
  return checks;
}

/** Rows without a head: the head was taken out. */
async function checkEmpty(store: RegistryStore, project: string): Promise<AuditCheck> {
  const row = await store.db.selectFrom("audit").select("seq").where("project", "=", project)
    .orderBy("seq").limit(1).executeTakeFirst();
  const empty = { project, rows: 0, firstSeq: 1 };
  if (row === undefined) return { ...empty, isIntact: true };
  return { ...empty, isIntact: false, fault: { seq: row.seq, reason: "forged" } };
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}
