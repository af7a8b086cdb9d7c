/** Messages of the actor `command/{product}/{device}`, which has the open service calls of a device. */
import type { Json, Message } from "../../runtime/actor/behaviour.ts";

/** `queued` and `sent` are open; the others are final. */
export type CallStatus = "queued" | "sent" | "answered" | "failed" | "expired" | "cancelled";

export const CALL_STATUSES: readonly CallStatus[] = [
  "queued",
  "sent",
  "answered",
  "failed",
  "expired",
  "cancelled",
];

/** `sync`: its caller waits for the answer. */
export type CallMode = "sync" | "queued";

/** What a device says to a call. */
export type CallAnswer =
  | { readonly ok: true; readonly output: Json }
  | { readonly ok: false; readonly error: string };

export type CommandMessage =
  /** Asked by the API; answered by `CallReply`. The same id again is the same call. */
  | {
    readonly type: "call";
    readonly callId: string;
    readonly service: string;
    readonly input: Json;
    readonly mode: CallMode;
    /** Epoch milliseconds. */
    readonly expiresAtMs: number;
    /** Name of who called, for people. */
    readonly createdBy: string;
  }
  /** Asked by the API; answered by `CancelReply`. */
  | { readonly type: "cancel"; readonly callId: string }
  /**
   * The device's actor says that its connection takes calls. `isNew`: what was sent to it before may
   * not have arrived.
   */
  | { readonly type: "linked"; readonly session: string; readonly isNew: boolean }
  /**
   * The device's answer. One to a call that is not open any more is late, and ignored. If it is asked
   * by a gateway, instead of passed on by the device's actor, it has the service too, and is answered
   * by `AnsweredReply`.
   */
  | {
    readonly type: "answered";
    readonly callId: string;
    readonly answer: CallAnswer;
    readonly service?: string;
  }
  /**
   * Asked by a gateway whose device comes and fetches: what is to be sent to this connection counts as
   * sent. Answered by `FetchReply`.
   */
  | { readonly type: "fetch"; readonly session: string }
  /** The reminder: something expires or is to be sent again. */
  | { readonly type: "due" }
  /** The device was deleted. */
  | { readonly type: "removed" };

export type CallReply =
  | { readonly ok: true; readonly status: CallStatus }
  | { readonly ok: false; readonly code: "calls_full" | "too_large"; readonly message: string };

export type CancelReply = { readonly isCancelled: boolean };

/** False: there is no such call, or it is not open any more. */
export type AnsweredReply = { readonly isOpen: boolean };

export type FetchReply = { readonly calls: readonly FetchedCall[] };

export type FetchedCall = Pick<OpenCall, "callId" | "service" | "input" | "expiresAtMs">;

/** An open call. */
export interface OpenCall {
  readonly callId: string;
  readonly service: string;
  readonly input: Json;
  readonly mode: CallMode;
  readonly createdBy: string;
  /** Epoch milliseconds, as all times here. */
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  /** Bytes of `input` as JSON. */
  readonly inputBytes: number;
  /** When it was sent first; absent: never. */
  readonly sentAtMs?: number;
  readonly sends: number;
  /** Connection that it was sent to last. */
  readonly session?: string;
  /** Absent: as soon as there is a connection. */
  readonly resendAtMs?: number;
}

export interface CommandState {
  /** In order of creation: in this order they are sent. At most `callsPerDeviceMax`. */
  readonly calls: readonly OpenCall[];
  /** When the reminder is due; at or before the first expiry and the first repeat. */
  readonly dueAtMs?: number;
}

/** Row of view `calls`, key `{product}/{device}/{callId}`; also what the live feed tells. */
export interface CallRow {
  readonly callId: string;
  readonly product: string;
  readonly device: string;
  readonly service: string;
  readonly status: CallStatus;
  readonly mode: CallMode;
  readonly input: Json;
  /** What it was answered with. */
  readonly output?: Json;
  /** Why it failed, as the device said it. */
  readonly error?: string;
  readonly createdAt: number;
  /** When it was sent first. */
  readonly sentAt?: number;
  /** When it was answered, or failed. */
  readonly answeredAt?: number;
  readonly expiresAt: number;
  readonly createdBy: string;
}

export const CALLS = "calls";

export function commandAddress(product: string, device: string): string {
  return `command/${product}/${device}`;
}

/** Before the id: topic by which the actor tells who waits how a call ended. Transient. */
export const CALL_TOPIC = "call/";

/** Value of that topic. */
export interface CallEnd {
  readonly status: CallStatus;
  readonly answer?: CallAnswer;
  /** Absent: it never was sent. */
  readonly sentAt?: number;
}

/** Compile-time proof that every message is a `Message`. */
export type _Check = CommandMessage extends Message ? true : never;
