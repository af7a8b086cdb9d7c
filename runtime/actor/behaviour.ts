/**
 * What an actor is. A behaviour is synchronous and pure: state and message in, next state out,
 * everything else asked for as an effect. No clock, no I/O, no randomness of its own.
 */
import type { Address, Placement } from "./address.ts";

/** A message of an actor: plain JSON with a `type`. Commands are imperative, facts past tense. */
export interface Message {
  readonly type: string;
}

/** JSON values, as they stand in states and messages. */
export type Json = null | boolean | number | string | readonly Json[] | {
  readonly [key: string]: Json | undefined;
};

/** What `receive` may look at and ask for. Effects of a record that throws are all dropped. */
export interface Context {
  readonly address: Address;
  /** `acceptedAt` of the record in hand, epoch milliseconds. Never falls within a partition. */
  readonly nowMs: number;
  /** Identity of the record: `{epoch}-{partition}-{offset}`; a replay keeps its first. */
  readonly recordId: string;
  /** Identity of the root record that caused this one, for traces. */
  readonly traceId: string;

  /** A message to another actor. Same partition: handled in the same commit; else relayed. */
  send(to: Address, message: Message): void;
  /** Appends to the own partition's log, for readers (telemetry, streams): events, derived data. */
  record(type: string, body: Json): void;
  /** A row of a read model, written by reader "views"; `undefined` deletes it. */
  project(view: string, key: string, row: Json | undefined): void;
  /** Sends `message` to this actor at `dueAtMs`; the same name again replaces it. */
  remind(name: string, dueAtMs: number, message: Message): void;
  cancelReminder(name: string): void;
  /** Answers an `ask`; nothing if nobody asked. Returns `state`, so that a case can end with it. */
  reply<State>(state: State, value: Json): State;
  /** To the connection of the device, if there is one when the commit is durable. Transient. */
  downlink(message: Message): void;
  /** To the live feed. Transient. */
  publish(topic: string, value: Json): void;
  /**
   * Work that waits (HTTP, SQL, inference): stored with the commit, run at least once after it. Its
   * result comes back as an `ActivityResult` message that carries `id` (may be empty; no slash).
   */
  activity(kind: string, id: string, input: Json): void;
}

export interface Behaviour<State = unknown, M extends Message = Message> {
  /** First part of the address: lower case. */
  readonly kind: string;
  readonly placement: Placement;
  /** Version of the shape of `State`. A node of version N-1 must be able to read N. */
  readonly stateVersion: number;
  /**
   * Type of the message after which the actor stands for something new. It is handed over also to a
   * suspended actor, and ends its suspension: what comes later must not suffer for what was before.
   */
  readonly renewedBy?: string;
  /** State of an actor that never had a message. */
  initial(id: string): State;
  /** Brings a state of an older version to `stateVersion`. Pure. */
  upgrade?(state: unknown, fromVersion: number): State;
  /** Next state; the same object if nothing changed; `null` deletes the state. */
  receive(state: State, message: M, context: Context): State;
}

/** The kinds that a node knows, by kind. */
export type Behaviours = ReadonlyMap<string, Behaviour>;

// deno-lint-ignore no-explicit-any -- each behaviour narrows Message to its own union
export function createBehaviours(list: readonly Behaviour<any, any>[]): Behaviours {
  return new Map(list.map((behaviour) => [behaviour.kind, behaviour]));
}
