/** Service calls of a device: made, waited for or queued, read, cancelled. */
import { z } from "@hono/zod-openapi";
import { ConflictError, InvalidError, NotFoundError } from "../../../runtime/errors.ts";
import { LIMITS } from "../../../runtime/limits.ts";
import type { Json } from "../../../runtime/actor/behaviour.ts";
import type { AnsweredCall, CallRequest } from "../../../actors/command/calls.ts";
import { CALL_STATUSES, commandAddress } from "../../../actors/command/messages.ts";
import { deviceAddress } from "../../../actors/device/messages.ts";
import { quote } from "../../../actors/registry/names.ts";
import { valueOf } from "../outcome_answers.ts";
import type { Caller, HttpPorts } from "../ports.ts";
import { ProblemError } from "../problem.ts";
import { definedOf } from "../request_input.ts";
import { answer, answerPage, noContent } from "../responses.ts";
import { createRoute, type Route } from "../route.ts";
import { CURSOR, DEVICE_PARAMS, LIMIT, name, pageOf, time, VALUE } from "../schemas.ts";
import { requireDevice } from "./device_access.ts";
import { assertNotSuspended } from "./suspension.ts";

const CALL_ID = name("Id of the call.", "q0t8Vn3dLxA1-b2C");
const STATUS = z.enum(CALL_STATUSES).openapi({
  description: "`queued`: waits for a connection. `sent`: waits for the answer. `answered`. " +
    "`failed`: answered with an error. `expired`: not answered in time. `cancelled`.",
  example: "answered",
});
const INPUT = z.record(z.string(), VALUE).openapi({
  description: `Input as the thing model has it, at most ${LIMITS.callInputBytesMax} B.`,
  example: { delay: 3 },
});
const TIMEOUT_MS = z.int().min(1).max(LIMITS.callTimeoutMsMax).openapi({
  description: `How long to wait for the answer, 1 to ${LIMITS.callTimeoutMsMax} ms; ` +
    "5,000 by default. The call expires with that.",
  example: 5_000,
});
const EXPIRES_AT = time(
  "Queues the call: it is sent when the device is there, and expires then. At most " +
    `${LIMITS.callExpiryMsMax / 86_400_000} days ahead.`,
);
const CALL = z.strictObject({
  input: INPUT.optional(),
  timeoutMs: TIMEOUT_MS.optional(),
  expiresAt: EXPIRES_AT.optional(),
}).refine(({ timeoutMs, expiresAt }) => timeoutMs === undefined || expiresAt === undefined, {
  error: "Cannot take both: timeoutMs waits for the answer, expiresAt queues the call",
  path: ["expiresAt"],
}).openapi("Call");
const ANSWERED = z.object({
  callId: CALL_ID,
  ok: z.boolean().openapi({ description: "Whether the device did it.", example: true }),
  output: VALUE.optional().describe("Output, if it did."),
  error: z.string().optional().openapi({
    description: "Why not, in the device's words.",
    example: "jammed",
  }),
}).openapi("CallAnswer");
const QUEUED = z.object({ callId: CALL_ID }).openapi("QueuedCall");
const ROW = z.object({
  callId: CALL_ID,
  product: name("Key of the product.", "pump"),
  device: name("Name within the product.", "p-1"),
  service: name("Name of the service.", "restart"),
  status: STATUS,
  mode: z.enum(["sync", "queued"]).openapi({
    description: "`sync`: its caller waited for the answer.",
    example: "sync",
  }),
  input: INPUT,
  output: VALUE.optional().describe("What it was answered with."),
  error: z.string().optional().openapi({ description: "Why it failed.", example: "jammed" }),
  createdAt: time("When it was made."),
  sentAt: time("When it was sent first.").optional(),
  answeredAt: time("When it was answered, or failed.").optional(),
  expiresAt: time("When it expires, or expired."),
  createdBy: z.string().openapi({ description: "Who made it.", example: "owner" }),
}).openapi("CallRow");
const EXAMPLE = {
  callId: "q0t8Vn3dLxA1-b2C",
  product: "pump",
  device: "p-1",
  service: "restart",
  status: "answered",
  mode: "sync",
  input: { delay: 3 },
  output: { at: 1_700_000_003_000 },
  createdAt: 1_700_000_000_000,
  sentAt: 1_700_000_000_008,
  answeredAt: 1_700_000_000_020,
  expiresAt: 1_700_000_005_000,
  createdBy: "owner",
};
const DEVICE_PATH = "/api/v1/devices/{product}/{device}";
const ONE_PARAMS = DEVICE_PARAMS.extend({ callId: CALL_ID });
const TIMEOUT_MS_DEFAULT = 5_000;
const RETRY_MS = 1_000;

export function callRoutes(ports: HttpPorts): Route[] {
  return [callService(ports), listCalls(ports), readCall(ports), cancelCall(ports)];
}

function callService(ports: HttpPorts): Route {
  return createRoute({
    method: "post",
    path: `${DEVICE_PATH}/services/{service}`,
    tag: "calls",
    summary: "Calls a service of a device",
    description:
      "Waits for the answer, or with `expiresAt` queues the call and returns at once. A " +
      "device may get a call more than once, under the same id. 504 says how the call stands, and " +
      "its id.",
    params: DEVICE_PARAMS.extend({ service: name("Name of the service.", "restart") }),
    body: CALL,
    isBodyOptional: true,
    bodyExample: { input: { delay: 3 }, timeoutMs: 5_000 },
    bodyBytesMax: LIMITS.payloadBytesMax,
    responses: {
      200: {
        description: "The device has answered.",
        schema: ANSWERED,
        example: { callId: EXAMPLE.callId, ok: true, output: EXAMPLE.output },
      },
      202: {
        description: "Queued; `Location` is where it stands.",
        schema: QUEUED,
        example: { callId: EXAMPLE.callId },
        headers: { Location: "Path of the call." },
      },
    },
    problems: [
      "not-found",
      "conflict",
      "suspended",
      "calls-full",
      "not-answered",
      "outcome-unknown",
    ],
    async handle({ params, body, caller }) {
      const { product, device, service } = params;
      const input = (body.input ?? {}) as Json;
      assertCallable(ports, caller, params, input);
      const request = { product, device, service, input, createdBy: caller!.name };
      if (body.expiresAt !== undefined) return await queue(ports, request, body.expiresAt);
      const timeoutMs = body.timeoutMs ?? TIMEOUT_MS_DEFAULT;
      return answerCall(await ports.calls.call(request, timeoutMs), timeoutMs);
    },
  });
}

function listCalls(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: `${DEVICE_PATH}/calls`,
    tag: "calls",
    summary: "Lists calls of a device",
    description:
      `Newest first; the last ${LIMITS.callsKeptMax} of a device are kept, and older ones ` +
      "that are open still.",
    params: DEVICE_PARAMS,
    query: z.strictObject({
      limit: LIMIT.optional(),
      cursor: CURSOR.optional(),
      status: STATUS.optional(),
    }),
    responses: {
      200: {
        description: "A page of calls.",
        schema: pageOf(ROW),
        example: { items: [EXAMPLE], nextCursor: null },
      },
    },
    problems: ["not-found"],
    async handle({ params, query, caller }) {
      await requireDevice(ports, caller, params);
      const { product, device } = params;
      const asked = { ...definedOf(query), product, device, limit: query.limit ?? 50 };
      const page = valueOf(await ports.calls.list(asked), "query.");
      return answerPage(page.items, page.nextCursor, undefined);
    },
  });
}

function readCall(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: `${DEVICE_PATH}/calls/{callId}`,
    tag: "calls",
    summary: "Reads a call",
    params: ONE_PARAMS,
    responses: { 200: { description: "The call.", schema: ROW, example: EXAMPLE } },
    problems: ["not-found"],
    async handle({ params, caller }) {
      await requireDevice(ports, caller, params);
      const { product, device, callId } = params;
      const row = await ports.calls.get(product, device, callId);
      if (row === undefined) throw new NotFoundError(`Cannot find call "${callId}"`);
      return answer(200, row);
    },
  });
}

function cancelCall(ports: HttpPorts): Route {
  return createRoute({
    method: "delete",
    path: `${DEVICE_PATH}/calls/{callId}`,
    tag: "calls",
    summary: "Cancels a call that is not answered",
    description: "A device that has it already may still do it. Twice is harmless.",
    params: ONE_PARAMS,
    responses: { 204: { description: "It is not open any more." } },
    problems: ["not-found", "conflict", "suspended", "outcome-unknown"],
    async handle({ params, caller }) {
      await requireDevice(ports, caller, params);
      const { product, device, callId } = params;
      assertNotSuspended(ports, commandAddress(product, device), "cancel the call");
      if (await ports.calls.cancel(product, device, callId)) return noContent();
      const row = await ports.calls.get(product, device, callId);
      if (row === undefined || row.status === "cancelled") return noContent();
      throw new ConflictError(`Cannot cancel call "${callId}": it is ${row.status}`);
    },
  });
}

/** @throws {NotFoundError | ConflictError | InvalidError | ProblemError} Why it is not called. */
function assertCallable(
  ports: HttpPorts,
  caller: Caller | undefined,
  { product, device, service }: {
    readonly product: string;
    readonly device: string;
    readonly service: string;
  },
  input: Json,
): void {
  // By a prepared look-up: calls come at hundreds a second, and nothing else of the device is needed.
  const standing = ports.standings.standing(product, device);
  if (standing === undefined || standing.project !== caller?.project) {
    throw new NotFoundError(`Cannot find device "${product}/${device}"`);
  }
  if (!ports.directory.hasService(product, service)) {
    throw new NotFoundError(`Cannot find service ${quote(service)}: the thing model has none`);
  }
  const issues = ports.directory.callIssues(product, service, "input", input);
  if (issues.length > 0) throw new InvalidError(issues[0]!.message, issues);
  if (!standing.isEnabled) {
    throw new ConflictError(`Cannot call a service of "${product}/${device}": it is disabled`);
  }
  const what = "call the service";
  assertNotSuspended(ports, deviceAddress(product, device), what);
  assertNotSuspended(ports, commandAddress(product, device), what);
}

async function queue(
  ports: HttpPorts,
  request: CallRequest,
  expiresAtMs: number,
): Promise<Response> {
  const aheadMs = expiresAtMs - ports.clock.nowMs();
  if (aheadMs <= 0 || aheadMs > LIMITS.callExpiryMsMax) {
    const bound = aheadMs <= 0
      ? "it is in the past"
      : `callExpiryMsMax is ${LIMITS.callExpiryMsMax} ms ahead`;
    const message = `Cannot accept ${expiresAtMs} as expiresAt: ${bound}`;
    throw new InvalidError(message, [{ path: "expiresAt", rule: "range", message }]);
  }
  const call = await ports.calls.queue(request, expiresAtMs);
  if (call.type !== "queued") return answerCall(call, LIMITS.httpAskMs);
  const { callId } = call;
  const { product, device } = request;
  const location = ["", "api/v1/devices", product, device, "calls", callId]
    .map((part, index) => index > 1 ? encodeURIComponent(part) : part).join("/");
  return answer(202, { callId }, { location });
}

/** @throws {ProblemError | InvalidError} For what was refused, or has no answer. */
function answerCall(call: AnsweredCall, timeoutMs: number): Response {
  if (call.type === "refused") {
    const { message } = call;
    if (call.code === "calls_full") {
      throw new ProblemError("calls-full", message, { retryAfterMs: RETRY_MS });
    }
    throw new InvalidError(message, [{ path: "input", rule: "size", message }]);
  }
  const { callId } = call;
  const members = { callId };
  if (call.type === "unknown") {
    const detail = `No word of call ${callId} yet: it may still be sent and answered. Read it`;
    throw new ProblemError("outcome-unknown", detail, { members });
  }
  if (call.answer !== undefined) {
    const { answer: said } = call;
    return answer(200, { callId, ...said });
  }
  if (call.status === "cancelled") {
    throw new ProblemError("conflict", `Call ${callId} was cancelled`, { members });
  }
  const how = call.sentAt === undefined
    ? "the device was not connected for calls, it was never sent"
    : "the device has it, and may still do it";
  const detail = `No answer to call ${callId} within ${timeoutMs} ms: ${how}`;
  throw new ProblemError("not-answered", detail, { members });
}
