/** Service calls as the API makes them: asked of the device's command actor, and waited for. */
import { Buffer } from "node:buffer";
import type { Json, Message } from "../../runtime/actor/behaviour.ts";
import type { Clock } from "../../runtime/clock.ts";
import { OverloadedError, TimeoutError } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Random } from "../../runtime/random.ts";
import { decodeCursor, encodeCursor } from "../registry/cursor.ts";
import { BAD_CURSOR } from "../registry/conditions.ts";
import { accepted, invalid, type Outcome, type Page } from "../registry/outcome.ts";
import type { CallQuery } from "./call_rows.ts";
import {
  CALL_TOPIC,
  type CallAnswer,
  type CallEnd,
  type CallMode,
  type CallReply,
  type CallRow,
  type CallStatus,
  type CancelReply,
  commandAddress,
  type CommandMessage,
} from "./messages.ts";

export interface CallRequest {
  readonly product: string;
  readonly device: string;
  readonly service: string;
  /** Checked against the thing model by the caller. */
  readonly input: Json;
  /** For people; the first 64 characters are kept. */
  readonly createdBy: string;
}

export type QueuedCall =
  | { readonly type: "queued"; readonly callId: string }
  | UnknownCall
  | RefusedCall;

export type AnsweredCall =
  | {
    readonly type: "ended";
    readonly callId: string;
    readonly status: CallStatus;
    /** Present if it was answered or has failed. */
    readonly answer?: CallAnswer;
    /** Absent: it never was sent. */
    readonly sentAt?: number;
  }
  | UnknownCall
  | RefusedCall;

/** Its actor said nothing in time: read the call later. */
interface UnknownCall {
  readonly type: "unknown";
  readonly callId: string;
}

interface RefusedCall {
  readonly type: "refused";
  readonly code: "calls_full" | "too_large";
  readonly message: string;
}

export interface CallList {
  readonly product: string;
  readonly device: string;
  readonly status?: CallStatus;
  readonly limit: number;
  readonly cursor?: string;
}

export interface CallsOptions {
  readonly ask: (
    address: string,
    message: Message,
    options: { timeoutMs: number },
  ) => Promise<unknown>;
  /** The view, with all that was committed before the question, if it is not far behind. */
  readonly rows: (query: CallQuery) => Promise<readonly CallRow[]>;
  readonly clock: Clock;
  readonly random: Random;
}

const ID_BYTES = 12;
const CREATOR_CHARACTERS_MAX = 64;
/** What the actor's word that a call has expired may come late. */
const GRACE_MS = 1_000;

export class Calls {
  readonly #options: CallsOptions;
  readonly #waiting = new Map<string, (end: CallEnd | undefined) => void>();

  constructor(options: CallsOptions) {
    this.#options = options;
  }

  /** @throws {OverloadedError} There is no room for it. */
  async queue(request: CallRequest, expiresAtMs: number): Promise<QueuedCall> {
    const message = this.#message(request, "queued", expiresAtMs);
    const { callId } = message;
    try {
      const reply = await this.#ask(request, message, LIMITS.httpAskMs) as CallReply;
      return reply.ok ? { type: "queued", callId } : { type: "refused", ...reply };
    } catch (fault) {
      if (fault instanceof TimeoutError) return { type: "unknown", callId };
      throw fault;
    }
  }

  /**
   * Waits for the answer of the device, and lets the call expire with that.
   * @throws {OverloadedError} There is no room for it.
   */
  async call(request: CallRequest, timeoutMs: number): Promise<AnsweredCall> {
    if (this.#waiting.size >= LIMITS.callsWaitingMax) {
      const bound = `callsWaitingMax is ${LIMITS.callsWaitingMax}`;
      throw new OverloadedError(`Cannot wait for one more call: ${bound}`, 1_000);
    }
    const message = this.#message(request, "sync", this.#options.clock.nowMs() + timeoutMs);
    const { callId } = message;
    const ended = this.#ended(callId, timeoutMs + GRACE_MS);
    const asked = this.#ask(request, message, timeoutMs + 2 * GRACE_MS);
    asked.catch(() => {}); // It may fail after the end: nobody waits for it any more.
    try {
      const first = await Promise.race([asked, ended]) as CallReply | CallEnd | undefined;
      if (first !== undefined && "ok" in first && !first.ok) return { type: "refused", ...first };
      const end = await ended ?? await this.#lookUp(request, callId);
      return end === undefined ? { type: "unknown", callId } : { type: "ended", callId, ...end };
    } finally {
      this.#waiting.get(callId)?.(undefined);
    }
  }

  /** The call as it is now; undefined: there is none, or none any more. */
  async get(product: string, device: string, callId: string): Promise<CallRow | undefined> {
    return (await this.#options.rows({ product, device, callId, limit: 1 }))[0];
  }

  /** Newest first. Refuses a cursor that is none. */
  async list({ cursor, limit, ...query }: CallList): Promise<Outcome<Page<CallRow>>> {
    const before = cursor === undefined ? undefined : momentOf(cursor);
    if (cursor !== undefined && before === undefined) return invalid([BAD_CURSOR]);
    const rows = await this.#options.rows({
      ...query,
      ...(before === undefined ? undefined : { before }),
      limit: limit + 1,
    });
    const items = rows.slice(0, limit);
    const last = items.at(-1);
    const nextCursor = rows.length > limit
      ? encodeCursor([String(last!.createdAt), last!.callId])
      : null;
    return accepted({ items, nextCursor });
  }

  /** False: it is not open. @throws {TimeoutError | OverloadedError} As `Ingress.ask`. */
  async cancel(product: string, device: string, callId: string): Promise<boolean> {
    const message: CommandMessage = { type: "cancel", callId };
    const reply = await this.#ask({ product, device }, message, LIMITS.httpAskMs);
    return (reply as CancelReply).isCancelled;
  }

  /** To be called with what actors publish. False: the topic is none of a call. */
  settle(topic: string, value: Json): boolean {
    if (!topic.startsWith(CALL_TOPIC)) return false;
    this.#waiting.get(topic.slice(CALL_TOPIC.length))?.(value as unknown as CallEnd);
    return true;
  }

  #message(request: CallRequest, mode: CallMode, expiresAtMs: number) {
    const callId = Buffer.from(this.#options.random.bytes(ID_BYTES)).toString("base64url");
    const { service, input } = request;
    const createdBy = request.createdBy.slice(0, CREATOR_CHARACTERS_MAX).toWellFormed();
    return {
      type: "call",
      callId,
      service,
      input,
      mode,
      expiresAtMs,
      createdBy,
    } as const satisfies CommandMessage;
  }

  #ask(
    { product, device }: { readonly product: string; readonly device: string },
    message: CommandMessage,
    timeoutMs: number,
  ): Promise<unknown> {
    return this.#options.ask(commandAddress(product, device), message, { timeoutMs });
  }

  /** Resolves with how the call ended, or with undefined when time is up. */
  #ended(callId: string, withinMs: number): Promise<CallEnd | undefined> {
    return new Promise((resolve) => {
      const settle = (end: CallEnd | undefined) => {
        cancel();
        this.#waiting.delete(callId);
        resolve(end);
      };
      const cancel = this.#options.clock.after(withinMs, () => settle(undefined));
      this.#waiting.set(callId, settle);
    });
  }

  /** What was told may be lost with a thread; the view has it. */
  async #lookUp(
    { product, device }: CallRequest,
    callId: string,
  ): Promise<CallEnd | undefined> {
    const row = await this.get(product, device, callId);
    if (row === undefined || row.status === "queued" || row.status === "sent") return undefined;
    const { status, sentAt, output = {}, error = "" } = row;
    const sent = sentAt === undefined ? undefined : { sentAt };
    if (status === "answered") return { status, ...sent, answer: { ok: true, output } };
    return { status, ...sent, ...(status === "failed" && { answer: { ok: false, error } }) };
  }
}

function momentOf(cursor: string): CallQuery["before"] {
  const [createdAt, callId] = decodeCursor(cursor, 2) ?? [];
  if (createdAt === undefined || callId === undefined) return undefined;
  return /^\d{1,15}$/.test(createdAt) ? { createdAt: Number(createdAt), callId } : undefined;
}
