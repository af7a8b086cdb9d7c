/**
 * Actors in memory. An actor is activated by its first message and passivated by count, by bytes of
 * state and by idle time; only committed actors may be passivated, so the caller sweeps between a
 * durable commit and the next batch.
 */
import { LIMITS } from "../limits.ts";
import type { Address, Partition } from "./address.ts";
import type { Behaviour } from "./behaviour.ts";
import { decodeEnvelope, type Envelope, NO_TRAITS, type Traits } from "./state_codec.ts";

/** A stored state that is not decoded yet, or that this node cannot read (`refusal`). */
export interface RawState {
  /** Absent if even the envelope is unreadable. */
  readonly envelope?: Envelope;
  /** Set once: why records of this actor are parked without being handed over. */
  refusal?: { readonly reason: string; readonly detail: string };
}

export class Activation {
  readonly address: Address;
  readonly behaviour: Behaviour;
  readonly partition: Partition;
  /** Undefined: no state yet (`initial` on the next message), or `raw` is set. */
  state: unknown = undefined;
  raw: RawState | undefined = undefined;
  /** 0: never changed. */
  version = 0;
  traits: Traits = NO_TRAITS;
  /** Encoded size at the last load or commit; 0: never stored. */
  bytes = 0;
  /** Seconds of the engine's monotonic time. */
  usedAtS = 0;
  /** Used since the sweep came by. */
  isRecent = true;
  isLoaded = false;
  /** The store has a row of it. */
  isStored = false;
  /** The last lifecycle event said that it is suspended. */
  isAnnounced = false;
  /** Position among the changed actors of the commit in hand; -1: unchanged. */
  dirtyIndex = -1;

  constructor(address: Address, behaviour: Behaviour, partition: Partition) {
    this.address = address;
    this.behaviour = behaviour;
    this.partition = partition;
  }

  /** Takes what the store has. Bytes that cannot be read park the actor's records, not the batch. */
  load(stored: Uint8Array | undefined): void {
    this.isLoaded = true;
    if (stored === undefined) return;
    this.isStored = true;
    this.bytes = stored.length;
    try {
      const envelope = decodeEnvelope(stored);
      this.version = envelope.version;
      this.traits = envelope.traits;
      this.isAnnounced = envelope.traits.isSuspended;
      if (envelope.json !== undefined) this.raw = { envelope };
    } catch (fault) {
      const reason = stored[0]! > 1 ? "newer_state" : "corrupt_state";
      this.raw = { refusal: { reason, detail: String(fault) } };
    }
  }
}

export interface PassivationLimits {
  readonly activationsMax: number;
  readonly activationBytesMax: number;
  readonly activationIdleMs: number;
}

/** Entries that a sweep looks at when no bound is passed: spreads the idle check over batches. */
const SWEEP_STEPS = 256;

export class ActivationTable {
  readonly #limits: PassivationLimits;
  readonly #partitions: (Map<Address, Activation> | undefined)[] = [];
  #count = 0;
  #bytes = 0;
  #handPartition = 0;
  #hand: Iterator<Activation> | undefined;

  constructor(limits: PassivationLimits = LIMITS) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#count;
  }

  /** Encoded bytes of the states in memory. */
  get bytes(): number {
    return this.#bytes;
  }

  of(partition: Partition): Map<Address, Activation> {
    return this.#partitions[partition] ??= new Map();
  }

  add(activation: Activation): void {
    this.of(activation.partition).set(activation.address, activation);
    this.#count++;
  }

  /** Call when `activation.bytes` changes. */
  resize(activation: Activation, bytes: number): void {
    this.#bytes += bytes - activation.bytes;
    activation.bytes = bytes;
  }

  load(activation: Activation, stored: Uint8Array | undefined): void {
    activation.load(stored);
    this.#bytes += activation.bytes;
  }

  forget(partition: Partition): void {
    const table = this.#partitions[partition];
    if (table === undefined) return;
    for (const activation of table.values()) this.#bytes -= activation.bytes;
    this.#count -= table.size;
    this.#partitions[partition] = undefined;
    this.#hand = undefined;
  }

  /**
   * Passivates: the idle ones it comes by, and while a bound is passed the ones not used since it
   * last came by (second chance). Returns how many.
   */
  sweep(nowS: number): number {
    const { activationsMax, activationBytesMax, activationIdleMs } = this.#limits;
    let passivated = 0;
    // Twice around at most: the first round may only take chances away.
    const stepsMax = 2 * this.#count + SWEEP_STEPS;
    for (let step = 0; step < stepsMax; step++) {
      const isOver = this.#count > activationsMax || this.#bytes > activationBytesMax;
      if (!isOver && step >= SWEEP_STEPS) break;
      const activation = this.#next();
      if (activation === undefined) break;
      const isIdle = (nowS - activation.usedAtS) * 1_000 >= activationIdleMs;
      if (isIdle || isOver && !activation.isRecent) {
        this.#passivate(activation);
        passivated++;
      }
      activation.isRecent = false;
    }
    return passivated;
  }

  #passivate(activation: Activation): void {
    this.of(activation.partition).delete(activation.address);
    this.#count--;
    this.#bytes -= activation.bytes;
  }

  /** The hand goes round all partitions. Map iterators live on while entries come and go. */
  #next(): Activation | undefined {
    for (let tries = 0; tries <= this.#partitions.length; tries++) {
      const turn = this.#hand?.next();
      if (turn !== undefined && !turn.done) return turn.value;
      this.#handPartition = (this.#handPartition + 1) % Math.max(1, this.#partitions.length);
      this.#hand = this.#partitions[this.#handPartition]?.values();
    }
    return undefined;
  }
}
