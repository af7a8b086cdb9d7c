/** Answers of devices to service calls over HTTP: asked of the calls' actor, which knows what is open. */
import {
  type AnsweredReply,
  type CallRow,
  commandAddress,
  type CommandMessage,
} from "../../actors/command/messages.ts";
import type { Calls } from "../../actors/command/calls.ts";
import type { DeviceDirectory } from "../../actors/device/directory.ts";
import { factsOf, type MessageTraces } from "../../actors/device/message_traces.ts";
import { readReply } from "../../actors/device/uplink_reply.ts";
import type { Clock } from "../../runtime/clock.ts";
import { TimeoutError } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Ingress } from "../../runtime/log/ingress.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { DevicePoster } from "./device_logins.ts";
import { faultResponse } from "./device_faults.ts";
import { problemResponse } from "./problem.ts";

export interface ReplyPorts {
  readonly clock: Clock;
  readonly traces: Pick<MessageTraces, "accept" | "refuse">;
  readonly directory: DeviceDirectory;
  readonly ingress: Pick<Ingress, "ask">;
  readonly calls: Pick<Calls, "get">;
  readonly logger: Logger;
  readonly countRefused: (reason: string) => void;
}

export interface CallNames {
  readonly service: string;
  readonly callId: string;
}

const JSON_TYPE = { "content-type": "application/json" };
const WAS: Readonly<Record<CallRow["status"], string>> = {
  queued: "is not open any more",
  sent: "is not open any more",
  answered: "was answered already",
  failed: "was answered already, with an error",
  expired: "has expired",
  cancelled: "was cancelled",
};

/** As it would be over MQTT, after the device's prefix. */
export function replyTopic({ service, callId }: CallNames): string {
  return `services/${service}/${callId}/reply`;
}

export class DeviceReplies {
  readonly #ports: ReplyPorts;

  constructor(ports: ReplyPorts) {
    this.#ports = ports;
  }

  /** Answers 202 once the call has ended with it. Never rejects. */
  async take(
    poster: DevicePoster,
    { service, callId }: CallNames,
    bytes: Uint8Array,
    instance: string,
  ): Promise<Response> {
    const { directory, ingress, countRefused, logger, clock, traces } = this.#ports;
    const { product, device } = poster;
    const topic = replyTopic({ service, callId });
    const size = bytes.length;
    const refuse = (reason: string, detail: string) =>
      traces.refuse(poster, "http", topic, size, clock.nowMs(), { reason, detail });
    const read = readReply(bytes, service, directory, product);
    if (!read.ok) {
      countRefused(read.code);
      refuse(read.code, read.detail);
      const errors = [{ path: "", rule: read.code, message: read.detail }];
      const code = read.code === "too_large" ? "too-large" : "invalid";
      return problemResponse(code, read.detail, instance, { errors });
    }
    const { answer, refused } = read;
    const message: CommandMessage = { type: "answered", callId, answer, service };
    const timeoutMs = LIMITS.httpAskMs;
    const facts = factsOf(refused);
    const offeredMs = clock.nowMs();
    // Traced once the actor has said whether the call was open.
    let accept = () => {};
    const onOffered = (append: number, index: number) => {
      accept = () => traces.accept(poster, "http", topic, size, offeredMs, append, facts, index);
    };
    try {
      const options = { timeoutMs, onOffered };
      const reply = await ingress.ask(commandAddress(product, device), message, options);
      if (!(reply as AnsweredReply).isOpen) {
        return await this.#notOpen(product, device, { service, callId }, instance, refuse);
      }
      accept();
    } catch (fault) {
      if (!(fault instanceof TimeoutError)) return faultResponse(fault, instance, logger);
      accept();
      const detail = `No word of the answer yet (httpAskMs is ${timeoutMs}): it may still be ` +
        "taken. Send it again";
      return problemResponse("not-acknowledged", detail, instance);
    }
    for (const issue of refused) countRefused(`point_${issue.rule}`);
    return refused.length === 0
      ? new Response('{"accepted":1}', { status: 202, headers: JSON_TYPE })
      : new Response(JSON.stringify({ accepted: 1, refused }), { status: 207, headers: JSON_TYPE });
  }

  async #notOpen(
    product: string,
    device: string,
    { service, callId }: CallNames,
    instance: string,
    trace: (reason: string, detail: string) => void,
  ): Promise<Response> {
    const row = await this.#ports.calls.get(product, device, callId);
    if (row === undefined || row.service !== service) {
      this.#ports.countRefused("call_unknown");
      const detail = `Cannot find call "${callId}" of service "${service}" of this device`;
      trace("call_unknown", detail);
      return problemResponse("not-found", detail, instance);
    }
    this.#ports.countRefused("call_ended");
    const { status } = row;
    const detail = `Cannot take the answer: call ${callId} ${WAS[status]}`;
    trace("call_ended", detail);
    return problemResponse("call-ended", detail, instance, { members: { callId, was: status } });
  }
}
