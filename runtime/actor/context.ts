/** What `receive` gets: one reusable object, set for each message, open only while `receive` runs. */
import { assert, InvalidError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Activation } from "./activation.ts";
import type { Address } from "./address.ts";
import type { Context, Json, Message } from "./behaviour.ts";
import { type EffectBuffer, encodeBody } from "./effects.ts";
import type { Root } from "./root.ts";
import { createTraits, type Traits } from "./state_codec.ts";

/** Takes a message to another actor: into the queue of the root, or to the outbox. */
export type Post = (to: Address, message: Message) => void;

export class TurnContext implements Context {
  readonly #root: Root;
  readonly #effects: EffectBuffer;
  readonly #post: Post;
  readonly #remindersMax: number;
  #activation: Activation | undefined;
  /** Which message of the root is in hand; 0: the root itself. */
  #index = 0;
  #activities = 0;
  /** What the actor becomes if `receive` returns. */
  version = 0;
  traits: Traits | undefined;

  constructor(root: Root, effects: EffectBuffer, post: Post, remindersMax: number) {
    this.#root = root;
    this.#effects = effects;
    this.#post = post;
    this.#remindersMax = remindersMax;
  }

  open(activation: Activation, index: number): void {
    this.#activation = activation;
    this.#index = index;
    this.#activities = 0;
    this.version = activation.version;
    this.traits = activation.traits;
  }

  close(): void {
    this.#activation = undefined;
  }

  get address(): Address {
    return this.#open().address;
  }

  get nowMs(): number {
    return this.#root.nowMs;
  }

  get recordId(): string {
    return this.#root.idOf(this.#index);
  }

  get traceId(): string {
    return this.#root.traceId;
  }

  send(to: Address, message: Message): void {
    this.#open();
    this.#post(to, message);
  }

  record(type: string, body: Json): void {
    const from = this.#open().address;
    const bytes = encodeBody({ type, body }, "record");
    const own = { class: "record", from, body: bytes, traceId: this.traceId } as const;
    this.#effects.add({ type: "own", own });
  }

  project(view: string, key: string, row: Json | undefined): void {
    const from = this.#open().address;
    // Each row has a version of its own, so that the last of one record wins at the reader too.
    this.version = nextVersion(this.version, this.nowMs);
    const body = encodeBody({ view, key, row, version: this.version, at: this.nowMs }, "project");
    const own = { class: "view", from, body, traceId: this.traceId } as const;
    this.#effects.add({ type: "own", own });
  }

  remind(name: string, dueAtMs: number, message: Message): void {
    const to = this.#open().address;
    checkReminder(name, dueAtMs);
    const set = this.traits!.reminders;
    if (!set.includes(name)) {
      if (set.length >= this.#remindersMax) {
        throw new InvalidError(
          `Cannot set reminder "${name}": remindersPerActorMax is ${this.#remindersMax}`,
        );
      }
      this.traits = createTraits({ ...this.traits!, reminders: [...set, name] });
    }
    // The past is now: otherwise a repeat after a restart could fire it with an older time.
    const dueMs = Math.max(dueAtMs, this.nowMs);
    const isRoot = dueMs - this.nowMs >= LIMITS.reminderRootMs;
    this.#effects.add({
      type: "remind",
      to,
      name,
      dueAtMs: dueMs,
      budget: isRoot ? LIMITS.budgetPerRootRecord : 0,
      body: encodeBody(message, "remind"),
    });
  }

  cancelReminder(name: string): void {
    const to = this.#open().address;
    if (!this.traits!.reminders.includes(name)) return;
    this.traits = withoutReminder(this.traits!, name);
    this.#effects.add({ type: "cancel", to, name });
  }

  reply<State>(state: State, value: Json): State {
    this.#open();
    const replyTo = this.#index === 0 ? this.#root.replyTo : undefined;
    if (replyTo !== undefined) {
      this.#effects.add({ type: "transient", effect: { type: "reply", replyTo, value } });
    }
    return state;
  }

  downlink(message: Message): void {
    const from = this.#open().address;
    this.#effects.add({ type: "transient", effect: { type: "downlink", from, message } });
  }

  publish(topic: string, value: Json): void {
    this.#open();
    this.#effects.add({ type: "transient", effect: { type: "publish", topic, value } });
  }

  activity(kind: string, name: string, input: Json): void {
    const from = this.#open().address;
    if (!/^[!-.0-~]{0,64}$/.test(name)) {
      throw new InvalidError(
        `Cannot store activity "${name.slice(0, 80)}": an id is at most 64 printable ASCII ` +
          `characters without slash`,
      );
    }
    const fire = this.#root.reminderVersion === 0 ? "" : `~${this.#root.reminderVersion}`;
    const suffix = name === "" ? "" : `:${name}`;
    const id = `${this.recordId}${fire}/${this.#activities++}${suffix}`;
    const bytes = encodeBody(input, "store an activity").length;
    this.#effects.add({ type: "activity", activity: { id, kind, from, input }, bytes });
  }

  #open(): Activation {
    assert(this.#activation !== undefined, "A context is used only while its receive runs");
    return this.#activation;
  }
}

/**
 * Versions rise with each change and never repeat, even if the actor was deleted and its address is
 * used again: the first is the time in milliseconds, and no actor changes that often for long.
 */
export function nextVersion(version: number, nowMs: number): number {
  return version === 0 ? Math.max(1, Math.floor(nowMs)) : version + 1;
}

export function withoutReminder(traits: Traits, name: string): Traits {
  if (!traits.reminders.includes(name)) return traits;
  const reminders = traits.reminders.filter((candidate) => candidate !== name);
  return createTraits({ ...traits, reminders });
}

function checkReminder(name: string, dueAtMs: number): void {
  if (name.length > LIMITS.reminderNameBytesMax || !/^[!-~]+$/.test(name)) {
    throw new InvalidError(
      `Cannot set reminder "${name.slice(0, 80)}": a name is at most ` +
        `${LIMITS.reminderNameBytesMax} printable ASCII characters`,
    );
  }
  if (!Number.isFinite(dueAtMs)) {
    throw new InvalidError(`Cannot set reminder "${name}": dueAtMs is ${dueAtMs}`);
  }
}
