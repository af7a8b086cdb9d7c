/** Current values of a device, and what it should have. Reads peek; a write asks the actor. */
import { z } from "@hono/zod-openapi";
import { ConflictError, InvalidError, type Issue } from "../../../runtime/errors.ts";
import { LIMITS } from "../../../runtime/limits.ts";
import { deltaOf } from "../../../actors/device/device_state.ts";
import {
  deviceAddress,
  type DeviceMessage,
  type ShadowReply,
  type TimedValue,
  type Values,
} from "../../../actors/device/messages.ts";
import type { HttpPorts } from "../ports.ts";
import { ProblemError } from "../problem.ts";
import { answer, preconditionFailed } from "../responses.ts";
import { createRoute, type Route } from "../route.ts";
import { DEVICE_PARAMS, NAME, time, VALUE, VALUES } from "../schemas.ts";
import { requireDevice } from "./device_access.ts";
import { assertNotSuspended } from "./suspension.ts";

const TIMED = z.object({ value: VALUE, at: time("Time of the value.") });
const TIMED_VALUES = z.record(z.string(), TIMED);
const TIMED_EXAMPLE = { temperature: { value: 21.5, at: 1_700_000_000_000 } };
const VERSION = z.int().min(0).openapi({
  description: "Rises with every change of desired, from 0; also the `ETag`.",
  example: 7,
});
const SHADOW = z.object({
  version: VERSION,
  desired: TIMED_VALUES.describe("What the device should have, by property."),
  reported: TIMED_VALUES.describe("What it said last, by property."),
  delta: VALUES.describe("Desired values that differ from reported ones."),
  misfits: z.array(z.object({
    path: z.string().describe("The property, and where in its value: `position.x`."),
    rule: z.string().describe("The rule that it breaks, a constant: `max`, `unknown`."),
    message: z.string().describe("What does not fit, the bound and the value."),
  })).optional().describe(
    "Desired values that the thing model has stopped to accept. They stay, and are sent, until they " +
      "are set anew or removed by null. Absent: there are none.",
  ),
}).openapi("Shadow");
const SHADOW_EXAMPLE = {
  version: 7,
  desired: { on: { value: false, at: 1_700_000_000_000 } },
  reported: { on: { value: true, at: 1_699_999_990_000 } },
  delta: { on: false },
};
const DESIRE = z.strictObject({
  desired: z.record(NAME, VALUE).openapi({
    description: "Desired values by property; null removes one.",
    example: { on: false },
  }),
  version: VERSION.optional().describe("Refused with 409 if another one is stored."),
}).openapi("Desire");
const NEVER_SEEN = { version: 0, desired: {}, reported: {} };
const PATH = "/api/v1/devices/{product}/{device}";
const ETAG = { ETag: "`version`, in quotes." };

export function shadowRoutes(ports: HttpPorts): Route[] {
  return [readProperties(ports), readShadow(ports), desire(ports)];
}

function readProperties(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: `${PATH}/properties`,
    tag: "shadow",
    summary: "Reads the current values",
    description: "The last value of each property that the device reported.",
    params: DEVICE_PARAMS,
    responses: {
      200: { description: "By property.", schema: TIMED_VALUES, example: TIMED_EXAMPLE },
    },
    problems: ["not-found"],
    async handle({ params, caller }) {
      await requireDevice(ports, caller, params);
      const state = await ports.peekState(deviceAddress(params.product, params.device));
      return answer(200, state?.reported ?? {});
    },
  });
}

function readShadow(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: `${PATH}/shadow`,
    tag: "shadow",
    summary: "Reads desired and reported values",
    params: DEVICE_PARAMS,
    responses: {
      200: { description: "The shadow.", schema: SHADOW, example: SHADOW_EXAMPLE, headers: ETAG },
    },
    problems: ["not-found"],
    async handle({ params, caller }) {
      await requireDevice(ports, caller, params);
      const state = await ports.peekState(deviceAddress(params.product, params.device));
      const { version, desired, reported } = state ?? NEVER_SEEN;
      const delta = (state && deltaOf(state)) ?? {};
      const misfits = misfitsOf(ports, params.product, desired);
      const shadow = { version, desired, reported, delta, ...misfits };
      return answer(200, shadow, { etag: tagOf(version) });
    },
  });
}

function desire(ports: HttpPorts): Route {
  return createRoute({
    method: "patch",
    path: `${PATH}/shadow`,
    tag: "shadow",
    summary: "Changes desired values",
    description: "The device gets what differs from reported, now or when it connects. After 504 " +
      "the outcome is unknown: read the shadow.",
    params: DEVICE_PARAMS,
    body: DESIRE,
    bodyExample: { desired: { on: false }, version: 6 },
    bodyBytesMax: LIMITS.payloadBytesMax,
    responses: {
      200: {
        description: "The new shadow.",
        schema: SHADOW,
        example: SHADOW_EXAMPLE,
        headers: ETAG,
      },
    },
    isConditional: true,
    problems: ["not-found", "conflict", "suspended", "outcome-unknown"],
    async handle({ params, body, caller, request }) {
      await requireDevice(ports, caller, params);
      const values = body.desired as Values;
      assertSettable(ports, params.product, values);
      const address = deviceAddress(params.product, params.device);
      const matched = await versionToMatch(ports, address, request.headers.get("if-match"));
      const expectedVersion = matched ?? body.version;
      const message: DeviceMessage = {
        type: "desire",
        values,
        ...(expectedVersion === undefined ? undefined : { expectedVersion }),
      };
      assertNotSuspended(ports, address, "change the shadow");
      const reply = await ports.ingress.ask(address, message, {
        timeoutMs: LIMITS.httpAskMs,
      }) as ShadowReply;
      if (reply.ok) {
        const { shadow, delta } = reply;
        const misfits = misfitsOf(ports, params.product, shadow.desired);
        return answer(200, { ...shadow, delta, ...misfits }, { etag: tagOf(shadow.version) });
      }
      if (reply.code === "state_full") throw new ConflictError(reply.message);
      if (matched !== undefined) throw preconditionFailed(tagOf(reply.version));
      const detail = `Cannot change the shadow: its version is ${reply.version}, ` +
        `not ${expectedVersion}`;
      throw new ProblemError("conflict", detail, { headers: { etag: tagOf(reply.version) } });
    },
  });
}

/** @throws {InvalidError} What the thing model does not allow to be set. */
function assertSettable(ports: HttpPorts, product: string, values: Values): void {
  const count = Object.keys(values).length;
  if (count > LIMITS.pointsPerMessageMax) {
    const message = `Cannot set ${count} properties: ` +
      `pointsPerMessageMax is ${LIMITS.pointsPerMessageMax}`;
    throw new InvalidError(message, [{ path: "desired", rule: "max", message }]);
  }
  const { refused } = ports.directory.validateDesired(product, values);
  if (refused.length === 0) return;
  const errors = refused.map((issue) => ({ ...issue, path: `desired.${issue.path}` }));
  throw new InvalidError(errors[0]!.message, errors);
}

/** A model may change after values were desired by the one before. */
function misfitsOf(
  { directory }: HttpPorts,
  product: string,
  desired: Readonly<Record<string, TimedValue>>,
): { readonly misfits?: readonly Issue[] } {
  const values = Object.fromEntries(
    Object.entries(desired).map(([property, { value }]) => [property, value]),
  );
  const { refused } = directory.validateDesired(product, values);
  return refused.length === 0 ? {} : { misfits: refused };
}

function tagOf(version: number): string {
  return `"${version}"`;
}

/**
 * Version that `If-Match` asks for. The actor compares with one: of several, the present one.
 * @throws {ProblemError} 412 for tags that no shadow has now.
 */
async function versionToMatch(
  ports: HttpPorts,
  address: string,
  header: string | null,
): Promise<number | undefined> {
  if (header === null || header.trim() === "*") return undefined;
  const tags = header.split(",").map((tag) => tag.trim());
  const only = tags.length === 1 ? /^"(\d{1,15})"$/.exec(tags[0]!)?.[1] : undefined;
  if (only !== undefined) return Number(only);
  const { version } = await ports.peekState(address) ?? NEVER_SEEN;
  if (tags.includes(tagOf(version))) return version;
  throw preconditionFailed(tagOf(version));
}
