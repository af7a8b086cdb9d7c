/** The parts of the audit over one registry. */
import type { Clock } from "../../runtime/clock.ts";
import type { Keyring } from "../../runtime/secret/keyring.ts";
import type { BeforeCommit } from "../../runtime/store/relational_store.ts";
import type { RegistryStore } from "../registry/registry_store.ts";
import { type AuditCheck, checkAudits } from "./audit_check.ts";
import { AuditLog } from "./audit_log.ts";
import { AuditReader } from "./audit_reader.ts";

export interface Audit {
  readonly log: AuditLog;
  readonly reader: AuditReader;
  /** Whether the chains of all projects are what was written. */
  check(): Promise<readonly AuditCheck[]>;
}

/** Stands in the store from its opening on, which is before its audit can be made. */
export class AuditHook {
  log: AuditLog | undefined;
  readonly beforeCommit: BeforeCommit = (writer) => this.log?.beforeCommit(writer);
}

export function createAudit(
  options: {
    readonly store: RegistryStore;
    readonly clock: Clock;
    readonly keyring: Keyring;
  },
): Audit {
  return {
    log: new AuditLog(options),
    reader: new AuditReader(options.store),
    check: () => checkAudits(options),
  };
}
