/**
 * `GET …/downlinks`: polls of devices that wait for service calls and desired values. Nothing is kept
 * here that could be lost: a poll looks at what the actors have committed, when it begins and each
 * time they say that there is something.
 */
import { z } from "@hono/zod-openapi";
import type { Clock } from "../../runtime/clock.ts";
import { TimeoutError, UnavailableError } from "../../runtime/errors.ts";
import { HTTP_LIMITS } from "../../runtime/http_limits.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Ingress } from "../../runtime/log/ingress.ts";
import type { Logger } from "../../runtime/logger.ts";
import { isToSend } from "../../actors/command/command_state.ts";
import {
  commandAddress,
  type CommandMessage,
  type CommandState,
  type FetchedCall,
  type FetchReply,
} from "../../actors/command/messages.ts";
import { deltaOf } from "../../actors/device/device_state.ts";
import { deviceAddress, type DeviceState, type Values } from "../../actors/device/messages.ts";
import { faultResponse } from "./device_faults.ts";
import type { DeviceGate } from "./device_gate.ts";
import type { DevicePoster } from "./device_logins.ts";
import { type PollSession, PollSessions, type SessionPorts } from "./poll_sessions.ts";
import { problemResponse } from "./problem.ts";
import { readQuery } from "./request_input.ts";
import { answer } from "./responses.ts";
import { wholeNumber } from "./schemas.ts";

export interface PollPorts extends SessionPorts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly ingress: Pick<Ingress, "ask" | "offer">;
  /** Committed state of a device's actor; undefined if it never had a message. */
  peekState(address: string): Promise<DeviceState | undefined>;
  /** Committed open calls of a device; undefined if there are none. */
  peekCalls(address: string): Promise<CommandState | undefined>;
}

export const DOWNLINKS_QUERY = z.strictObject({
  waitMs: wholeNumber(
    { min: 0, max: HTTP_LIMITS.pollMsMax },
    "How long to wait if there is nothing, milliseconds; 0 by default.",
    30_000,
  ).optional(),
  all: z.enum(["true", "false"], { error: "Cannot accept this: true or false" })
    .transform((text) => text === "true")
    .openapi({
      type: "boolean",
      description: "What was fetched before is offered again at once: for a device that has " +
        "started anew.",
      example: true,
    }).optional(),
});

interface Downlinks {
  readonly calls: readonly FetchedCall[];
  readonly desired: { readonly version: number; readonly values: Values } | undefined;
}

interface Poll {
  readonly session: PollSession;
  readonly instance: string;
  readonly remote: string;
  /** Monotonic. */
  readonly untilMs: number;
  isLooking: boolean;
  /** Something was said while it looked. */
  isDue: boolean;
  cancelTimer: (() => void) | undefined;
  /** Undefined: it has its answer. */
  resolve: ((response: Response) => void) | undefined;
}

/** Nobody reads it: the peer is gone. */
const GONE_STATUS = 499;
const RETRY_MS = 1_000;

export class DevicePolls implements Disposable {
  readonly #ports: PollPorts;
  readonly #gate: Pick<DeviceGate, "unauthorized" | "disabled">;
  readonly #sessions: PollSessions;
  /** Waiting ones by `{product}/{device}`. */
  readonly #polls = new Map<string, Poll>();
  #isClosed = false;

  constructor(ports: PollPorts, gate: Pick<DeviceGate, "unauthorized" | "disabled">) {
    this.#ports = ports;
    this.#gate = gate;
    this.#sessions = new PollSessions(ports);
  }

  get waiting(): number {
    return this.#polls.size;
  }

  /** One of a device; a second one ends the first. */
  start(
    request: Request,
    poster: DevicePoster,
    instance: string,
    remote: string,
  ): Promise<Response> | Response {
    const { clock, logger } = this.#ports;
    let query;
    try {
      query = readQuery(DOWNLINKS_QUERY, new URL(request.url));
      if (this.#isClosed) throw new UnavailableError("gateway", "This node is closing");
    } catch (fault) {
      return faultResponse(fault, instance, logger);
    }
    const { waitMs = 0, all = false } = query;
    const older = this.#polls.get(poster.key);
    if (older === undefined && this.#polls.size >= HTTP_LIMITS.pollsMax) {
      const detail = `Cannot wait for downlinks: pollsMax is ${HTTP_LIMITS.pollsMax}`;
      return problemResponse("overloaded", detail, instance, { retryAfterMs: RETRY_MS });
    }
    if (older !== undefined) this.#supersede(older);
    return new Promise((resolve) => {
      const session = this.#sessions.begin(poster);
      if (all) forgetFetched(session);
      const untilMs = clock.monotonicMs() + waitMs;
      const state = { isLooking: false, isDue: false, cancelTimer: undefined };
      const poll: Poll = { session, instance, remote, untilMs, ...state, resolve };
      this.#polls.set(poster.key, poll);
      const { signal } = request;
      signal.addEventListener("abort", () => this.#abandon(poll), { once: true });
      if (signal.aborted) this.#abandon(poll);
      else void this.#look(poll);
    });
  }

  /** Something was committed for the device. */
  wake(product: string, device: string): void {
    const poll = this.#polls.get(`${product}/${device}`);
    if (poll !== undefined) void this.#look(poll);
  }

  /** What was said may be lost: with a thread of the log. */
  wakeAll(): void {
    for (const poll of [...this.#polls.values()]) void this.#look(poll);
  }

  /** The device was disabled, deleted, or has another secret. */
  revoke(product: string, device: string, reason: string): void {
    const key = `${product}/${device}`;
    const poll = this.#polls.get(key);
    if (poll !== undefined) {
      const isDisabled = reason === "device_disabled";
      const { instance } = poll;
      const told = isDisabled ? this.#gate.disabled(instance) : this.#gate.unauthorized(instance);
      this.#finish(poll, told);
    }
    this.#sessions.end(key, reason === "device_deleted" ? undefined : reason);
  }

  /** Ends all, for good; their devices come back to the next start. Twice is harmless. */
  [Symbol.dispose](): void {
    this.#isClosed = true;
    for (const poll of [...this.#polls.values()]) {
      const options = { retryAfterMs: RETRY_MS, headers: { connection: "close" } };
      const { instance } = poll;
      this.#finish(poll, problemResponse("unavailable", "This node is closing", instance, options));
    }
    this.#sessions[Symbol.dispose]();
  }

  /** Looks, and answers if there is something; once more if something was said meanwhile. */
  async #look(poll: Poll): Promise<void> {
    poll.isDue = true;
    if (poll.isLooking) return;
    poll.isLooking = true;
    try {
      while (poll.isDue && poll.resolve !== undefined) {
        poll.isDue = false;
        const found = await this.#find(poll);
        if (found !== undefined) this.#answer(poll, found);
      }
      if (poll.resolve !== undefined) this.#wait(poll);
    } catch (fault) {
      this.#fetchAgain(poll.session); // What was fetched with it nobody has.
      const { instance } = poll;
      const problem = fault instanceof TimeoutError
        ? problemResponse("unavailable", "Cannot fetch the calls now: no answer in time", instance)
        : faultResponse(fault, instance, this.#ports.logger);
      this.#finish(poll, problem);
    } finally {
      poll.isLooking = false;
    }
  }

  async #find(poll: Poll): Promise<Downlinks | undefined> {
    const { clock, ingress } = this.#ports;
    const { session, remote } = poll;
    const { product, device } = session.poster;
    const commands = commandAddress(product, device);
    const [state, open] = await Promise.all([
      this.#ports.peekState(deviceAddress(product, device)),
      this.#ports.peekCalls(commands),
    ]);
    if (poll.resolve === undefined) return undefined;
    this.#sessions.link(session, state, remote);
    const desired = this.#desiredOf(session, state);
    const name = this.#sessions.callSession(session);
    const nowMs = clock.nowMs();
    const isDue = open?.calls.some((call) =>
      call.expiresAtMs > nowMs && isToSend(call, name, false)
    );
    if (!isDue) return desired === undefined ? undefined : { calls: [], desired };
    const message: CommandMessage = { type: "fetch", session: name };
    const reply = await ingress.ask(commands, message, { timeoutMs: LIMITS.httpAskMs });
    const { calls } = reply as FetchReply;
    return calls.length === 0 && desired === undefined ? undefined : { calls, desired };
  }

  /** What differs, unless it was handed out just now and may still be reported. */
  #desiredOf(session: PollSession, state: DeviceState | undefined): Downlinks["desired"] {
    const values = state && deltaOf(state);
    if (state === undefined || values === undefined) {
      session.offered = undefined;
      return undefined;
    }
    const { version } = state;
    const { offered } = session;
    const isFetched = offered?.version === version &&
      offered.againAtMs > this.#ports.clock.monotonicMs();
    return isFetched ? undefined : { version, values };
  }

  #answer(poll: Poll, { calls, desired }: Downlinks): void {
    const { session } = poll;
    if (poll.resolve === undefined) { // It ended while its calls were fetched.
      this.#fetchAgain(session);
      return;
    }
    if (desired !== undefined) {
      const { version } = desired;
      const before = session.offered?.version === version ? session.offered.pauseMs : 0;
      const pauseMs = Math.min(LIMITS.callResendMsMax, Math.max(LIMITS.callResendMs, 2 * before));
      const againAtMs = this.#ports.clock.monotonicMs() + pauseMs;
      session.offered = { version, pauseMs, againAtMs };
    }
    this.#finish(poll, answerOf(calls, desired));
  }

  /** What a poll that has ended fetched: the one that took its place may wait for just that. */
  #fetchAgain(session: PollSession): void {
    forgetFetched(session);
    const current = this.#polls.get(session.poster.key);
    if (current?.session === session) void this.#look(current);
  }

  /** Until its time is over, or what was handed out is to be offered again. */
  #wait(poll: Poll): void {
    const { clock } = this.#ports;
    const leftMs = poll.untilMs - clock.monotonicMs();
    if (leftMs <= 0) {
      this.#finish(poll, answerOf([], undefined));
      return;
    }
    const againMs = (poll.session.offered?.againAtMs ?? Infinity) - clock.monotonicMs();
    poll.cancelTimer?.();
    poll.cancelTimer = clock.after(Math.max(1, Math.min(leftMs, againMs)), () => {
      void this.#look(poll);
    });
  }

  #supersede(poll: Poll): void {
    const detail = "Another poll of the device has taken the place of this one";
    const options = { retryAfterMs: RETRY_MS };
    this.#finish(poll, problemResponse("superseded", detail, poll.instance, options));
  }

  #abandon(poll: Poll): void {
    if (poll.resolve === undefined) return;
    this.#finish(poll, new Response(null, { status: GONE_STATUS }));
  }

  #finish(poll: Poll, response: Response): void {
    const { resolve, session } = poll;
    if (resolve === undefined) return;
    poll.resolve = undefined;
    poll.cancelTimer?.();
    this.#polls.delete(session.poster.key);
    this.#sessions.rest(session);
    resolve(response);
  }
}

/** What was fetched may not have arrived: it is to be fetched again. */
function forgetFetched(session: PollSession): void {
  session.generation++;
  session.offered = undefined;
}

function answerOf(calls: readonly FetchedCall[], desired: Downlinks["desired"]): Response {
  const told = calls.map(({ callId, service, input, expiresAtMs }) => {
    return { callId, service, input, expiresAt: expiresAtMs };
  });
  return answer(200, { calls: told, desired: desired ?? null });
}
