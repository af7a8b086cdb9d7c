/** Devices of the registry: made, found, changed, removed; their secrets. */
import { z } from "@hono/zod-openapi";
import { NotFoundError } from "../../../runtime/errors.ts";
import { LIMITS } from "../../../runtime/limits.ts";
import { listBySeen } from "../../../actors/device/device_by_seen.ts";
import type { DevicePatch } from "../../../actors/device/registry.ts";
import { valueOf } from "../outcome_answers.ts";
import type { HttpPorts } from "../ports.ts";
import { definedOf } from "../request_input.ts";
import { answer, answerPage, assertMatches, noContent, versionTag } from "../responses.ts";
import { createRoute, type Route } from "../route.ts";
import { DEVICE_PARAMS, LIST_QUERY, NAME, name, pageOf, sortBy, time, title } from "../schemas.ts";
import { type DeviceName, findDevice, isOwn, viewDevice, viewDevices } from "./device_access.ts";

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
  status: z.enum(["online", "offline", "never", "disabled"]).openapi({
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
  secret: z.string().openapi({ description: "Shown this once.", example: "Zk3vJ0bqf7h2mQ" }),
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
const ROTATION = z.strictObject({ secret: NEW_SECRET.optional() }).openapi("Rotation");

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

export function deviceRoutes(ports: HttpPorts): Route[] {
  return [
    createDevice(ports),
    listDevices(ports),
    readDevice(ports),
    patchDevice(ports),
    deleteDevice(ports),
    rotateSecret(ports),
  ];
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
      201: {
        description: "Created.",
        schema: DEVICE_WITH_SECRET,
        example: SECRET_EXAMPLE,
        headers: { ...ETAG, Location: "Path of the device." },
      },
    },
    problems: ["not-found", "conflict"],
    async handle({ body, caller }) {
      if (!isOwn(ports, caller, body.product)) {
        throw new NotFoundError(`Cannot find product "${body.product}"`);
      }
      const { device, secret } = valueOf(await ports.devices.create(definedOf(body)));
      const view = { ...await viewDevice(ports, device), secret };
      return answer(201, view, { etag: versionTag(device), location: locationOf(device) });
    },
  });
}

function listDevices(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: "/api/v1/devices",
    tag: "devices",
    summary: "Lists devices",
    description:
      "By product and device, or as `sort` says. A page may be short, even empty, while " +
      "`nextCursor` is not null. A count looks at " +
      `no more than ${LIMITS.countRowsMax} devices one by one, beyond it \`count\` is null; all ` +
      "devices without a filter are always counted.",
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
    }),
    responses: {
      200: {
        description: "A page of devices.",
        schema: pageOf(DEVICE),
        example: { items: [EXAMPLE], nextCursor: null },
      },
    },
    async handle({ query, caller }) {
      const { count: isCounted, sort, ...rest } = query;
      const { project } = caller!;
      const filter = definedOf({ ...rest, project, limit: query.limit ?? 50 });
      const sources = { devices: ports.devices, products: ports.products, views: ports };
      const page = valueOf(
        sort === "lastSeenAt" || sort === "-lastSeenAt"
          ? await listBySeen(sources, { ...filter, sort })
          : await ports.devices.list(definedOf({ ...filter, sort })),
        "query.",
      );
      const count = isCounted ? await ports.devices.count(filter) : undefined;
      return answerPage(await viewDevices(ports, page.items), page.nextCursor, count);
    },
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
    problems: ["not-found", "precondition-failed"],
    async handle({ params, body, caller, request }) {
      const version = await expectedVersion(ports, caller, params, request.headers);
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
    problems: ["precondition-failed"],
    async handle({ params: { product, device }, caller, request }) {
      const isKnown = isOwn(ports, caller, product);
      const found = isKnown ? await ports.devices.get(product, device) : undefined;
      if (found === undefined) return noContent();
      assertMatches(request.headers, versionTag(found));
      const version = request.headers.has("if-match") ? found.version : undefined;
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
    description: "The old one ends at once. The new one is in this answer only.",
    params: DEVICE_PARAMS,
    body: ROTATION,
    isBodyOptional: true,
    bodyExample: {},
    responses: {
      200: {
        description: "The device with its new secret.",
        schema: DEVICE_WITH_SECRET,
        example: SECRET_EXAMPLE,
        headers: ETAG,
      },
    },
    problems: ["not-found", "precondition-failed"],
    async handle({ params, body, caller, request }) {
      const version = await expectedVersion(ports, caller, params, request.headers);
      const options = definedOf({ secret: body.secret, expectedVersion: version });
      const { product, device } = params;
      const rotated = valueOf(await ports.devices.rotateSecret(product, device, options));
      const view = { ...await viewDevice(ports, rotated.device), secret: rotated.secret };
      return answer(200, view, { etag: versionTag(rotated.device) });
    },
  });
}

/** Version that `If-Match` asks for; undefined without the header. */
async function expectedVersion(
  ports: HttpPorts,
  caller: Parameters<typeof findDevice>[1],
  params: DeviceName,
  headers: Headers,
): Promise<number | undefined> {
  const found = await findDevice(ports, caller, params);
  assertMatches(headers, versionTag(found));
  return headers.has("if-match") ? found.version : undefined;
}

function locationOf({ product, device }: DeviceName): string {
  return `/api/v1/devices/${encodeURIComponent(product)}/${encodeURIComponent(device)}`;
}
