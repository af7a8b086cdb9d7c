/** Projects, and how the people of `default` make them and let their first people in. */
import { z } from "@hono/zod-openapi";
import { NotFoundError } from "../../../runtime/errors.ts";
import type { User } from "../../../actors/access/users.ts";
import type { Project } from "../../../actors/project/projects.ts";
import { DEFAULT_PROJECT } from "../../../actors/registry/registry_store.ts";
import { valueOf } from "../outcome_answers.ts";
import { isRoleAtLeast } from "../policy.ts";
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
import { NEW_PASSWORD, USER, USER_EXAMPLE, userAnswer } from "./user_routes.ts";

const ID = name("Id of the project, unique in the installation.", "plant-2");
const TITLE = title("For people; the id by default.", "Plant 2");
const OWNER = z.strictObject({
  name: name("What the owner logs in with.", "bob"),
  password: NEW_PASSWORD,
}).openapi("NewOwner");
const PROJECT = z.object({
  id: ID,
  name: TITLE,
  createdAt: time("When it was created."),
  updatedAt: time("When it was changed last."),
}).openapi("Project");
const NEW_PROJECT = z.strictObject({
  id: ID,
  name: TITLE.optional(),
  owner: OWNER.optional().describe("Its first owner, made with it."),
}).openapi("NewProject");
const PATCH = z.strictObject({ name: TITLE.nullable().optional() }).openapi("ProjectPatch");
const EXAMPLE = {
  id: "plant-2",
  name: "Plant 2",
  createdAt: 1_700_000_000_000,
  updatedAt: 1_700_000_000_000,
};
const LIST = "/api/v1/projects";
const PATH = `${LIST}/{id}`;
const PARAMS = z.object({ id: ID });
const ETAG = { ETag: "Strong tag of this version." };
const ONE = { description: "The project.", schema: PROJECT, example: EXAMPLE, headers: ETAG };

export function projectRoutes(ports: HttpPorts): Route[] {
  return [
    createProject(ports),
    listProjects(ports),
    readProject(ports),
    patchProject(ports),
    deleteProject(ports),
    createOwner(ports),
  ];
}

function createProject({ projects }: HttpPorts): Route {
  return createRoute({
    method: "post",
    path: LIST,
    tag: "projects",
    summary: "Creates a project",
    description: "Nobody sees what is in it but its own people and keys, whoever made it.",
    body: NEW_PROJECT,
    bodyExample: {
      id: "plant-2",
      name: "Plant 2",
      owner: { name: "bob", password: "correct horse battery staple" },
    },
    responses: {
      201: {
        ...ONE,
        description: "Created.",
        headers: { ...ETAG, Location: "Path of the project." },
      },
    },
    problems: ["conflict"],
    hasPassword: true,
    async handle({ body, keep }) {
      const made = (project: Project): Answer => ({
        status: 201,
        value: viewOf(project),
        etag: versionTag(project),
        location: `${LIST}/${encodeURIComponent(project.id)}`,
      });
      return respond(made(valueOf(await projects.create(definedOf(body), keep(made)))));
    },
  });
}

function listProjects({ projects }: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: LIST,
    tag: "projects",
    summary: "Lists projects",
    description:
      `By id, or as \`sort\` says. The caller's own; owners of \`${DEFAULT_PROJECT}\` see the names of all.`,
    query: z.strictObject({
      ...LIST_QUERY,
      sort: sortBy(["id", "name", "createdAt"], "Texts in order of their UTF-8 bytes.").optional(),
      q: title("Part of id or name, in either case.", "plant").optional(),
    }),
    responses: {
      200: {
        description: "A page of projects.",
        schema: countedPageOf(PROJECT),
        example: { items: [EXAMPLE], nextCursor: null },
      },
    },
    async handle({ query, caller }) {
      const own = seesAll(caller!) ? {} : { id: caller!.project };
      const { count: isCounted, ...rest } = query;
      const asked = definedOf({ ...rest, ...own, limit: query.limit ?? 50 });
      const page = valueOf(await projects.list(asked), "query.");
      const count = isCounted ? await projects.count(asked) : undefined;
      return answerPage(page.items.map(viewOf), page.nextCursor, count);
    },
  });
}

function readProject(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: PATH,
    tag: "projects",
    summary: "Reads a project",
    params: PARAMS,
    responses: { 200: ONE },
    problems: ["not-found"],
    async handle({ params, caller }) {
      const project = await requireProject(ports, caller!, params.id);
      return answer(200, viewOf(project), { etag: versionTag(project) });
    },
  });
}

function patchProject(ports: HttpPorts): Route {
  return createRoute({
    method: "patch",
    path: PATH,
    tag: "projects",
    summary: "Renames a project",
    description: "JSON Merge Patch: null gives it its id as name. `If-Match` is honoured.",
    params: PARAMS,
    body: PATCH,
    bodyExample: { name: "Plant 2, north" },
    responses: { 200: ONE },
    isConditional: true,
    problems: ["not-found"],
    async handle({ params, body, caller, request }) {
      const found = await requireProject(ports, caller!, params.id);
      const version = versionToMatch(found, request.headers);
      const wanted = body.name === undefined ? found.name : body.name ?? found.id;
      const project = valueOf(await ports.projects.rename(found.id, wanted, version));
      return answer(200, viewOf(project), { etag: versionTag(project) });
    },
  });
}

function deleteProject({ projects }: HttpPorts): Route {
  return createRoute({
    method: "delete",
    path: PATH,
    tag: "projects",
    summary: "Removes a project",
    description: "Refused while it has products, people or keys, unless `confirm` names it: then " +
      "they are gone for everybody at once, and removed in the background. Its product keys stay " +
      "taken, so that no other project comes by its devices' history. Twice is harmless.",
    params: PARAMS,
    query: z.strictObject({
      confirm: ID.openapi({ description: "The id again: removes what is in it, too." }).optional(),
    }),
    responses: { 204: { description: "It is not there any more." } },
    isConditional: true,
    problems: ["conflict"],
    async handle({ params, query, request }) {
      const found = await projects.get(params.id);
      if (found === undefined) return noContent();
      const expectedVersion = versionToMatch(found, request.headers);
      const isConfirmed = query.confirm === found.id;
      valueOf(await projects.delete(found.id, definedOf({ isConfirmed, expectedVersion })));
      return noContent();
    },
  });
}

function createOwner({ projects, users }: HttpPorts): Route {
  return createRoute({
    method: "post",
    path: `${PATH}/owners`,
    tag: "projects",
    summary: "Gives a project another owner",
    description: "For a project whose owners cannot log in any more.",
    params: PARAMS,
    body: OWNER,
    bodyExample: { name: "bob", password: "correct horse battery staple" },
    responses: { 201: { description: "Created.", schema: USER, example: USER_EXAMPLE } },
    problems: ["not-found", "conflict"],
    hasPassword: true,
    async handle({ params, body, keep }) {
      const project = await projects.get(params.id);
      if (project === undefined) throw new NotFoundError(`Cannot find project "${params.id}"`);
      const made = (user: User) => userAnswer(201, user);
      const input = { ...body, role: "owner", project: project.id } as const;
      return respond(made(valueOf(await users.create(input, keep(made)))));
    },
  });
}

function seesAll(caller: Caller): boolean {
  return caller.type === "user" && caller.project === DEFAULT_PROJECT &&
    isRoleAtLeast(caller.role, "owner");
}

async function requireProject(
  { projects }: HttpPorts,
  caller: Caller,
  id: string,
): Promise<Project> {
  const mayKnow = id === caller.project || seesAll(caller);
  const project = mayKnow ? await projects.get(id) : undefined;
  if (project === undefined) throw new NotFoundError(`Cannot find project "${id}"`);
  return project;
}

function viewOf({ id, name, createdAt, updatedAt }: Project): z.infer<typeof PROJECT> {
  return { id, name, createdAt, updatedAt };
}
