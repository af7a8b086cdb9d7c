/** Devices of the registry: made, found, changed, removed; their secrets. */
import { z } from "@hono/zod-openapi";
import { NotFoundError } from "../../../runtime/errors.ts";
import { DEVICE_LIMITS } from "../../../runtime/device_limits.ts";
import { HTTP_LIMITS } from "../../../runtime/http_limits.ts";
import { LIMITS } from "../../../runtime/limits.ts";
import { DEVICE_STATUSES } from "../../../actors/device/finder_conditions.ts";
import { parseConditions } from "../../../actors/device/property_condition.ts";
import type { DevicePatch, DeviceWithSecret } from "../../../actors/device/registry.ts";
import { CallerSlots } from "../caller_slots.ts";
import { valueOf } from "../outcome_answers.ts";
import type { HttpPorts } from "../ports.ts";
import { ProblemError } from "../problem.ts";
import { definedOf } from "../request_input.ts";
import {
  type Answer,
  answer,
  answerPage,
  noContent,
  respond,
  versionTag,
  versionToMatch,
} from "../responses.ts";
import { createRoute, type Route } from "../route.ts";
import {
  countedPageOf,
  DEVICE_PARAMS,
  LIST_QUERY,
  NAME,
  name,
  sortBy,
  time,
  title,
} from "../schemas.ts";
import { GROUP_ID } from "./group_routes.ts";
import {
  type DeviceName,
  findDevice,
  isOwn,
  viewDevice,
  viewDevices,
  viewNewDevice,
} from "./device_access.ts";

const TAG = z.string().min(1).max(LIMITS.nameCharactersMax);
const TAGS = z.array(TAG).max(LIMITS.tagsPerDeviceMax).openapi({
  description: `Up to ${LIMITS.tagsPerDeviceMax} tags; repeats are dropped.`,
  example: ["hall-1"],
});
const SECRET = z.string().min(LIMITS.secretCharactersMin).max(LIMITS.secretCharactersMax);
const NEW_SECRET = SECRET.openapi({
  description: `Brought along: ${LIMITS.secretCharactersMin} to ${LIMITS.secretCharactersMax} ` +
    "characters. Without it, 32 random bytes are made.",
  example: "Zk3vJ0bqf7h2mQ",
});
const SEEN_SECONDS = LIMITS.presenceEveryMs / 1_000;
const NAME_OF = "For people.";
const ENABLED = z.boolean().openapi({
  description: "A disabled device is refused; its connection is closed.",
  example: true,
});
const DEVICE = z.object({
  product: name("Key of the product.", "pump"),
  device: name("Name within the product.", "p-1"),
  name: title(NAME_OF, "Pump 1"),
  tags: TAGS,
  enabled: ENABLED,
  status: z.enum(DEVICE_STATUSES).openapi({
    description: "`online`: connected. `offline`: not now. `never`: nothing came from it yet.",
    example: "online",
  }),
  lastSeenAt: time(
    "When the device was last heard of: a message of its own, a connect, or the close of its " +
      `connection; null: never. In lists up to ${SEEN_SECONDS} s behind while messages flow.`,
  ).nullable(),
  version: z.int().openapi({ description: "Rises with every change, from 1.", example: 1 }),
  createdAt: time("When it was created."),
  updatedAt: time("When it was changed last."),
}).openapi("Device");
const DEVICE_WITH_SECRET = DEVICE.extend({
  secret: z.string().nullable().openapi({
    description: "Shown this once. Null: this repeats a first answer to another session than the " +
      "one that it was for (`Idempotency-Key`); the secret itself is not stored.",
    example: "Zk3vJ0bqf7h2mQ",
  }),
}).openapi("DeviceWithSecret");
const NEW_DEVICE = z.strictObject({
  product: name("Key of the product.", "pump"),
  device: name("Name within the product.", "p-1"),
  name: title(NAME_OF, "Pump 1").optional(),
  tags: TAGS.optional(),
  enabled: ENABLED.optional(),
  secret: NEW_SECRET.optional(),
}).openapi("NewDevice");
const DEVICE_PATCH = z.strictObject({
  name: title(`${NAME_OF} Null empties it.`, "Pump 1").nullable().optional(),
  tags: TAGS.nullable().optional(),
  enabled: ENABLED.optional(),
}).openapi("DevicePatch");
const REPLACEMENT = z.strictObject({
  name: title(NAME_OF, "Pump 1").optional(),
  tags: TAGS.optional(),
  enabled: ENABLED.optional(),
}).openapi("DeviceReplacement");
const PREVIOUS_END = time("Until when the secret before goes on; null: it has ended.").nullable();
const ROTATED = DEVICE_WITH_SECRET.extend({ previousEndsAt: PREVIOUS_END })
  .openapi("RotatedDevice");
const ROTATION = z.strictObject({
  secret: NEW_SECRET.optional(),
  overlapMs: z.int().min(0).max(LIMITS.secretOverlapMsMax).optional().openapi({
    description: "How long the old secret goes on beside the new one; 0 by default.",
    example: 86_400_000,
  }),
}).openapi("Rotation");
const CREDENTIAL = z.object({
  kind: z.enum(["secret"]).openapi({ description: "What it is.", example: "secret" }),
  createdAt: time("When it was made."),
  endsAt: time("When it ends, since there is a newer one; null: it is the current one.").nullable(),
  isReadable: z.boolean().openapi({
    description: "It is kept sealed, for signed logins; else only its SHA-256 is.",
    example: false,
  }),
}).openapi("Credential");

const PROPERTY = z.string().max(1_024).transform((text, context) => {
  const parsed = parseConditions(text);
  if (parsed.ok) return parsed.conditions;
  context.addIssue({ code: "custom", message: parsed.message });
  return z.NEVER;
}).openapi({
  type: "string",
  description: "Only with such last values: `temperature>30`, with =, <, <=, > or >=; up to " +
    `${DEVICE_LIMITS.propertyConditionsMax}, joined by commas, which all hold. = also takes \`true\`, ` +
    "`false` and texts, in quotes as JSON has them where they hold a comma or a quote, or look like " +
    'one of the others: `mode=auto`, `code="5"`. Of a device the first ' +
    `${DEVICE_LIMITS.indexedPropertiesMax} values are found, texts of up to ` +
    `${DEVICE_LIMITS.indexedTextCharactersMax} characters; a few seconds late.`,
  example: "temperature>30",
});
const PATH = "/api/v1/devices/{product}/{device}";
const EXAMPLE = {
  product: "pump",
  device: "p-1",
  name: "Pump 1",
  tags: ["hall-1"],
  enabled: true,
  status: "online",
  lastSeenAt: 1_700_000_000_000,
  version: 1,
  createdAt: 1_699_990_000_000,
  updatedAt: 1_699_990_000_000,
};
const SECRET_EXAMPLE = { ...EXAMPLE, secret: "Zk3vJ0bqf7h2mQ" };
const ETAG = { ETag: "Strong tag of this version." };
const CREATED = {
  description: "Created.",
  schema: DEVICE_WITH_SECRET,
  example: SECRET_EXAMPLE,
  headers: { ...ETAG, Location: "Path of the device." },
};

export function deviceRoutes(ports: HttpPorts): Route[] {
  return [
    createDevice(ports),
    listDevices(ports),
    readDevice(ports),
    putDevice(ports),
    patchDevice(ports),
    deleteDevice(ports),
    listCredentials(ports),
    rotateSecret(ports),
  ];
}

function listCredentials(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: `${PATH}/credentials`,
    tag: "devices",
    summary: "Lists the secrets of a device, without themselves",
    description: "The current one first; after a rotation with overlap, the old one until it ends.",
    params: DEVICE_PARAMS,
    responses: {
      200: {
        description: "One or two.",
        schema: z.object({ items: z.array(CREDENTIAL) }),
        example: {
          items: [{
            kind: "secret",
            createdAt: 1_700_000_000_000,
            endsAt: null,
            isReadable: false,
          }],
        },
      },
    },
    problems: ["not-found"],
    async handle({ params, caller }) {
      await findDevice(ports, caller, params);
      const items = await ports.devices.credentials(params.product, params.device);
      return answer(200, { items: items ?? [] });
    },
  });
}

function createDevice(ports: HttpPorts): Route {
  return createRoute({
    method: "post",
    path: "/api/v1/devices",
    tag: "devices",
    summary: "Creates a device",
    description: "The secret is in this answer only.",
    body: NEW_DEVICE,
    bodyExample: { product: "pump", device: "p-1", name: "Pump 1", tags: ["hall-1"] },
    responses: {
      201: CREATED,
    },
    problems: ["not-found", "conflict"],
    secretField: "secret",
    async handle({ body, caller, keep }) {
      if (!isOwn(ports, caller, body.product)) {
        throw new NotFoundError(`Cannot find product "${body.product}"`);
      }
      const made = await ports.devices.create(definedOf(body), keep(createdAnswer));
      return respond(createdAnswer(valueOf(made)));
    },
  });
}

function listDevices(ports: HttpPorts): Route {
  const searches = new CallerSlots("searches of devices", HTTP_LIMITS.searchesOfCallerMax);
  return createRoute({
    method: "get",
    path: "/api/v1/devices",
    tag: "devices",
    summary: "Lists devices",
    description:
      "By product and device, or as `sort` says. A page may be short, even empty, while " +
      "`nextCursor` is not null. A count looks at " +
      `no more than ${LIMITS.countRowsMax} devices one by one, beyond it \`count\` is null; all ` +
      "devices without a filter are always counted. A caller may have " +
      `${HTTP_LIMITS.searchesOfCallerMax} under way.`,
    query: z.strictObject({
      ...LIST_QUERY,
      sort: sortBy(
        ["device", "name", "createdAt", "lastSeenAt"],
        "Texts in order of their UTF-8 bytes. By `lastSeenAt`, devices that were never heard of come " +
          "last, and one that is heard of between two pages moves: it may be missed or come twice.",
      ).optional(),
      q: title("Part of the device's name or title, in either case.", "pump").optional(),
      product: NAME.openapi({ description: "Only of this product.", example: "pump" }).optional(),
      tag: TAG.openapi({ description: "Only with this tag.", example: "hall-1" }).optional(),
      status: z.enum(DEVICE_STATUSES).openapi({
        description: "Only of this status. Lists know of it a moment late.",
        example: "online",
      }).optional(),
      property: PROPERTY.optional(),
      group: GROUP_ID.describe("Only in the group of this id, or in one below it.").optional(),
    }),
    responses: {
      200: {
        description: "A page of devices.",
        schema: countedPageOf(DEVICE),
        example: { items: [EXAMPLE], nextCursor: null },
      },
    },
    handle: ({ query, caller }) =>
      searches.within(caller!, async () => {
        const { count: isCounted, group, property: properties, ...rest } = query;
        const { project } = caller!;
        const groups = group === undefined
          ? undefined
          : await ports.groups.withNested(project, group);
        const limit = query.limit ?? 50;
        const asked = definedOf({ ...rest, groups, properties, project, limit });
        const page = valueOf(await ports.finder.list(asked), "query.");
        const { cursor: _cursor, sort: _sort, limit: _limit, ...filter } = asked;
        const count = isCounted ? await ports.finder.count(filter) : undefined;
        return answerPage(await viewDevices(ports, page.items), page.nextCursor, count);
      }),
  });
}

function readDevice(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: PATH,
    tag: "devices",
    summary: "Reads a device",
    params: DEVICE_PARAMS,
    responses: {
      200: { description: "The device.", schema: DEVICE, example: EXAMPLE, headers: ETAG },
    },
    problems: ["not-found"],
    async handle({ params, caller }) {
      const device = await findDevice(ports, caller, params);
      return answer(200, await viewDevice(ports, device), { etag: versionTag(device) });
    },
  });
}

function putDevice(ports: HttpPorts): Route {
  return createRoute({
    method: "put",
    path: PATH,
    tag: "devices",
    summary: "Creates or replaces a device",
    description:
      "Fields that are absent get their defaults. A new device gets a random secret, in " +
      "the answer to its creation only; that of one that is there stays. `If-None-Match: *` only " +
      "creates.",
    params: DEVICE_PARAMS,
    body: REPLACEMENT,
    bodyExample: { name: "Pump 1", tags: ["hall-1"] },
    responses: {
      200: { description: "Replaced.", schema: DEVICE, example: EXAMPLE, headers: ETAG },
      201: CREATED,
    },
    isConditional: true,
    problems: ["not-found", "conflict"],
    async handle({ params, body, caller, request: { headers } }) {
      const { product, device } = params;
      const isKnown = isOwn(ports, caller, product);
      if (!isKnown) throw new NotFoundError(`Cannot find product "${product}"`);
      const found = await ports.devices.get(product, device);
      const name = `"${product}/${device}"`;
      if (found === undefined) {
        if (headers.has("if-match")) {
          throw new ProblemError("precondition-failed", `Cannot replace ${name}: it is not there`);
        }
        const made = await ports.devices.create({ ...definedOf(body), ...params });
        return respond(createdAnswer(valueOf(made)));
      }
      if (headers.get("if-none-match") === "*") {
        throw new ProblemError("precondition-failed", `Cannot create ${name}: it is there`);
      }
      const fields = { name: "", tags: [], enabled: true, ...definedOf(body) };
      const version = versionToMatch(found, headers);
      const changed = valueOf(await ports.devices.update(product, device, fields, version));
      return answer(200, await viewDevice(ports, changed), { etag: versionTag(changed) });
    },
  });
}

function createdAnswer({ device, secret }: DeviceWithSecret): Answer {
  return {
    status: 201,
    value: { ...viewNewDevice(device), secret },
    etag: versionTag(device),
    location: locationOf(device),
  };
}

function patchDevice(ports: HttpPorts): Route {
  return createRoute({
    method: "patch",
    path: PATH,
    tag: "devices",
    summary: "Changes a device",
    description: "JSON Merge Patch. `If-Match` is honoured.",
    params: DEVICE_PARAMS,
    body: DEVICE_PATCH,
    bodyExample: { tags: ["hall-2"], enabled: false },
    responses: {
      200: { description: "The new state.", schema: DEVICE, example: EXAMPLE, headers: ETAG },
    },
    isConditional: true,
    problems: ["not-found"],
    async handle({ params, body, caller, request }) {
      const found = await findDevice(ports, caller, params);
      const version = versionToMatch(found, request.headers);
      const { product, device } = params;
      const patch: DevicePatch = definedOf({
        name: body.name === null ? "" : body.name,
        tags: body.tags === null ? [] : body.tags,
        enabled: body.enabled,
      });
      const changed = valueOf(await ports.devices.update(product, device, patch, version));
      return answer(200, await viewDevice(ports, changed), { etag: versionTag(changed) });
    },
  });
}

function deleteDevice(ports: HttpPorts): Route {
  return createRoute({
    method: "delete",
    path: PATH,
    tag: "devices",
    summary: "Removes a device",
    description: "Its connection is closed, its actor forgets its state. Twice is harmless.",
    params: DEVICE_PARAMS,
    responses: { 204: { description: "It is not there any more." } },
    isConditional: true,
    async handle({ params: { product, device }, caller, request }) {
      const isKnown = isOwn(ports, caller, product);
      const found = isKnown ? await ports.devices.get(product, device) : undefined;
      if (found === undefined) return noContent();
      const version = versionToMatch(found, request.headers);
      valueOf(await ports.devices.delete(product, device, version));
      return noContent();
    },
  });
}

function rotateSecret(ports: HttpPorts): Route {
  return createRoute({
    method: "post",
    path: `${PATH}/credentials/rotate`,
    tag: "devices",
    summary: "Gives a device a new secret",
    action: "devices.credentials.rotate",
    description: "The old one ends at once and with it the device's connection; or after " +
      "`overlapMs`, until when both are right. The new one is in this answer only.",
    params: DEVICE_PARAMS,
    body: ROTATION,
    isBodyOptional: true,
    bodyExample: {},
    responses: {
      200: {
        description: "The device with its new secret.",
        schema: ROTATED,
        example: { ...SECRET_EXAMPLE, previousEndsAt: null },
        headers: ETAG,
      },
    },
    isConditional: true,
    problems: ["not-found"],
    secretField: "secret",
    async handle({ params, body, caller, request, keep }) {
      const found = await findDevice(ports, caller, params);
      const expectedVersion = versionToMatch(found, request.headers);
      const { product, device } = params;
      const seen = await viewDevice(ports, found);
      const rotated = ({ device, secret, previousEndsAt }: DeviceWithSecret): Answer => ({
        status: 200,
        value: { ...seen, ...device, secret, previousEndsAt },
        etag: versionTag(device),
      });
      const options = definedOf({
        secret: body.secret,
        overlapMs: body.overlapMs,
        expectedVersion,
        alongside: keep(rotated),
      });
      return respond(rotated(valueOf(await ports.devices.rotateSecret(product, device, options))));
    },
  });
}

/** Version that `If-Match` asks for; undefined without the header. @throws {ProblemError} 412. */

function locationOf({ product, device }: DeviceName): string {
  return `/api/v1/devices/${encodeURIComponent(product)}/${encodeURIComponent(device)}`;
}
