/** The root in hand: a record from the log or a fired reminder, and what it causes in its partition. */
import { hashKey, type Partition } from "./address.ts";

/**
 * Identities stand in the metadata of records (255 bytes for three), so they are bounded; beyond it
 * the end gives way to a hash.
 */
export const IDENTITY_CHARACTERS_MAX = 100;

/** One object, set anew for each root. */
export class Root {
  partition: Partition = 0;
  epoch = 0;
  offset = 0;
  /** Clamped so that it never falls within the partition. */
  nowMs = 0;
  /** The time of the record, or when the reminder was due. */
  acceptedAtMs = 0;
  isIngress = false;
  replyTo: string | undefined;
  firstId: string | undefined;
  /** Set for reminders: `{address}#{name}@{dueAtMs}`. */
  reminderId: string | undefined;
  /** Distinguishes two fires of one name and due time; 0 for records. */
  reminderVersion = 0;
  #bytes: Uint8Array = NO_BODY;
  #bodyStart = 0;
  #bodyEnd = 0;
  #id: string | undefined;
  #traceId: string | undefined;

  setRecord(offset: number, epoch: number, acceptedAtMs: number, nowMs: number): void {
    this.offset = offset;
    this.epoch = epoch;
    this.acceptedAtMs = acceptedAtMs;
    this.nowMs = nowMs;
    this.isIngress = false;
    this.replyTo = undefined;
    this.firstId = undefined;
    this.#bytes = NO_BODY;
    this.#bodyStart = this.#bodyEnd = 0;
    this.reminderId = undefined;
    this.reminderVersion = 0;
    this.#id = undefined;
    this.#traceId = undefined;
  }

  setReminder(id: string, dueAtMs: number, nowMs: number, body: Uint8Array): void {
    this.setRecord(0, 0, dueAtMs, nowMs);
    this.reminderId = id;
    this.setBody(body, 0, body.length);
  }

  /** Only a record that is parked needs its bytes: a view of each would cost too much. */
  setBody(bytes: Uint8Array, start: number, end: number): void {
    this.#bytes = bytes;
    this.#bodyStart = start;
    this.#bodyEnd = end;
  }

  /** Empty: an in-memory message, encoded only if it is parked. */
  get body(): Uint8Array {
    return this.#bytes.subarray(this.#bodyStart, this.#bodyEnd);
  }

  set givenTraceId(traceId: string | undefined) {
    this.#traceId = traceId;
  }

  /** `{epoch}-{partition}-{offset}`, of a replay its first, of a reminder `{address}#{name}@{due}`. */
  get id(): string {
    return this.#id ??= this.firstId ?? this.reminderId ??
      `${this.epoch}-${this.partition}-${this.offset}`;
  }

  get traceId(): string {
    return this.#traceId ??= boundIdentity(this.id);
  }

  /** Of the `index`th message of this root; 0 is the root itself. */
  idOf(index: number): string {
    return index === 0 ? this.id : boundIdentity(`${this.id}.${index}`);
  }
}

const NO_BODY = new Uint8Array(0);

export function boundIdentity(text: string): string {
  if (text.length <= IDENTITY_CHARACTERS_MAX) return text;
  const hash = hashKey(text).toString(16).padStart(8, "0") +
    hashKey(text + "~").toString(16).padStart(8, "0");
  return `${text.slice(0, IDENTITY_CHARACTERS_MAX - 17)}~${hash}`;
}
