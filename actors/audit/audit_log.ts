/**
 * The audit: append-only rows in a chain of hashes for each project. What the registry changes has its
 * row in the same transaction (`beforeCommit`); for everything else rows are appended together, a few
 * milliseconds' worth in one transaction.
 *
 * A chain's head is sealed with the master key: whoever can write the database, but has not the key,
 * can neither cut the chain's end off nor make another chain unnoticed. At `auditRowsMax` the oldest
 * rows of a project give way; the hash that they end with is sealed in their place.
 */
import { Buffer } from "node:buffer";
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Keyring } from "../../runtime/secret/keyring.ts";
import type { CommitWriter } from "../../runtime/store/relational_store.ts";
import type { RegistryStore } from "../registry/registry_store.ts";
import type { AuditTable } from "../registry/tables.ts";
import { type AuditEntry, chainHash, FIRST_HASH } from "./audit_row.ts";
import { currentScope } from "./audit_scope.ts";

export interface AuditLogOptions {
  readonly store: Pick<RegistryStore, "write">;
  readonly clock: Clock;
  readonly keyring: Pick<Keyring, "mac">;
  /** Rows kept of one project; default `auditRowsMax`. */
  readonly rowsMax?: number;
}

interface Waiting {
  readonly entry: AuditEntry;
  readonly outcome: string;
  readonly resolve: () => void;
  readonly reject: (fault: unknown) => void;
}

/** How long a row waits for others that go into the same transaction. */
const GATHER_MS = 4;
/** Rows that give way in one transaction: more than come in one. */
const TRIM_ROWS = 1_000;
const INSERT =
  `insert into audit (project, seq, at, actor_type, actor_id, actor_name, action, object,
  detail, remote, outcome, hash) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

export class AuditLog {
  readonly #options: AuditLogOptions;
  readonly #rowsMax: number;
  #waiting: Waiting[] = [];
  #isGathering = false;

  constructor(options: AuditLogOptions) {
    this.#options = options;
    this.#rowsMax = options.rowsMax ?? LIMITS.auditRowsMax;
  }

  /** For the store: writes the row of the request whose transaction this is, if there is one. */
  beforeCommit(writer: CommitWriter): (() => void) | undefined {
    const scope = currentScope();
    if (scope === undefined || scope.isWritten) return undefined;
    this.#write(writer, scope.entry, "ok");
    return () => void (scope.isWritten = true);
  }

  /** Resolves when the row is durable. */
  append(entry: AuditEntry, outcome: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ entry, outcome, resolve, reject });
      if (this.#isGathering) return;
      this.#isGathering = true;
      this.#options.clock.after(GATHER_MS, () => void this.#flush());
    });
  }

  async #flush(): Promise<void> {
    this.#isGathering = false;
    const gathered = this.#waiting;
    this.#waiting = [];
    try {
      await this.#options.store.write((writer) => {
        for (const { entry, outcome } of gathered) this.#write(writer, entry, outcome);
      });
      for (const { resolve } of gathered) resolve();
    } catch (fault) {
      for (const { reject } of gathered) reject(fault);
    }
  }

  #write(writer: CommitWriter, entry: AuditEntry, outcome: string): void {
    const { project, actor } = entry;
    const head = writer.get("select seq, at, hash from audit_heads where project = ?", project);
    const seq = Number(head?.seq ?? 0) + 1;
    const unhashed: Omit<AuditTable, "hash"> = {
      project,
      seq,
      at: Math.max(this.#options.clock.nowMs(), Number(head?.at ?? 0)),
      actor_type: actor.type,
      actor_id: actor.id,
      actor_name: actor.name,
      action: entry.action,
      object: entry.object,
      detail: JSON.stringify(entry.detail),
      remote: entry.remote,
      outcome,
    };
    const previous = (head?.hash ?? FIRST_HASH) as Uint8Array;
    const hash = chainHash(previous, unhashed);
    writer.run(INSERT, ...Object.values(unhashed), hash);
    const mac = this.#options.keyring.mac("audit head", sealedHead(project, seq, hash));
    if (head === undefined) {
      writer.run(
        "insert into audit_heads (project, seq, at, hash, mac, kept_after, kept_hash, kept_mac) " +
          "values (?, ?, ?, ?, ?, 0, ?, ?)",
        project,
        seq,
        unhashed.at,
        hash,
        mac,
        FIRST_HASH,
        this.#options.keyring.mac("audit start", sealedHead(project, 0, FIRST_HASH)),
      );
    } else {
      writer.run(
        "update audit_heads set seq = ?, at = ?, hash = ?, mac = ? where project = ?",
        seq,
        unhashed.at,
        hash,
        mac,
        project,
      );
    }
    this.#trim(writer, project, seq);
  }

  #trim(writer: CommitWriter, project: string, seq: number): void {
    if (seq % TRIM_ROWS !== 0 && this.#rowsMax > TRIM_ROWS) return;
    const head = writer.get("select kept_after from audit_heads where project = ?", project)!;
    const keptAfter = Number(head.kept_after);
    if (seq - keptAfter <= this.#rowsMax) return;
    const through = Math.min(seq - this.#rowsMax, keptAfter + 2 * TRIM_ROWS);
    const last = writer.get(
      "select hash from audit where project = ? and seq = ?",
      project,
      through,
    );
    if (last === undefined) return; // Removed by hand: the check of the chain says so, nothing hides it.
    const hash = last.hash as Uint8Array;
    const mac = this.#options.keyring.mac("audit start", sealedHead(project, through, hash));
    writer.run("delete from audit where project = ? and seq <= ?", project, through);
    writer.run(
      "update audit_heads set kept_after = ?, kept_hash = ?, kept_mac = ? where project = ?",
      through,
      hash,
      mac,
      project,
    );
  }
}

/** What the seals of a chain's head and start cover. */
export function sealedHead(project: string, seq: number, hash: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(JSON.stringify([project, seq])), hash]);
}
