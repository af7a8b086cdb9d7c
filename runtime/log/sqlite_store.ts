/**
 * The tick store of the product: one SQLite file, WAL, `synchronous=FULL`, one transaction a step.
 * Checkpoints are explicit and small; nothing else ever runs one behind an append.
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { Address, Partition } from "../actor/address.ts";
import type { Reminder } from "../actor/batch.ts";
import { LIMITS } from "../limits.ts";
import { ByteReader, ByteWriter } from "./bytes.ts";
import type {
  DeadLetterQuery,
  GatewayRowQuery,
  ListedDeadLetter,
  StateQuery,
  StoredActivity,
  StoredDeadLetter,
  StoredGatewayRow,
  StoredState,
} from "./partition_log.ts";
import { RowBatch } from "./row_batch.ts";
import { SQLITE_PRAGMAS, SQLITE_SCHEMA } from "./sqlite_schema.ts";
import { tickOfMeta } from "./tick_meta.ts";
import type {
  OutboxEntry,
  OutboxTarget,
  StepHook,
  StoredTick,
  TickBlob,
  TickStore,
  TickWrite,
} from "./tick_store.ts";

/** What a row costs in the WAL at most, roughly: the page it is on. */
const ROW_WAL_BYTES = 4_096;

type Row = Record<string, unknown>;

/**
 * Opens or creates the file at `path`.
 * @param onStep Steps, in order: `append:before-commit` if records came in, `commit:before-commit` if
 * actors were committed, `after-commit`; `trim:before-commit`, `trim:after-commit`;
 * `checkpoint:before`, `checkpoint:after`.
 * @throws If the file cannot be opened or is not a database. */
export function openSqliteStore(path: string, onStep: StepHook = () => {}): TickStore {
  return new SqliteStore(path, onStep);
}

class SqliteStore implements TickStore {
  readonly #db: DatabaseSync;
  readonly #onStep: StepHook;
  readonly #statements = new Map<string, StatementSync>();
  readonly #states: RowBatch;
  #walBytes = 0;

  constructor(path: string, onStep: StepHook) {
    this.#onStep = onStep;
    this.#db = new DatabaseSync(path);
    try {
      this.#db.exec(SQLITE_PRAGMAS);
      this.#db.exec(SQLITE_SCHEMA);
      // A worker that was ended in the middle of its last commit is waited for, before all is read.
      this.#db.exec("PRAGMA busy_timeout = 10000; BEGIN IMMEDIATE; COMMIT");
      this.#states = new RowBatch(
        this.#db,
        "INSERT INTO states (partition, address, state) VALUES",
        "ON CONFLICT DO UPDATE SET state = excluded.state",
        3,
      );
    } catch (fault) {
      this.#db.close();
      throw fault;
    }
  }

  loadMeta(): Uint8Array | undefined {
    return this.#blob("SELECT value FROM meta WHERE id = 1", "value");
  }

  loadRelay(): Uint8Array | undefined {
    return this.#blob("SELECT value FROM meta WHERE id = 2", "value");
  }

  loadOutbox(): OutboxEntry[] {
    return this.#all("SELECT source, sequence, targets FROM outbox ORDER BY source, sequence")
      .map((row) => ({
        source: row.source as number,
        sequence: row.sequence as number,
        targets: decodeTargets(row.targets as Uint8Array),
      }));
  }

  headTick(): number {
    const meta = this.loadMeta();
    return meta === undefined ? 0 : tickOfMeta(meta);
  }

  write(step: TickWrite): void {
    this.#transaction(step.kinds, () => {
      if (step.blob !== undefined) {
        const { header, body } = step.blob;
        this.#run(
          "INSERT INTO ticks (tick, header, body) VALUES (?, ?, ?)",
          step.tick,
          header,
          body,
        );
        this.#walBytes += header.length + body.length;
      }
      this.#writeStates(step);
      this.#writeReminders(step);
      this.#writeDeadLetters(step);
      this.#writeRest(step);
      this.#run(PUT_META, 1, step.meta);
      if (step.relay !== undefined) this.#run(PUT_META, 2, step.relay);
    });
    this.#walBytes += 2 * ROW_WAL_BYTES;
    this.#onStep("after-commit");
    if (this.#walBytes >= LIMITS.walBytesMax) this.checkpoint();
  }

  readTick(tick: number): TickBlob | undefined {
    const row = this.#get("SELECT header, body FROM ticks WHERE tick = ?", tick);
    return row === undefined
      ? undefined
      : { header: row.header as Uint8Array, body: row.body as Uint8Array };
  }

  readTicks(after: number, bytesMax: number): StoredTick[] {
    const found: StoredTick[] = [];
    const sql = "SELECT tick, header, body FROM ticks WHERE tick > ? ORDER BY tick LIMIT 1";
    for (let bytes = 0; bytes < bytesMax;) {
      const row = this.#get(sql, found.at(-1)?.tick ?? after);
      if (row === undefined) break;
      const tick = row as unknown as StoredTick;
      found.push(tick);
      bytes += Math.max(1, tick.body.length);
    }
    return found;
  }

  readHeaders(after: number, limit: number): { tick: number; header: Uint8Array }[] {
    const sql = "SELECT tick, header FROM ticks WHERE tick > ? ORDER BY tick LIMIT ?";
    return this.#all(sql, after, limit) as { tick: number; header: Uint8Array }[];
  }

  tickBytes(): number {
    const sql = "SELECT coalesce(sum(length(header) + length(body)), 0) AS bytes FROM ticks";
    return this.#get(sql)!.bytes as number;
  }

  state(partition: Partition, address: Address): Uint8Array | undefined {
    const sql = "SELECT state FROM states WHERE partition = ? AND address = ?";
    return this.#blob(sql, "state", partition, address);
  }

  statesAfter({ partition, kind, after, limit }: StateQuery): StoredState[] {
    const sql = `SELECT address, state FROM states
      WHERE partition = ? AND address > ? AND address < ? ORDER BY address LIMIT ?`;
    // "0" follows "/": the addresses of a kind stand between the two.
    const from = after === "" ? `${kind}/` : after;
    return this.#all(sql, partition, from, `${kind}0`, limit) as unknown as StoredState[];
  }

  dueReminders(partition: Partition, untilMs: number, limit: number): Reminder[] {
    const sql = `SELECT address, name, due_at_ms, budget, body FROM reminders
      WHERE partition = ? AND due_at_ms <= ? ORDER BY due_at_ms, address, name LIMIT ?`;
    return this.#all(sql, partition, untilMs, limit).map((row) => ({
      to: row.address as string,
      name: row.name as string,
      dueAtMs: row.due_at_ms as number,
      budget: row.budget as number,
      body: row.body as Uint8Array,
    }));
  }

  nextDueMs(partition: Partition): number | undefined {
    const sql = `SELECT due_at_ms FROM reminders WHERE partition = ? ORDER BY due_at_ms LIMIT 1`;
    return this.#get(sql, partition)?.due_at_ms as number | undefined;
  }

  deadLetters(query: DeadLetterQuery): ListedDeadLetter[] {
    const { address, beforeId = Number.MAX_SAFE_INTEGER, afterId, limit } = query;
    const ofActor = address === undefined ? "" : "address = ? AND ";
    const direction = afterId === undefined ? "DESC" : "ASC";
    const rows = this.#all(
      `SELECT id, partition, address, is_ingress, accepted_at_ms, parked_at_ms, record_id, reason,
        detail, trace_id, substr(body, 1, ${LIMITS.deadLetterShownBytes}) AS body,
        length(body) AS body_bytes
        FROM dead_letters WHERE ${ofActor}id > ? AND id < ? ORDER BY id ${direction} LIMIT ?`,
      ...(address === undefined ? [] : [address]),
      afterId ?? 0,
      beforeId,
      limit,
    );
    return rows.map((row) => ({ ...letterOf(row), bodyBytes: row.body_bytes as number }));
  }

  countDeadLetters(address: Address | undefined, max: number): number {
    const ofActor = address === undefined ? "" : "WHERE address = ?";
    const sql = `SELECT count(*) AS count FROM
      (SELECT 1 FROM dead_letters INDEXED BY dead_letters_address ${ofActor} LIMIT ?)`;
    return this.#get(sql, ...(address === undefined ? [] : [address]), max)!.count as number;
  }

  deadLetter(id: number): StoredDeadLetter | undefined {
    const row = this.#get("SELECT * FROM dead_letters WHERE id = ?", id);
    return row === undefined ? undefined : letterOf(row);
  }

  gatewayRow(key: string): Uint8Array | undefined {
    return this.#blob("SELECT value FROM gateway_rows WHERE key = ?", "value", key);
  }

  gatewayRows({ prefix, after, limit }: GatewayRowQuery): StoredGatewayRow[] {
    const found: StoredGatewayRow[] = [];
    const sql = "SELECT key, value FROM gateway_rows WHERE key > ? ORDER BY key LIMIT 1";
    let last = after > prefix ? after : prefix;
    for (let bytes = 0; found.length < limit && bytes < LIMITS.gatewayPageBytesMax;) {
      const row = this.#get(sql, last) as unknown as StoredGatewayRow | undefined;
      if (row === undefined || !row.key.startsWith(prefix)) break;
      found.push({ key: row.key, value: row.value });
      bytes += row.value.length;
      last = row.key;
    }
    return found;
  }

  activities(limit: number): StoredActivity[] {
    const sql = `SELECT id, kind, from_address, input FROM activities ORDER BY number LIMIT ?`;
    return this.#all(sql, limit).map((row) => ({
      id: row.id as string,
      kind: row.kind as string,
      from: row.from_address as string,
      input: row.input as string,
    }));
  }

  trim(throughTick: number, limit: number): { ticks: number; bytes: number } {
    const oldest = "SELECT tick FROM ticks WHERE tick <= ? ORDER BY tick LIMIT ?";
    const sum = this.#get(
      `SELECT count(*) AS ticks, max(tick) AS last,
        coalesce(sum(length(header) + length(body)), 0) AS bytes
        FROM ticks WHERE tick IN (${oldest})`,
      throughTick,
      limit,
    )!;
    const ticks = sum.ticks as number;
    if (ticks === 0) return { ticks: 0, bytes: 0 };
    this.#transaction(["trim"], () => {
      this.#run("DELETE FROM ticks WHERE tick <= ?", sum.last as number);
    });
    this.#walBytes += ticks * ROW_WAL_BYTES;
    this.#onStep("trim:after-commit");
    return { ticks, bytes: sum.bytes as number };
  }

  reduce(gone: readonly number[], reduced: readonly StoredTick[]): number {
    let bytes = 0;
    const sizeOf = (tick: number) =>
      this.#get("SELECT length(header) + length(body) AS bytes FROM ticks WHERE tick = ?", tick)!
        .bytes as number;
    this.#transaction(["trim"], () => {
      for (const tick of gone) {
        bytes += sizeOf(tick);
        this.#run("DELETE FROM ticks WHERE tick = ?", tick);
      }
      for (const { tick, header, body } of reduced) {
        bytes += sizeOf(tick) - header.length - body.length;
        this.#run("UPDATE ticks SET header = ?, body = ? WHERE tick = ?", header, body, tick);
        this.#walBytes += header.length + body.length;
      }
    });
    this.#walBytes += (gone.length + reduced.length) * ROW_WAL_BYTES;
    this.#onStep("trim:after-commit");
    return bytes;
  }

  checkpoint(): boolean {
    if (this.#walBytes < LIMITS.checkpointBytes) return false;
    this.#onStep("checkpoint:before");
    this.#get("PRAGMA wal_checkpoint(PASSIVE)");
    this.#walBytes = 0;
    this.#onStep("checkpoint:after");
    return false;
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close();
  }

  #writeStates(step: TickWrite): void {
    for (const { partition, writes } of step.states) {
      for (const { address, state } of writes) {
        if (state !== undefined) {
          this.#states.add(partition, address, state);
        } else { // In the order asked: the rows before must not come after the deletion.
          this.#states.flush();
          this.#run("DELETE FROM states WHERE partition = ? AND address = ?", partition, address);
        }
      }
      this.#walBytes += writes.length * ROW_WAL_BYTES / 4;
    }
    this.#states.flush();
  }

  #writeReminders(step: TickWrite): void {
    for (const { partition, writes } of step.reminders) {
      for (const { to, name, reminder } of writes) {
        if (reminder === undefined) this.#run(DELETE_REMINDER, partition, to, name);
        else {
          const { dueAtMs, budget, body } = reminder;
          this.#run(PUT_REMINDER, partition, to, name, dueAtMs, budget, body);
        }
      }
    }
  }

  #writeDeadLetters(step: TickWrite): void {
    for (const letter of step.deadLetters) {
      this.#run(
        PUT_DEAD_LETTER,
        letter.id,
        letter.partition,
        letter.to,
        letter.isIngress ? 1 : 0,
        letter.acceptedAtMs,
        letter.parkedAtMs,
        letter.recordId,
        letter.reason,
        letter.detail,
        letter.traceId,
        letter.body,
      );
    }
    for (const id of step.deadLettersGone) this.#run("DELETE FROM dead_letters WHERE id = ?", id);
  }

  #writeRest(step: TickWrite): void {
    for (const { key, value } of step.rows) {
      if (value === undefined) this.#run("DELETE FROM gateway_rows WHERE key = ?", key);
      else this.#run(PUT_ROW, key, value);
    }
    for (const { id, kind, from, input } of step.activities) {
      this.#run(PUT_ACTIVITY, id, kind, from, input);
    }
    for (const id of step.activitiesGone) this.#run("DELETE FROM activities WHERE id = ?", id);
    for (const { source, sequence, targets } of step.outbox) {
      this.#run(PUT_OUTBOX, source, sequence, encodeTargets(targets));
    }
    for (const { source, sequence } of step.outboxGone) {
      this.#run("DELETE FROM outbox WHERE source = ? AND sequence = ?", source, sequence);
    }
  }

  #transaction(kinds: readonly string[], body: () => void): void {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      body();
      for (const kind of kinds) this.#onStep(`${kind}:before-commit`);
      this.#db.exec("COMMIT");
    } catch (fault) {
      this.#states.drop();
      // SQLite ends the transaction itself on a full disk and on I/O errors.
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw fault;
    }
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #run(sql: string, ...values: (number | string | Uint8Array)[]): void {
    this.#prepared(sql).run(...values);
  }

  #get(sql: string, ...values: (number | string)[]): Row | undefined {
    return this.#prepared(sql).get(...values) as Row | undefined;
  }

  #all(sql: string, ...values: (number | string)[]): Row[] {
    return this.#prepared(sql).all(...values) as Row[];
  }

  #blob(sql: string, column: string, ...values: (number | string)[]): Uint8Array | undefined {
    return this.#get(sql, ...values)?.[column] as Uint8Array | undefined;
  }
}

const PUT_META = `INSERT INTO meta (id, value) VALUES (?, ?)
  ON CONFLICT DO UPDATE SET value = excluded.value`;
const PUT_REMINDER = `INSERT INTO reminders (partition, address, name, due_at_ms, budget, body)
  VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
  SET due_at_ms = excluded.due_at_ms, budget = excluded.budget, body = excluded.body`;
const DELETE_REMINDER = "DELETE FROM reminders WHERE partition = ? AND address = ? AND name = ?";
const PUT_DEAD_LETTER = `INSERT INTO dead_letters
  (id, partition, address, is_ingress, accepted_at_ms, parked_at_ms, record_id, reason, detail,
   trace_id, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;
const PUT_ROW = `INSERT INTO gateway_rows (key, value) VALUES (?, ?)
  ON CONFLICT DO UPDATE SET value = excluded.value`;
const PUT_ACTIVITY = `INSERT OR IGNORE INTO activities (id, kind, from_address, input)
  VALUES (?, ?, ?, ?)`;
const PUT_OUTBOX = "INSERT INTO outbox (source, sequence, targets) VALUES (?, ?, ?)";

function letterOf(row: Row): StoredDeadLetter {
  return {
    id: row.id as number,
    partition: row.partition as number,
    to: row.address as string,
    isIngress: row.is_ingress === 1,
    acceptedAtMs: row.accepted_at_ms as number,
    parkedAtMs: row.parked_at_ms as number,
    recordId: row.record_id as string,
    reason: row.reason as string,
    detail: row.detail as string,
    traceId: row.trace_id as string,
    body: row.body as Uint8Array,
  };
}

function encodeTargets(targets: readonly OutboxTarget[]): Uint8Array {
  const out = new ByteWriter().integer(targets.length);
  for (const { partition, count, bytes } of targets) {
    out.integer(partition).integer(count).bytes(bytes);
  }
  return out.take();
}

function decodeTargets(bytes: Uint8Array): OutboxTarget[] {
  const input = new ByteReader(bytes);
  return Array.from({ length: input.integer() }, () => ({
    partition: input.integer(),
    count: input.integer(),
    bytes: input.bytes(),
  }));
}
