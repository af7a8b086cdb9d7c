/**
 * Handles the batch of one partition with a `Turn`: merges by time, ends in time, makes the commit.
 * Done in slices: a generator, so that who runs it can watch over each.
 */
import { CodecError } from "../errors.ts";
import { addressAt, bodyStartAt, budgetAt, metadataAt, recordEnd } from "../log/record.ts";
import type { Activation, ActivationTable } from "./activation.ts";
import type { Partition } from "./address.ts";
import type { PartitionBatch, PartitionCommit, Reminder, StateWrite } from "./batch.ts";
import type { Message } from "./behaviour.ts";
import { deepFreeze } from "./actor_state.ts";
import { partsOf, reminderWriteOf, ROW_BYTES } from "./effects.ts";
import { ReminderMerge } from "./reminders.ts";
import { boundIdentity } from "./root.ts";
import { encodeEnvelope, NO_TRAITS } from "./state_codec.ts";
import type { Turn } from "./turn.ts";
import { decodeUtf8, isAscii } from "./utf8.ts";

/** What was handled of a partition's batch, at least. */
export interface Progress {
  readonly partition: Partition;
  /** Records and fired reminders. */
  readonly roots: number;
}

/** Roots between two calls of `onProgress`; the first call comes before the first root. */
export const PROGRESS_ROOTS = 16;

const KILLED_DETAIL = "The engine process died or was stuck each time it handled this alone";

export interface RunOptions {
  readonly turn: Turn;
  readonly table: ActivationTable;
  readonly isFreezing: boolean;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

/** Each step is a slice of work. It yields the actors to load, in one call, before it goes on. */
export type Slices<T> = Generator<readonly Activation[], T, void>;

/** Why a record has no actor, in place of one. */
export type Planned = Activation | string;

/** A batch with the actors of its records, in order, from the cursor on. */
export interface PlannedBatch {
  readonly batch: PartitionBatch;
  readonly actors: readonly Planned[];
  /** The bytes of each segment as Latin-1: ASCII of addresses and bodies at the bytes' positions. */
  readonly texts: readonly string[];
  /** Of `batch.reminders`, same order. */
  readonly reminderActors: readonly Planned[];
}

export class PartitionRun {
  readonly #options: RunOptions;
  readonly #turn: Turn;
  readonly #batch: PartitionBatch;
  readonly #actors: readonly Planned[];
  readonly #texts: readonly string[];
  readonly #reminderActors: ReadonlyMap<string, Planned>;
  readonly #formerNowMs: number;
  readonly #rootsMax: number;
  #merge: ReminderMerge;
  #processed = 0;
  #fired = 0;
  #records = 0;
  /** Time of the last root, for the partition's next batch. */
  nowMs: number;

  /** @param nowMs Time of the partition's last root: it never falls. */
  constructor(options: RunOptions, planned: PlannedBatch, nowMs: number) {
    this.#options = options;
    this.#turn = options.turn;
    this.#batch = planned.batch;
    this.#actors = planned.actors;
    this.#texts = planned.texts;
    this.#reminderActors = new Map(
      planned.batch.reminders.map((reminder, i) => [reminder.to, planned.reminderActors[i]!]),
    );
    this.#formerNowMs = nowMs;
    this.#rootsMax = planned.batch.rootsMax ?? Infinity;
    this.nowMs = nowMs;
    this.#merge = new ReminderMerge(planned.batch.reminders);
  }

  /**
   * Sizes are estimated first, since encoding each state after each message would cost more than
   * handling it; if the exact commit does not fit, the same batch is run again with exact sizes. So
   * what is bounded is what is committed: a state may outgrow its bound for some records of a batch.
   */
  *run(): Slices<PartitionCommit> {
    for (const isCareful of [false, true]) {
      this.#restart(isCareful);
      const toCursor = yield* this.#handle();
      if (toCursor === "careful") continue;
      const states = encodeStates(this.#turn, this.#options.table);
      if (states !== undefined) return this.#commitOf(states, toCursor);
    }
    throw new CodecError(`Cannot encode the commit of partition ${this.#batch.partition}`);
  }

  #restart(isCareful: boolean): void {
    const turn = this.#turn;
    if (isCareful) turn.reset();
    else turn.begin(this.#batch.partition);
    turn.isCareful = isCareful;
    this.#merge = new ReminderMerge(this.#batch.reminders);
    this.#processed = this.#fired = this.#records = 0;
    this.nowMs = this.#formerNowMs;
  }

  #commitOf(states: readonly StateWrite[], toCursor: number | undefined): PartitionCommit {
    const { partition, cursor, nextCursor } = this.#batch;
    const commit = {
      partition,
      fromCursor: cursor,
      toCursor: toCursor ?? nextCursor,
      states,
      ...partsOf(this.#turn.effects.list),
      reminders: this.#merge.writes(),
      processed: this.#processed,
      isPartial: toCursor !== undefined,
    };
    return commit;
  }

  /** The cursor where the batch ended early; undefined: all is handled. */
  *#handle(): Slices<number | undefined | "careful"> {
    const { segments, cursor, nextCursor, endOfLogAtMs } = this.#batch;
    this.#progress();
    for (let s = 0; s < segments.length; s++) {
      const segment = segments[s]!;
      const { bytes, firstOffset, count, acceptedAtMs, epoch } = segment;
      const text = this.#texts[s]!;
      const isIngress = segment.class === "ingress" || segment.class === "replay";
      for (let i = 0, at = 0, end = 0; i < count; i++, at = end) {
        end = recordEnd(bytes, at);
        const offset = firstOffset + i;
        if (offset < cursor) continue;
        if (this.#merge.nextDueMs <= acceptedAtMs) {
          const ended = yield* this.#fireUntil(acceptedAtMs);
          if (ended !== "done") return ended === "cut" ? offset : ended;
        }
        if (this.#isFull()) return offset;
        const nowMs = Math.max(acceptedAtMs, this.nowMs);
        this.#turn.root.setRecord(offset, epoch, acceptedAtMs, nowMs);
        this.#turn.root.isIngress = isIngress;
        const settled = this.#begin(bytes, text, at, end)
          ? this.#turn.settle()
          : yield* this.#finish();
        if (settled !== "done") return settled === "cut" ? offset : settled;
        this.#accept();
        if (isIngress && !this.#turn.isRootParked) this.#processed++;
        this.#records++;
        this.#countRoot();
        if (this.#turn.hasSliceEnded) yield* this.#pause([]);
      }
    }
    if (endOfLogAtMs === undefined) return undefined;
    const ended = yield* this.#fireUntil(endOfLogAtMs);
    if (ended === "careful") return ended;
    return ended === "cut" ? nextCursor : undefined;
  }

  /** Hands over the record at `at`; true if all it caused is handled, false if actors are missing. */
  #begin(bytes: Uint8Array, text: string, at: number, end: number): boolean {
    const turn = this.#turn;
    const { root } = turn;
    const start = bodyStartAt(bytes, at);
    root.setBody(bytes, start, end);
    if (bytes[at + 7]! > 0) {
      const metadata = metadataAt(bytes, at)!;
      root.replyTo = metadata.replyTo;
      root.givenTraceId = metadata.traceId;
      root.firstId = metadata.firstId;
    }
    const planned = this.#actors[this.#records]!;
    if (typeof planned === "string") {
      turn.beginRoot(undefined, budgetAt(bytes, at));
      turn.refuseRoot(planned, "", addressAt(bytes, at));
      return true;
    }
    turn.beginRoot(planned, budgetAt(bytes, at));
    // One text for the segment: a decoder call a record costs more than the record's handling.
    const message = isAscii(bytes, start, end)
      ? parseMessage(text.slice(start, end))
      : parseMessage(textOf(root.body));
    return this.#deliver(planned, message);
  }

  #deliver(activation: Activation, message: Message | undefined): boolean {
    const turn = this.#turn;
    if (this.#batch.isFirstParked && this.#roots === 0) {
      // Counted, so that an actor that kills with each message is suspended like one that throws.
      const counted = activation.raw?.refusal === undefined ? activation : undefined;
      turn.refuseRoot("killed_engine", KILLED_DETAIL, activation.address, counted);
      return true;
    }
    if (message === undefined) {
      turn.refuseRoot("malformed", "The body is no JSON object with a type", activation.address);
      return true;
    }
    turn.deliverRoot(this.#options.isFreezing ? deepFreeze(message) : message);
    return turn.drain();
  }

  /** Loads what the root's own messages need, as often as it takes. */
  *#finish(): Slices<"done" | "cut" | "careful"> {
    do yield* this.#pause(this.#turn.unloaded()); while (!this.#turn.drain());
    return this.#turn.settle();
  }

  *#pause(missing: readonly Activation[]): Slices<void> {
    yield missing;
    this.#turn.sliceMessages = 0;
  }

  /** The root's effects stand: its reminders count from now on. */
  #accept(): void {
    const { effects, effectsMark, root } = this.#turn;
    this.nowMs = root.nowMs;
    for (let i = effectsMark; i < effects.list.length; i++) {
      const write = reminderWriteOf(effects.list[i]!);
      if (write !== undefined) this.#merge.apply(write);
    }
  }

  *#fireUntil(untilMs: number): Slices<"done" | "cut" | "careful"> {
    const turn = this.#turn;
    for (;;) {
      const reminder = this.#merge.due(untilMs);
      if (reminder === undefined) return "done";
      // A reminder that sets itself again may be due for ever: the batch has to end.
      if (this.#fired >= turn.limits.batchRecordsMax) return "cut";
      if (this.#isFull()) return "cut";
      const settled = this.#fire(reminder) ? turn.settle() : yield* this.#finish();
      if (settled !== "done") return settled;
      this.#merge.fired(reminder);
      this.#accept();
      this.#fired++;
      this.#countRoot();
      if (turn.hasSliceEnded) yield* this.#pause([]);
    }
  }

  #fire(reminder: Reminder): boolean {
    const turn = this.#turn;
    const { to, name, dueAtMs, budget, body } = reminder;
    const id = boundIdentity(`${to}#${name}@${dueAtMs}`);
    turn.root.setReminder(id, dueAtMs, Math.max(dueAtMs, this.nowMs), body);
    const actor = this.#options.table.of(this.#batch.partition).get(to) ??
      this.#reminderActors.get(to)!;
    if (typeof actor === "string") {
      turn.beginRoot(undefined, budget);
      turn.refuseRoot(actor, "", to);
      return true;
    }
    turn.beginRoot(actor, budget, name);
    return this.#deliver(actor, parseMessage(textOf(body)));
  }

  get #roots(): number {
    return this.#records + this.#fired;
  }

  #isFull(): boolean {
    return this.#turn.messages >= this.#turn.limits.batchMessagesMax ||
      this.#roots >= this.#rootsMax;
  }

  #countRoot(): void {
    if (this.#roots % PROGRESS_ROOTS === 0) this.#progress();
  }

  #progress(): void {
    const { partition } = this.#batch;
    this.#options.onProgress?.({ partition, roots: this.#roots });
  }
}

/** The last value of each changed actor; undefined if something is too large or is no JSON. */
function encodeStates(turn: Turn, table: ActivationTable): StateWrite[] | undefined {
  const { dirty } = turn.changes;
  const { limits, isCareful } = turn;
  const writes: StateWrite[] = [];
  const sizes: number[] = [];
  let bytes = turn.effects.usage.bytes - turn.changes.bytes;
  for (const activation of dirty) {
    const { address, behaviour, raw, state, traits, version } = activation;
    if (state === undefined && raw === undefined && traits === NO_TRAITS) {
      if (activation.isStored) writes.push({ address });
      sizes.push(0);
      continue;
    }
    const json = raw?.envelope?.json ?? (state === undefined ? undefined : textOfState(state));
    if (json === null) return undefined;
    const stateVersion = raw?.envelope?.stateVersion ?? behaviour.stateVersion;
    if (json !== undefined && json.length > limits.stateBytesMax) return undefined;
    const encoded = encodeEnvelope(stateVersion, version, traits, json);
    if (encoded.jsonBytes > limits.stateBytesMax && raw === undefined) return undefined;
    bytes += ROW_BYTES + address.length + encoded.bytes.length;
    if (bytes > limits.commitBytesMax && !isCareful) return undefined;
    writes.push({ address, state: encoded.bytes });
    sizes.push(encoded.bytes.length);
  }
  for (let i = 0; i < dirty.length; i++) {
    dirty[i]!.isStored = sizes[i]! > 0;
    table.resize(dirty[i]!, sizes[i]!);
  }
  return writes;
}

/** Null if the state is no JSON: the careful run finds out whose record did it. */
function textOfState(state: unknown): string | null {
  try {
    return JSON.stringify(state) ?? null;
  } catch {
    return null;
  }
}

function textOf(body: Uint8Array): string | undefined {
  try {
    return decodeUtf8(body);
  } catch {
    return undefined; // Broken UTF-8 is no JSON either.
  }
}

function parseMessage(text: string | undefined): Message | undefined {
  if (text === undefined) return undefined;
  try {
    const message = JSON.parse(text);
    return typeof message?.type === "string" ? message : undefined;
  } catch {
    return undefined;
  }
}
