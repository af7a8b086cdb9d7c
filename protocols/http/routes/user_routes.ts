/** People of the caller's project. Only an owner lets them in. */
import { z } from "@hono/zod-openapi";
import { NotFoundError } from "../../../runtime/errors.ts";
import {
  PASSWORD_CHARACTERS_MAX,
  PASSWORD_CHARACTERS_MIN,
} from "../../../actors/access/password.ts";
import type { User } from "../../../actors/access/users.ts";
import { valueOf } from "../outcome_answers.ts";
import type { Caller, HttpPorts } from "../ports.ts";
import { definedOf } from "../request_input.ts";
import {
  type Answer,
  answerPage,
  noContent,
  respond,
  versionTag,
  versionToMatch,
} from "../responses.ts";
import { createRoute, type Route } from "../route.ts";
import { countedPageOf, LIST_QUERY, name, ROLE, sortBy, time, title } from "../schemas.ts";

const ID = z.string().min(1).max(64);
const NAME = name("What the user logs in with; unique in the installation.", "ann");
export const NEW_PASSWORD = z.string().max(1_024).openapi({
  description: `${PASSWORD_CHARACTERS_MIN} to ${PASSWORD_CHARACTERS_MAX} characters.`,
  example: "correct horse battery staple",
});
const ENABLED = z.boolean().openapi({
  description: "A disabled user cannot log in, and has no session.",
  example: true,
});
export const USER = z.object({
  id: ID.openapi({ description: "Id of the user.", example: "u2" }),
  name: NAME,
  role: ROLE,
  enabled: ENABLED,
  createdAt: time("When the user was made."),
  lastLoginAt: time("When the user logged in last; null: never.").nullable(),
}).openapi("User");
const NEW_USER = z.strictObject({ name: NAME, role: ROLE, password: NEW_PASSWORD })
  .openapi("NewUser");
const PATCH = z.strictObject({
  name: NAME.optional(),
  role: ROLE.optional(),
  enabled: ENABLED.optional(),
  password: NEW_PASSWORD.optional(),
}).openapi("UserPatch");
export const USER_EXAMPLE = {
  id: "u2",
  name: "ann",
  role: "operator",
  enabled: true,
  createdAt: 1_700_000_000_000,
  lastLoginAt: null,
};
const LIST = "/api/v1/users";
const PATH = `${LIST}/{id}`;
const PARAMS = z.object({ id: ID.openapi({ description: "Id of the user.", example: "u2" }) });
const ETAG = { ETag: "Strong tag of this version." };
const ONE = { description: "The user.", schema: USER, example: USER_EXAMPLE, headers: ETAG };
const LAST_OWNER = "Refused if the project would be left without an enabled owner.";

export function userRoutes(ports: HttpPorts): Route[] {
  return [
    createUser(ports),
    listUsers(ports),
    readUser(ports),
    patchUser(ports),
    deleteUser(ports),
  ];
}

function createUser({ users }: HttpPorts): Route {
  return createRoute({
    method: "post",
    path: LIST,
    tag: "access",
    summary: "Creates a user",
    description: "In the caller's project.",
    body: NEW_USER,
    bodyExample: { name: "ann", role: "operator", password: "correct horse battery staple" },
    responses: {
      201: {
        ...ONE,
        description: "Created.",
        headers: { ...ETAG, Location: "Path of the user." },
      },
    },
    problems: ["conflict"],
    hasPassword: true,
    async handle({ body, caller, keep }) {
      const made = (user: User) => userAnswer(201, user, { location: `${LIST}/${user.id}` });
      const input = { ...body, project: caller!.project };
      return respond(made(valueOf(await users.create(input, keep(made)))));
    },
  });
}

function listUsers({ users }: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: LIST,
    tag: "access",
    summary: "Lists users",
    description: "Of the caller's project, by name, or as `sort` says.",
    query: z.strictObject({
      ...LIST_QUERY,
      sort: sortBy(["name", "createdAt"], "Texts in order of their UTF-8 bytes.").optional(),
      q: title("Part of the name, in either case.", "an").optional(),
    }),
    responses: {
      200: {
        description: "A page of users.",
        schema: countedPageOf(USER),
        example: { items: [USER_EXAMPLE], nextCursor: null },
      },
    },
    async handle({ query, caller }) {
      const { count: isCounted, ...rest } = query;
      const asked = definedOf({ ...rest, limit: query.limit ?? 50 });
      const page = valueOf(await users.list(caller!.project, asked), "query.");
      const count = isCounted ? await users.count(caller!.project, asked.q) : undefined;
      return answerPage(page.items.map(viewUser), page.nextCursor, count);
    },
  });
}

function readUser(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: PATH,
    tag: "access",
    summary: "Reads a user",
    params: PARAMS,
    responses: { 200: ONE },
    problems: ["not-found"],
    async handle({ params, caller }) {
      return answerUser(200, await requireUser(ports, caller, params.id));
    },
  });
}

function patchUser(ports: HttpPorts): Route {
  return createRoute({
    method: "patch",
    path: PATH,
    tag: "access",
    summary: "Changes a user",
    description: "JSON Merge Patch. A new password, and disabling, end the user's sessions at " +
      `once; a new role counts at once. ${LAST_OWNER} \`If-Match\` is honoured.`,
    params: PARAMS,
    body: PATCH,
    bodyExample: { role: "viewer" },
    responses: { 200: ONE },
    isConditional: true,
    problems: ["not-found", "conflict"],
    async handle({ params, body, caller, request }) {
      const found = await requireUser(ports, caller, params.id);
      const options = definedOf({ expectedVersion: versionToMatch(found, request.headers) });
      const patch = definedOf(body);
      return answerUser(
        200,
        valueOf(await ports.users.update(found.project, found.id, patch, options)),
      );
    },
  });
}

function deleteUser({ users }: HttpPorts): Route {
  return createRoute({
    method: "delete",
    path: PATH,
    tag: "access",
    summary: "Removes a user",
    description: `The user's sessions end at once; keys that the user made stay. ${LAST_OWNER} ` +
      "Twice is harmless.",
    params: PARAMS,
    responses: { 204: { description: "The user is not there any more." } },
    isConditional: true,
    problems: ["conflict"],
    async handle({ params, caller, request }) {
      const found = await users.get(caller!.project, params.id);
      if (found === undefined) return noContent();
      const version = versionToMatch(found, request.headers);
      valueOf(await users.delete(found.project, found.id, version));
      return noContent();
    },
  });
}

export function userAnswer(
  status: number,
  user: User,
  more: { readonly location?: string } = {},
): Answer {
  return { status, value: viewUser(user), etag: versionTag(user), ...more };
}

function answerUser(status: number, user: User): Response {
  return respond(userAnswer(status, user));
}

function viewUser(user: User): z.infer<typeof USER> {
  const { id, name, role, enabled, createdAt, lastLoginAt } = user;
  return { id, name, role, enabled, createdAt, lastLoginAt };
}

async function requireUser(
  { users }: HttpPorts,
  caller: Caller | undefined,
  id: string,
): Promise<User> {
  const user = await users.get(caller!.project, id);
  if (user === undefined) throw new NotFoundError(`Cannot find user "${id}"`);
  return user;
}
