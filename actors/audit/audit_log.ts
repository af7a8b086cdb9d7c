/**
 * The audit: append-only rows in a chain of hashes for each project. What the registry changes has its
 * row in the same transaction (`beforeCommit`); for everything else rows are appended, those that come
 * while others are being written in one transaction.
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
  readonly store: Pick<RegistryStore, "writeAside">;
  readonly clock: Clock;
  readonly keyring: Pick<Keyring, "mac">;
  /** Rows kept of one project; default `auditRowsMax`. */
  readonly rowsMax?: number;
}

interface NewRow {
  readonly entry: AuditEntry;
  readonly outcome: string;
}

interface Waiting extends NewRow {
  readonly resolve: () => void;
  readonly reject: (fault: unknown) => void;
}

/** Of a project, with the rows that are being added. */
interface Chain {
  /** Of the first of these rows. */
  readonly firstSeq: number;
  seq: number;
  at: number;
  hash: Uint8Array;
}

/** Rows that give way in one transaction: more than come in one. */
const TRIM_ROWS = 1_000;
const INSERT =
  `insert into audit (project, seq, at, actor_type, actor_id, actor_name, action, object,
  detail, remote, outcome, hash) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

export class AuditLog {
  readonly #options: AuditLogOptions;
  readonly #rowsMax: number;
  #waiting: Waiting[] = [];
  #isWriting = false;

  constructor(options: AuditLogOptions) {
    this.#options = options;
    this.#rowsMax = options.rowsMax ?? LIMITS.auditRowsMax;
  }

  /** For the store: writes the row of the request whose transaction this is, if there is one. */
  beforeCommit(writer: CommitWriter): (() => void) | undefined {
    const scope = currentScope();
    if (scope === undefined || scope.isWritten) return undefined;
    this.#write(writer, [{ entry: scope.entry, outcome: "ok" }]);
    return () => void (scope.isWritten = true);
  }

  /** Resolves when the row is durable. */
  append(entry: AuditEntry, outcome: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ entry, outcome, resolve, reject });
      this.#plan();
    });
  }

  #plan(): void {
    if (this.#isWriting || this.#waiting.length === 0) return;
    this.#isWriting = true;
    this.#options.clock.soon(() => void this.#flush());
  }

  async #flush(): Promise<void> {
    const gathered = this.#waiting;
    this.#waiting = [];
    try {
      await this.#options.store.writeAside((writer) => this.#write(writer, gathered));
      for (const { resolve } of gathered) resolve();
    } catch (fault) {
      for (const { reject } of gathered) reject(fault);
    }
    this.#isWriting = false;
    this.#plan();
  }

  /** A chain's head is read, and sealed, once for all rows that it gets. */
  #write(writer: CommitWriter, rows: readonly NewRow[]): void {
    const chains = new Map<string, Chain>();
    for (const row of rows) {
      const { project } = row.entry;
      const chain = chains.get(project) ?? readChain(writer, project);
      chains.set(project, chain);
      this.#add(writer, chain, row);
    }
    for (const [project, chain] of chains) {
      this.#seal(writer, project, chain);
      this.#trim(writer, project, chain);
    }
  }

  #add(writer: CommitWriter, chain: Chain, { entry, outcome }: NewRow): void {
    const { project, actor } = entry;
    const unhashed: Omit<AuditTable, "hash"> = {
      project,
      seq: ++chain.seq,
      at: chain.at = Math.max(this.#options.clock.nowMs(), chain.at),
      actor_type: actor.type,
      actor_id: actor.id,
      actor_name: actor.name,
      action: entry.action,
      object: entry.object,
      detail: JSON.stringify(entry.detail),
      remote: entry.remote,
      outcome,
    };
    chain.hash = chainHash(chain.hash, unhashed);
    writer.run(INSERT, ...Object.values(unhashed), chain.hash);
  }

  #seal(writer: CommitWriter, project: string, { firstSeq, seq, at, hash }: Chain): void {
    const { keyring } = this.#options;
    const mac = keyring.mac("audit head", sealedHead(project, seq, hash));
    if (firstSeq > 1) {
      writer.run(
        "update audit_heads set seq = ?, at = ?, hash = ?, mac = ? where project = ?",
        seq,
        at,
        hash,
        mac,
        project,
      );
      return;
    }
    writer.run(
      "insert into audit_heads (project, seq, at, hash, mac, kept_after, kept_hash, kept_mac) " +
        "values (?, ?, ?, ?, ?, 0, ?, ?)",
      project,
      seq,
      at,
      hash,
      mac,
      FIRST_HASH,
      keyring.mac("audit start", sealedHead(project, 0, FIRST_HASH)),
    );
  }

  #trim(writer: CommitWriter, project: string, { firstSeq, seq }: Chain): void {
    const isDue = Math.floor(seq / TRIM_ROWS) > Math.floor((firstSeq - 1) / TRIM_ROWS);
    if (!isDue && this.#rowsMax > TRIM_ROWS) return;
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

function readChain(writer: CommitWriter, project: string): Chain {
  const head = writer.get("select seq, at, hash from audit_heads where project = ?", project);
  const seq = Number(head?.seq ?? 0);
  const hash = (head?.hash ?? FIRST_HASH) as Uint8Array;
  return { firstSeq: seq + 1, seq, at: Number(head?.at ?? 0), hash };
}

/** What the seals of a chain's head and start cover. */
export function sealedHead(project: string, seq: number, hash: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(JSON.stringify([project, seq])), hash]);
}
