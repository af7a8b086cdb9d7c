/** Nested groups of devices, and who is in them. Devices of a group: `GET /devices?group=`. */
import { z } from "@hono/zod-openapi";
import { NotFoundError } from "../../../runtime/errors.ts";
import { DEVICE_LIMITS } from "../../../runtime/device_limits.ts";
import { LIMITS } from "../../../runtime/limits.ts";
import type { Group } from "../../../actors/group/groups.ts";
import { isName } from "../../../actors/registry/names.ts";
import { valueOf } from "../outcome_answers.ts";
import type { Caller, HttpPorts } from "../ports.ts";
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
import { countedPageOf, LIST_QUERY, name, sortBy, time, title } from "../schemas.ts";

export const GROUP_ID = z.string().min(1).max(LIMITS.nameCharactersMax).openapi({
  description: "Id of the group.",
  example: "Zk3vJ0bqf7h2mQxy",
});
const NAME = title("For people; unique among the groups beside it.", "Hall 1");
const PARENT = GROUP_ID.nullable().openapi({
  description: "Id of the group that it is in; null: at the top.",
  example: null,
});
const GROUP = z.object({
  id: GROUP_ID,
  name: NAME,
  parent: PARENT,
  version: z.int().openapi({ description: "Rises with every change, from 1.", example: 1 }),
  createdAt: time("When it was made."),
  updatedAt: time("When it was changed last."),
}).openapi("Group");
const NEW_GROUP = z.strictObject({ name: NAME, parent: PARENT.optional() }).openapi("NewGroup");
const PATCH = z.strictObject({ name: NAME.optional(), parent: PARENT.optional() })
  .openapi("GroupPatch");
const MEMBER = z.object({
  group: GROUP_ID,
  product: name("Key of the product.", "pump"),
  device: name("Name of the device within its product.", "p-1"),
}).openapi("GroupMember");
const EXAMPLE = {
  id: "Zk3vJ0bqf7h2mQxy",
  name: "Hall 1",
  parent: null,
  version: 1,
  createdAt: 1_700_000_000_000,
  updatedAt: 1_700_000_000_000,
};
const LIST = "/api/v1/groups";
const PATH = `${LIST}/{id}`;
const MEMBER_PATH = `${PATH}/devices/{product}/{device}`;
const PARAMS = z.object({ id: GROUP_ID });
const MEMBER_PARAMS = z.object({
  id: GROUP_ID,
  product: MEMBER.shape.product,
  device: MEMBER.shape.device,
});
const ETAG = { ETag: "Strong tag of this version." };
const ONE = { description: "The group.", schema: GROUP, example: EXAMPLE, headers: ETAG };
const DEVICE = z.string().transform((text) => text.split("/"))
  .refine((parts) => parts.length === 2 && parts.every(isName), {
    error: "Cannot accept this: a device is {product}/{device}",
  })
  .openapi({
    type: "string",
    description: "Only those that this device is in itself: `{product}/{device}`.",
    example: "pump/p-1",
  });

export function groupRoutes(ports: HttpPorts): Route[] {
  return [
    createGroup(ports),
    listGroups(ports),
    readGroup(ports),
    patchGroup(ports),
    deleteGroup(ports),
    putMember(ports),
    deleteMember(ports),
  ];
}

function createGroup({ groups }: HttpPorts): Route {
  return createRoute({
    method: "post",
    path: LIST,
    tag: "groups",
    summary: "Makes a group",
    description: `Groups nest up to ${DEVICE_LIMITS.groupDepthMax} levels; a project has at most ` +
      `${DEVICE_LIMITS.groupsMax}.`,
    body: NEW_GROUP,
    bodyExample: { name: "Hall 1" },
    responses: {
      201: {
        ...ONE,
        description: "Made.",
        headers: { ...ETAG, Location: "Path of the group." },
      },
    },
    problems: ["not-found", "conflict"],
    async handle({ body, caller, keep }) {
      const made = (group: Group): Answer => {
        const location = `${LIST}/${encodeURIComponent(group.id)}`;
        return { status: 201, value: group, etag: versionTag(group), location };
      };
      const outcome = await groups.create(caller!.project, definedOf(body), keep(made));
      return respond(made(valueOf(outcome)));
    },
  });
}

function listGroups({ groups }: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: LIST,
    tag: "groups",
    summary: "Lists groups",
    description: "By id, or as `sort` says.",
    query: z.strictObject({
      ...LIST_QUERY,
      sort: sortBy(["name", "createdAt"], "Texts in order of their UTF-8 bytes.").optional(),
      q: title("Part of the name, in either case.", "hall").optional(),
      device: DEVICE.optional(),
    }),
    responses: {
      200: {
        description: "A page of groups.",
        schema: countedPageOf(GROUP),
        example: { items: [EXAMPLE], nextCursor: null },
      },
    },
    async handle({ query, caller }) {
      const { count: isCounted, device: parts, ...rest } = query;
      const device = parts && { product: parts[0]!, device: parts[1]! };
      const asked = definedOf({ ...rest, device, limit: query.limit ?? 50 });
      const page = valueOf(await groups.list(caller!.project, asked), "query.");
      const count = isCounted ? await groups.count(caller!.project, asked) : undefined;
      return answerPage(page.items, page.nextCursor, count);
    },
  });
}

function readGroup(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: PATH,
    tag: "groups",
    summary: "Reads a group",
    params: PARAMS,
    responses: { 200: ONE },
    problems: ["not-found"],
    async handle({ params, caller }) {
      const found = await requireGroup(ports, caller, params.id);
      return answer(200, found, { etag: versionTag(found) });
    },
  });
}

function patchGroup(ports: HttpPorts): Route {
  return createRoute({
    method: "patch",
    path: PATH,
    tag: "groups",
    summary: "Renames or moves a group",
    description: "JSON Merge Patch. A group cannot be moved into one that is in it.",
    params: PARAMS,
    body: PATCH,
    bodyExample: { name: "Hall 2" },
    responses: { 200: ONE },
    isConditional: true,
    problems: ["not-found", "conflict"],
    async handle({ params, body, caller, request }) {
      const found = await requireGroup(ports, caller, params.id);
      const version = versionToMatch(found, request.headers);
      const { project } = caller!;
      const patch = definedOf(body);
      const changed = valueOf(await ports.groups.update(project, found.id, patch, version));
      return answer(200, changed, { etag: versionTag(changed) });
    },
  });
}

function deleteGroup({ groups }: HttpPorts): Route {
  return createRoute({
    method: "delete",
    path: PATH,
    tag: "groups",
    summary: "Removes a group",
    description: "Its devices stay. Refused while there are groups in it. Twice is harmless.",
    params: PARAMS,
    responses: { 204: { description: "It is not there any more." } },
    isConditional: true,
    problems: ["conflict"],
    async handle({ params, caller, request }) {
      const found = await groups.get(caller!.project, params.id);
      if (found === undefined) return noContent();
      const version = versionToMatch(found, request.headers);
      valueOf(await groups.delete(caller!.project, found.id, version));
      return noContent();
    },
  });
}

function putMember({ groups }: HttpPorts): Route {
  return createRoute({
    method: "put",
    path: MEMBER_PATH,
    tag: "groups",
    summary: "Puts a device into a group",
    description:
      `A device is in at most ${DEVICE_LIMITS.groupsPerDeviceMax} groups. Twice is harmless.`,
    params: MEMBER_PARAMS,
    responses: {
      200: {
        description: "It is in the group.",
        schema: MEMBER,
        example: { group: EXAMPLE.id, product: "pump", device: "p-1" },
      },
    },
    problems: ["not-found", "conflict"],
    async handle({ params: { id, product, device }, caller }) {
      valueOf(await groups.add(caller!.project, id, product, device));
      return answer(200, { group: id, product, device });
    },
  });
}

function deleteMember({ groups }: HttpPorts): Route {
  return createRoute({
    method: "delete",
    path: MEMBER_PATH,
    tag: "groups",
    summary: "Takes a device out of a group",
    description: "Twice is harmless.",
    params: MEMBER_PARAMS,
    responses: { 204: { description: "It is not in the group any more." } },
    problems: ["not-found"],
    async handle({ params: { id, product, device }, caller }) {
      valueOf(await groups.remove(caller!.project, id, product, device));
      return noContent();
    },
  });
}

async function requireGroup(
  { groups }: HttpPorts,
  caller: Caller | undefined,
  id: string,
): Promise<Group> {
  const group = await groups.get(caller!.project, id);
  if (group === undefined) throw new NotFoundError(`Cannot find group "${id}"`);
  return group;
}
