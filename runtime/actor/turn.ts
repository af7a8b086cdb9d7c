/**
 * The synchronous core of the engine: hands messages of one partition to their actors and collects
 * what they change and ask for. The caller's duties, per root record, in order:
 * 1. `root.set…`, `beginRoot`, then `deliver` (or `refuse`) the root itself.
 * 2. `drain` until it returns true; when it returns false, load `unloaded()` first, if any. It returns
 *    false at the end of a slice too.
 * 3. `settle`: "done" keeps the root's effects; "cut" has taken them back, and the batch ends before
 *    this root; "careful" asks to run the batch again from its start with exact sizes.
 *
 * Budget: a root may cause `budget` messages, itself included. Messages to its own partition are
 * handled in order of sending and take one each from what is left; at the end the rest is split
 * evenly among its sends to other partitions and its reminders due within `reminderRootMs` (later
 * ones are paced by time and start anew). What finds nothing left is a dead letter `budget_spent`.
 */
import { assert, InvalidError, messageOf } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { Activation, type ActivationTable } from "./activation.ts";
import { type Address, ADDRESS_BYTES_MAX, idOf, kindOf, partitionOf } from "./address.ts";
import type { Partition } from "./address.ts";
import type { Behaviours, Message } from "./behaviour.ts";
import { Changes } from "./changes.ts";
import { nextVersion, TurnContext, withoutReminder } from "./context.ts";
import { CommitFullError, type Effect, EffectBuffer, encodeBody, ROW_BYTES } from "./effects.ts";
import { deepFreeze, exactCost, readState, stateBytes, StateFullError } from "./actor_state.ts";
import { boundIdentity, Root } from "./root.ts";
import { createTraits, type Traits } from "./state_codec.ts";

export type EngineLimits = {
  readonly [
    Key in
      | "activationsMax"
      | "activationBytesMax"
      | "activationIdleMs"
      | "stateBytesMax"
      | "parksMax"
      | "parkWindowMs"
      | "deadLettersPerActorMax"
      | "remindersPerActorMax"
      | "commitBytesMax"
      | "commitKeysMax"
      | "transientEffectsMax"
      | "batchRecordsMax"
      | "batchMessagesMax"
  ]: number;
};

export type Settled = "done" | "cut" | "careful";

interface Refusal {
  readonly reason: string;
  readonly detail: string;
}

export class Turn {
  readonly root = new Root();
  readonly effects: EffectBuffer;
  readonly changes: Changes;
  readonly limits: EngineLimits;
  /** Sizes are taken after each change: exact and slow. */
  isCareful = false;
  /** Messages handled since `begin`. */
  messages = 0;
  /** Messages handled since the slice began; who runs it sets it back. */
  sliceMessages = 0;
  /** The root itself was parked. */
  isRootParked = false;
  /** Seconds, for idle times. */
  nowS = 0;
  readonly #behaviours: Behaviours;
  readonly #table: ActivationTable;
  readonly #context: TurnContext;
  readonly #isFreezing: boolean;
  #partition: Partition = 0;
  #actors: Map<Address, Activation> = new Map();
  // The mailbox of the root: what it sent within the partition, as parallel arrays.
  readonly #targets: (Activation | undefined)[] = [];
  readonly #addresses: Address[] = [];
  readonly #messages: Message[] = [];
  #head = 0;
  /** Messages that the root may still cause. */
  #pool = 0;
  #isFull = false;
  #isAlone = true;
  #effectsMark = 0;
  #changesMark = 0;
  #target: Activation | undefined;
  #reminder: string | undefined;

  constructor(
    behaviours: Behaviours,
    table: ActivationTable,
    limits: EngineLimits,
    isFreezing: boolean,
  ) {
    this.#behaviours = behaviours;
    this.#table = table;
    this.limits = limits;
    this.#isFreezing = isFreezing;
    this.effects = new EffectBuffer(limits);
    this.changes = new Changes(this.effects.usage);
    const post = (to: Address, message: Message) => this.#post(to, message);
    this.#context = new TurnContext(this.root, this.effects, post, limits.remindersPerActorMax);
  }

  /** Starts the commit of a partition. */
  begin(partition: Partition): void {
    this.#partition = partition;
    this.#actors = this.#table.of(partition);
    this.root.partition = partition;
    this.effects.truncate(0);
    this.changes.clear();
    this.messages = 0;
    const usage = this.effects.usage;
    usage.keys = usage.bytes = usage.transients = 0;
  }

  /** `reminder`: its name, if the root is a fired reminder of `target`. */
  beginRoot(target: Activation | undefined, budget: number, reminder?: string): void {
    this.#target = target;
    this.#reminder = reminder;
    this.#pool = budget;
    this.#isFull = false;
    this.#effectsMark = this.effects.list.length;
    this.#changesMark = this.changes.mark;
    this.#isAlone = this.#effectsMark === 0 && this.changes.dirty.length === 0;
    this.isRootParked = false;
    this.#truncateMailbox(0);
    this.#head = 0;
    if (reminder !== undefined && target !== undefined) this.#dropReminder(target, reminder);
  }

  get hasSliceEnded(): boolean {
    return this.sliceMessages >= LIMITS.engineSliceMessages;
  }

  get effectsMark(): number {
    return this.#effectsMark;
  }

  /** Hands the root to its actor. */
  deliverRoot(message: Message): void {
    if (this.#pool <= 0) return this.refuseRoot("budget_spent", "", this.#target!.address);
    this.#pool--;
    this.#deliver(this.#target!, message, 0);
  }

  /** Parks the root without handing it over. `counted`: the actor at fault. */
  refuseRoot(reason: string, detail: string, to: Address, counted?: Activation): void {
    this.#park(to, 0, { reason, detail }, undefined, counted);
  }

  /** Hands over what the root sent within the partition; false: there is more, after a pause. */
  drain(): boolean {
    while (this.#head < this.#messages.length && !this.#isFull) {
      const target = this.#targets[this.#head];
      const isMissing = target !== undefined && !target.isLoaded;
      if (isMissing || this.hasSliceEnded) return false;
      const message = this.#messages[this.#head]!;
      const to = this.#addresses[this.#head]!;
      const index = ++this.#head;
      if (this.#pool <= 0) {
        this.#park(to, index, { reason: "budget_spent", detail: "" }, message);
      } else {
        this.#pool--;
        if (target !== undefined) this.#deliver(target, message, index);
        else this.#park(to, index, { reason: "unknown_kind", detail: "" }, message);
      }
      this.#isFull ||= this.effects.isOver;
    }
    return true;
  }

  /** Targets of the mailbox that have to be loaded before `drain` can go on. */
  unloaded(): Activation[] {
    const missing = new Set<Activation>();
    for (let i = this.#head; i < this.#targets.length; i++) {
      const target = this.#targets[i];
      if (target !== undefined && !target.isLoaded) missing.add(target);
    }
    return [...missing];
  }

  settle(): Settled {
    this.#shareBudget();
    if (!this.#isFull && !this.effects.isOver) return "done";
    if (this.#isAlone && !this.isCareful) return "careful";
    this.changes.undo(this.#changesMark);
    this.effects.truncate(this.#effectsMark);
    this.#truncateMailbox(0);
    if (!this.#isAlone) return "cut";
    // Alone and still too large: parked in place, or the partition would stand still for ever.
    const target = this.#target!;
    if (this.#reminder !== undefined) this.#dropReminder(target, this.#reminder);
    const { commitBytesMax, commitKeysMax } = this.limits;
    const detail = `The effects of this record pass the commit bound: commitBytesMax is ` +
      `${commitBytesMax}, commitKeysMax is ${commitKeysMax}`;
    this.#park(target.address, 0, { reason: "commit_too_large", detail }, undefined, target);
    return "done";
  }

  /** Takes back everything since `begin`. */
  reset(): void {
    this.changes.undo(0);
    this.begin(this.#partition);
  }

  #deliver(activation: Activation, message: Message, index: number): void {
    this.messages++;
    this.sliceMessages++;
    activation.isRecent = true;
    activation.usedAtS = this.nowS;
    const { traits, behaviour } = activation;
    if (message.type === behaviour.renewedBy) this.#forgive(activation);
    else if (traits.isSuspended && !this.#resume(activation, index)) {
      this.#retrait(activation, { ...traits, suspendedLetters: traits.suspendedLetters + 1 });
      const detail = "Replay one of its dead letters to resume it";
      return this.#park(activation.address, index, { reason: "suspended", detail }, message);
    }
    if (activation.raw !== undefined) {
      const refusal = readState(activation, this.#isFreezing);
      if (refusal !== undefined) {
        const counted = refusal.reason === "threw" ? activation : undefined;
        return this.#park(activation.address, index, refusal, message, counted);
      }
    }
    // Nothing waits inside a partition: the second try follows at once, from the same state.
    let fault = this.#attempt(activation, message, index);
    if (fault === undefined || this.#isFull) return;
    fault = this.#attempt(activation, message, index);
    if (fault === undefined || this.#isFull) return;
    this.#park(activation.address, index, refusalOf(fault.thrown), message, activation);
  }

  #attempt(
    activation: Activation,
    message: Message,
    index: number,
  ): { readonly thrown: unknown } | undefined {
    const effectsMark = this.effects.list.length;
    const mailboxMark = this.#messages.length;
    const context = this.#context;
    try {
      // An initial state that nothing changed is not kept: it is made again when it is needed.
      const state = activation.state === undefined ? this.#initialOf(activation) : activation.state;
      context.open(activation, index);
      const next = activation.behaviour.receive(state, message, context);
      context.close();
      assert(next !== undefined, "receive returned undefined: it returns the next state");
      const isSame = next === state && context.version === activation.version &&
        context.traits === activation.traits;
      if (!isSame) this.#adopt(activation, next);
      return undefined;
    } catch (thrown) {
      context.close();
      this.effects.truncate(effectsMark);
      this.#truncateMailbox(mailboxMark);
      if (thrown instanceof CommitFullError) this.#isFull = true;
      return { thrown };
    }
  }

  #initialOf(activation: Activation): unknown {
    const state = activation.behaviour.initial(idOf(activation.address));
    return this.#isFreezing ? deepFreeze(state) : state;
  }

  /** `null` deletes the state. What it throws, it throws before anything has changed. */
  #adopt(activation: Activation, next: unknown): void {
    const context = this.#context;
    let cost = ROW_BYTES + activation.address.length + activation.bytes;
    if (next !== null && (this.isCareful || activation.bytes === 0)) {
      cost = ROW_BYTES + activation.address.length + stateBytes(next, this.limits.stateBytesMax);
    }
    this.changes.note(activation, cost);
    activation.state = next === null ? undefined : next;
    activation.raw = undefined;
    activation.traits = context.traits!;
    activation.version = context.version === activation.version
      ? nextVersion(activation.version, this.root.nowMs)
      : context.version;
    if (this.#isFreezing) deepFreeze(next);
    if (this.isCareful) this.changes.recost(activation, exactCost(activation));
  }

  #retrait(activation: Activation, traits: Traits): void {
    this.changes.note(activation, ROW_BYTES + activation.address.length + activation.bytes);
    activation.traits = createTraits(traits);
    activation.version = nextVersion(activation.version, this.root.nowMs);
    if (this.isCareful) this.changes.recost(activation, exactCost(activation));
  }

  #dropReminder(activation: Activation, name: string): void {
    // Also if the name is unknown: a new version tells this fire from others of name and due time.
    this.#retrait(activation, withoutReminder(activation.traits, name));
    this.root.reminderVersion = activation.version;
  }

  /** A replay says that an operator has looked at it. */
  #resume(activation: Activation, index: number): boolean {
    if (index !== 0 || this.root.firstId === undefined) return false;
    this.#forgive(activation);
    return true;
  }

  /** Forgets its parks and its suspension. */
  #forgive(activation: Activation): void {
    const { parks, isSuspended, reminders } = activation.traits;
    if (!isSuspended && parks.length === 0) return;
    this.#retrait(activation, { parks: [], isSuspended: false, suspendedLetters: 0, reminders });
  }

  /** `counted`: the actor at fault, suspended if it has parked too much. */
  #park(
    to: Address,
    index: number,
    refusal: Refusal,
    message: Message | undefined,
    counted?: Activation,
  ): void {
    const root = this.root;
    if (index === 0) this.isRootParked = true;
    const rootBody = root.body;
    const letter = {
      to,
      body: index === 0 && rootBody.length > 0 ? rootBody : bodyOf(message),
      isIngress: index === 0 && root.isIngress,
      acceptedAtMs: root.acceptedAtMs,
      recordId: root.idOf(index),
      reason: refusal.reason,
      detail: refusal.detail.slice(0, LIMITS.deadLetterDetailBytesMax),
      traceId: root.traceId,
    };
    this.effects.push({ type: "dead", letter });
    if (counted !== undefined) this.#countPark(counted);
  }

  #countPark(activation: Activation): void {
    const { parksMax, parkWindowMs } = this.limits;
    const nowMs = this.root.nowMs;
    const traits = activation.traits;
    const parks = traits.parks.filter((parkedAtMs) => parkedAtMs > nowMs - parkWindowMs);
    parks.push(nowMs);
    const isSuspended = parks.length >= parksMax;
    this.#retrait(activation, { ...traits, parks: isSuspended ? [] : parks, isSuspended });
  }

  #post(to: Address, message: Message): void {
    let target = this.#actors.get(to);
    if (target === undefined) {
      checkAddress(to);
      const behaviour = this.#behaviours.get(kindOf(to));
      if (behaviour !== undefined) {
        const partition = partitionOf(behaviour.placement, idOf(to));
        if (partition !== this.#partition) {
          const body = encodeBody(message, "send");
          const { traceId } = this.root;
          return this.effects.add({ type: "send", to, body, budget: 0, traceId });
        }
        target = new Activation(to, behaviour, partition);
        this.#table.add(target);
      }
    }
    // More than this would be dead letters past the commit's keys anyway.
    if (this.#messages.length >= LIMITS.budgetPerRootRecord + this.limits.commitKeysMax) {
      throw new CommitFullError("A root record sends more than its budget");
    }
    this.#targets.push(target);
    this.#addresses.push(to);
    this.#messages.push(this.#isFreezing ? deepFreeze(message) : message);
  }

  #shareBudget(): void {
    const list = this.effects.list;
    let count = 0;
    for (let i = this.#effectsMark; i < list.length; i++) {
      const effect = list[i]!;
      if ((effect.type === "send" || effect.type === "remind") && effect.budget === 0) count++;
    }
    if (count === 0) return;
    const share = Math.floor(this.#pool / count);
    let left = this.#pool;
    for (let i = this.#effectsMark, end = list.length; i < end; i++) {
      const effect = list[i]!;
      if (effect.type !== "send" && effect.type !== "remind" || effect.budget !== 0) continue;
      if (left > 0) {
        effect.budget = Math.max(1, share);
        left -= effect.budget;
        continue;
      }
      this.#spend(i, effect);
    }
  }

  /** A send or reminder that finds no budget is a dead letter in its place. */
  #spend(index: number, effect: Extract<Effect, { type: "send" | "remind" }>): void {
    const { to, body } = effect;
    const { root, effects } = this;
    const name = effect.type === "remind" ? effect.name : undefined;
    const letter = {
      to,
      body,
      isIngress: false,
      acceptedAtMs: root.acceptedAtMs,
      recordId: boundIdentity(`${root.id}.x${index - this.#effectsMark}`),
      reason: "budget_spent",
      detail: name === undefined ? "" : `reminder ${name}`,
      traceId: root.traceId,
    };
    if (name === undefined) return effects.replace(index, { type: "dead", letter });
    effects.replace(index, { type: "dead", letter, cancels: name });
    const isSetAgain = effects.list.some((later, i) =>
      i > index && later.type === "remind" && later.to === to && later.name === name
    );
    const actor = this.#actors.get(to)!;
    if (!isSetAgain) this.#retrait(actor, withoutReminder(actor.traits, name));
  }

  #truncateMailbox(length: number): void {
    // Setting a length costs more than handling a message, also where it changes nothing.
    if (this.#messages.length === length) return;
    this.#targets.length = length;
    this.#addresses.length = length;
    this.#messages.length = length;
  }
}

function refusalOf(fault: unknown): Refusal {
  const reason = fault instanceof StateFullError ? "state_full" : "threw";
  const stack = fault instanceof Error ? fault.stack : undefined;
  const message = messageOf(fault);
  return { reason, detail: stack === undefined ? message : `${message}\n${stack}` };
}

/** A message within the partition was never encoded; one that cannot be is named at least. */
function bodyOf(message: Message | undefined): Uint8Array {
  try {
    return encodeBody(message, "keep");
  } catch (fault) {
    return encodeBody({ type: String(message?.type), omitted: messageOf(fault) }, "keep");
  }
}

function checkAddress(to: Address): void {
  if (to.length > ADDRESS_BYTES_MAX || !/^[a-z][a-z0-9-]*\/[!-~]+$/.test(to)) {
    throw new InvalidError(`Cannot send to "${to.slice(0, 80)}": it is no address`);
  }
}
