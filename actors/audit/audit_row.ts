/**
 * A row of the audit, and the chain that it is part of. Each project has a chain of its own, so that
 * its people can check what they are shown: `hash` is SHA-256 over the previous row's hash (32 zero
 * bytes before the first) and the JSON text of the row's fields in the order of `hashed`.
 */
import { createHash } from "node:crypto";
import type { AuditTable } from "../registry/tables.ts";

/** Who did it. `name` is what the person or key was called then. */
export interface AuditActor {
  readonly type: "user" | "key";
  /** Empty: nobody is known, as in a log-in that failed. */
  readonly id: string;
  readonly name: string;
}

export interface AuditEntry {
  readonly project: string;
  readonly actor: AuditActor;
  /** Constant: `devices.create`, `session.login`. */
  readonly action: string;
  /** What it was done to: `devices/pump/p-1`. */
  readonly object: string;
  /** What was asked for, without secrets; bounded. */
  readonly detail: unknown;
  /** Network of the caller. */
  readonly remote: string;
}

export interface AuditRow extends AuditEntry {
  /** From 1, rising by one within its project. */
  readonly seq: number;
  /** Epoch milliseconds; never falls within its project. */
  readonly at: number;
  /** `ok`, or the code of the problem that refused it. */
  readonly outcome: string;
  /** 32 bytes. */
  readonly hash: Uint8Array;
}

export const FIRST_HASH = new Uint8Array(32);

export function chainHash(previous: Uint8Array, row: Omit<AuditTable, "hash">): Uint8Array {
  return createHash("sha256").update(previous).update(JSON.stringify(hashed(row))).digest();
}

function hashed(row: Omit<AuditTable, "hash">): readonly (string | number)[] {
  return [
    row.project,
    row.seq,
    row.at,
    row.actor_type,
    row.actor_id,
    row.actor_name,
    row.action,
    row.object,
    row.detail,
    row.remote,
    row.outcome,
  ];
}

export function auditRowOf(row: AuditTable): AuditRow {
  return {
    project: row.project,
    seq: row.seq,
    at: row.at,
    actor: {
      type: row.actor_type as AuditActor["type"],
      id: row.actor_id,
      name: row.actor_name,
    },
    action: row.action,
    object: row.object,
    detail: JSON.parse(row.detail),
    remote: row.remote,
    outcome: row.outcome,
    hash: row.hash,
  };
}
