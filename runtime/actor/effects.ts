/**
 * Effects of a commit in the making, in the order they were asked for. What a record asked for is cut
 * off again if it throws or does not fit; nothing leaves before the commit is durable.
 */
import { InvalidError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Address } from "./address.ts";
import type {
  ActivityWrite,
  DeadLetter,
  OwnRecord,
  PartitionCommit,
  ReminderWrite,
  SentRecord,
  TransientEffect,
} from "./batch.ts";
import { encodeUtf8 } from "./utf8.ts";

/** What the commit takes so far: effects and changed states together. */
export interface Usage {
  keys: number;
  bytes: number;
  transients: number;
}

/** Bytes counted for what a stored row has besides its body and address. */
export const ROW_BYTES = 64;

export type Effect =
  | { type: "send"; to: Address; body: Uint8Array; budget: number; traceId: string }
  | { type: "own"; own: OwnRecord }
  | {
    type: "remind";
    to: Address;
    name: string;
    dueAtMs: number;
    /** 0: not decided yet, a share of the budget in hand. */
    budget: number;
    body: Uint8Array;
  }
  | { type: "cancel"; to: Address; name: string }
  | { type: "activity"; activity: ActivityWrite; bytes: number }
  /** `cancels`: name of the reminder that could not be set; a former one of that name is void. */
  | { type: "dead"; letter: DeadLetter; cancels?: string }
  | { type: "transient"; effect: TransientEffect };

/** Thrown by `add` at the bound: the record in hand cannot be part of this commit. */
export class CommitFullError extends Error {
  override readonly name = "CommitFullError";
}

export class EffectBuffer {
  readonly list: Effect[] = [];
  readonly usage: Usage = { keys: 0, bytes: 0, transients: 0 };
  readonly #keysMax: number;
  readonly #bytesMax: number;
  readonly #transientsMax: number;

  constructor(limits: {
    readonly commitKeysMax: number;
    readonly commitBytesMax: number;
    readonly transientEffectsMax: number;
  }) {
    this.#keysMax = limits.commitKeysMax;
    this.#bytesMax = limits.commitBytesMax;
    this.#transientsMax = limits.transientEffectsMax;
  }

  get isOver(): boolean {
    const { keys, bytes, transients } = this.usage;
    return keys > this.#keysMax || bytes > this.#bytesMax || transients > this.#transientsMax;
  }

  /** Throws `CommitFullError` past the bound, so that an endless loop of effects ends. */
  add(effect: Effect): void {
    this.push(effect);
    if (this.isOver) throw new CommitFullError("The effects of this record pass the commit bound");
  }

  /** Adds without the check: what parks a record must always fit. */
  push(effect: Effect): void {
    this.list.push(effect);
    this.#count(effect, 1);
  }

  /** Puts another effect in place of one. */
  replace(index: number, effect: Effect): void {
    this.#count(this.list[index]!, -1);
    this.list[index] = effect;
    this.#count(effect, 1);
  }

  truncate(length: number): void {
    if (this.list.length === length) return;
    for (let i = this.list.length - 1; i >= length; i--) this.#count(this.list[i]!, -1);
    this.list.length = length;
  }

  #count(effect: Effect, sign: 1 | -1): void {
    if (effect.type === "transient") {
      this.usage.transients += sign;
      return;
    }
    this.usage.keys += sign;
    this.usage.bytes += sign * bytesOf(effect);
  }
}

/** UTF-8 JSON of a message or body. Throws `InvalidError` if it is none or too large. */
export function encodeBody(value: unknown, what: string): Uint8Array {
  const text = JSON.stringify(value);
  if (text === undefined) throw new InvalidError(`Cannot ${what}: the value is not JSON`);
  const bytes = encodeUtf8(text);
  if (bytes.length > LIMITS.payloadBytesMax) {
    throw new InvalidError(
      `Cannot ${what} ${bytes.length} B: payloadBytesMax is ${LIMITS.payloadBytesMax}`,
    );
  }
  return bytes;
}

/** The parts of a commit that effects make up, sorted by where they go. */
export type EffectParts = Pick<
  PartitionCommit,
  "sends" | "records" | "deadLetters" | "activities" | "effects"
>;

/** Reminders are not part: the merge knows which of them still stand. */
export function partsOf(list: readonly Effect[]): EffectParts {
  const sends: SentRecord[] = [];
  const records: OwnRecord[] = [];
  const deadLetters: DeadLetter[] = [];
  const activities: ActivityWrite[] = [];
  const effects: TransientEffect[] = [];
  for (const effect of list) {
    switch (effect.type) {
      case "send": {
        const { to, body, budget, traceId } = effect;
        sends.push({ to, body, budget, traceId });
        break;
      }
      case "own":
        records.push(effect.own);
        break;
      case "dead":
        deadLetters.push(effect.letter);
        break;
      case "activity":
        activities.push(effect.activity);
        break;
      case "transient":
        effects.push(effect.effect);
        break;
      case "remind":
      case "cancel":
        break;
    }
  }
  return { sends, records, deadLetters, activities, effects };
}

export function reminderWriteOf(effect: Effect): ReminderWrite | undefined {
  if (effect.type === "cancel") return { to: effect.to, name: effect.name };
  if (effect.type === "dead" && effect.cancels !== undefined) {
    return { to: effect.letter.to, name: effect.cancels };
  }
  if (effect.type !== "remind") return undefined;
  const { to, name, dueAtMs, budget, body } = effect;
  return { to, name, reminder: { to, name, dueAtMs, budget, body } };
}

function bytesOf(effect: Exclude<Effect, { type: "transient" }>): number {
  switch (effect.type) {
    case "send":
      return ROW_BYTES + effect.to.length + effect.body.length;
    case "own":
      return ROW_BYTES + effect.own.from.length + effect.own.body.length;
    case "remind":
      return ROW_BYTES + effect.to.length + effect.name.length + effect.body.length;
    case "cancel":
      return ROW_BYTES + effect.to.length + effect.name.length;
    case "activity":
      return ROW_BYTES + effect.bytes;
    case "dead": {
      const { to, body, detail } = effect.letter;
      return ROW_BYTES + to.length + body.length + detail.length;
    }
  }
}
