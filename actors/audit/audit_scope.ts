/**
 * What is being done right now, by whom, for the audit. A scope follows the asynchronous flow of one
 * request, so that the row can be written in the transaction of the change itself, wherever in the
 * domain that is, and no route or method can forget it.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { AuditEntry } from "./audit_row.ts";

export class AuditScope {
  entry: AuditEntry;
  /** Its row is durable. */
  isWritten = false;
  /** The request is over: what it left running in the background is not its doing any more. */
  isClosed = false;

  constructor(entry: AuditEntry) {
    this.entry = entry;
  }
}

const SCOPES = new AsyncLocalStorage<AuditScope>();

/** The scope of the request that is being handled; undefined outside of any. */
export function currentScope(): AuditScope | undefined {
  const scope = SCOPES.getStore();
  return scope?.isClosed ? undefined : scope;
}

export async function withinScope<T>(scope: AuditScope, work: () => Promise<T>): Promise<T> {
  try {
    return await SCOPES.run(scope, work);
  } finally {
    scope.isClosed = true;
  }
}

/** Says more of what is being done than its request could: the id of what is made, who logs in. */
export function noteAudit(more: Partial<Pick<AuditEntry, "project" | "actor" | "object">>): void {
  const scope = currentScope();
  if (scope !== undefined && !scope.isWritten) scope.entry = { ...scope.entry, ...more };
}
