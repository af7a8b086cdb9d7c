/** API keys of programs. Only people make and end them. */
import { z } from "@hono/zod-openapi";
import { assert, NotFoundError } from "../../../runtime/errors.ts";
import type { ApiKey, ShownApiKey } from "../../../actors/access/api_keys.ts";
import { type Scope, SCOPES } from "../../../actors/access/principal.ts";
import { valueOf } from "../outcome_answers.ts";
import type { HttpPorts } from "../ports.ts";
import { definedOf } from "../request_input.ts";
import {
  type Answer,
  answer,
  answerPage,
  assertMatches,
  noContent,
  respond,
  versionTag,
} from "../responses.ts";
import { createRoute, type Route } from "../route.ts";
import { countedPageOf, LIST_QUERY, sortBy, time, title } from "../schemas.ts";

const SCOPE_LIST = z.array(z.enum(SCOPES as unknown as [Scope, ...Scope[]]))
  .min(1).max(SCOPES.length).openapi({
    description: "What the key may do: `{resource}:{read|write}`.",
    example: ["devices:read"],
  });
const ID = z.string().min(1).max(64);
const NEW_KEY = z.strictObject({
  name: title("For people.", "exporter").min(1),
  scopes: SCOPE_LIST,
  expiresAt: time("When it ends; without it, never.").optional(),
}).openapi("NewKey");
const KEY = z.object({
  id: ID.openapi({ description: "Id of the key.", example: "b0c3f1" }),
  name: title("For people.", "exporter"),
  scopes: SCOPE_LIST,
  createdBy: ID.openapi({ description: "Id of the user who made it.", example: "u1" }),
  createdAt: time("When it was made."),
  expiresAt: time("When it ends; null: never.").nullable(),
  lastUsedAt: time("When it was used last, to the minute; null: never.").nullable(),
}).openapi("Key");
const SHOWN_KEY = KEY.extend({
  key: z.string().nullable().openapi({
    description: "The key, shown this once. Null: this repeats a first answer to another session " +
      "than the one that it was for (`Idempotency-Key`); the key itself is not stored.",
    example: "roost_…",
  }),
}).openapi("ShownKey");
const EXAMPLE = {
  id: "b0c3f1",
  name: "exporter",
  scopes: ["devices:read"],
  createdBy: "u1",
  createdAt: 1_700_000_000_000,
  expiresAt: null,
  lastUsedAt: null,
};
const PATH = "/api/v1/keys";
const PARAMS = z.object({ id: ID.openapi({ description: "Id of the key.", example: "b0c3f1" }) });
const ETAG = { ETag: "Strong tag of this key." };

export function keyRoutes(ports: HttpPorts): Route[] {
  return [createKey(ports), listKeys(ports), readKey(ports), endKey(ports)];
}

function createKey({ keys }: HttpPorts): Route {
  return createRoute({
    method: "post",
    path: PATH,
    tag: "access",
    summary: "Makes an API key",
    description: "The key is in this answer only. Send it as `Authorization: Bearer roost_…`.",
    body: NEW_KEY,
    bodyExample: { name: "exporter", scopes: ["devices:read"] },
    responses: {
      201: {
        description: "Made.",
        schema: SHOWN_KEY,
        example: { ...EXAMPLE, key: "roost_…" },
        headers: { ...ETAG, Location: "Path of the key." },
      },
    },
    problems: ["conflict"],
    secretField: "key",
    async handle({ body, caller, keep }) {
      assert(caller?.type === "user", "the policy lets only people make keys");
      const made = ({ apiKey, key }: ShownApiKey): Answer => {
        const location = `${PATH}/${encodeURIComponent(apiKey.id)}`;
        return { status: 201, value: { ...apiKey, key }, etag: tagOf(apiKey), location };
      };
      return respond(made(valueOf(await keys.create(definedOf(body), caller, keep(made)))));
    },
  });
}

function listKeys({ keys }: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: PATH,
    tag: "access",
    summary: "Lists API keys",
    description: "By id, or as `sort` says.",
    query: z.strictObject({
      ...LIST_QUERY,
      sort: sortBy(["name", "createdAt"], "Texts in order of their UTF-8 bytes.").optional(),
      q: title("Part of the name, in either case.", "export").optional(),
    }),
    responses: {
      200: {
        description: "A page of keys, without the keys themselves.",
        schema: countedPageOf(KEY),
        example: { items: [EXAMPLE], nextCursor: null },
      },
    },
    async handle({ query, caller }) {
      const { count: isCounted, ...rest } = query;
      const asked = definedOf({ ...rest, limit: query.limit ?? 50 });
      const { items, nextCursor } = valueOf(await keys.list(caller!.project, asked), "query.");
      const count = isCounted ? await keys.count(caller!.project, asked.q) : undefined;
      return answerPage(items, nextCursor, count);
    },
  });
}

function readKey({ keys }: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: `${PATH}/{id}`,
    tag: "access",
    summary: "Reads an API key",
    description: "Without the key itself.",
    params: PARAMS,
    responses: { 200: { description: "The key.", schema: KEY, example: EXAMPLE, headers: ETAG } },
    problems: ["not-found"],
    async handle({ params, caller }) {
      const found = await keys.get(caller!.project, params.id);
      if (found === undefined) throw new NotFoundError(`Cannot find API key "${params.id}"`);
      return answer(200, found, { etag: tagOf(found) });
    },
  });
}

function endKey({ keys }: HttpPorts): Route {
  return createRoute({
    method: "delete",
    path: `${PATH}/{id}`,
    tag: "access",
    summary: "Ends an API key",
    description: "At once. Twice is harmless.",
    params: PARAMS,
    responses: { 204: { description: "It is not there any more." } },
    isConditional: true,
    async handle({ params, caller, request }) {
      const found = await keys.get(caller!.project, params.id);
      if (found === undefined) return noContent();
      assertMatches(request.headers, tagOf(found));
      await keys.delete(caller!.project, params.id);
      return noContent();
    },
  });
}

/** A key never changes: when it was used last is no part of its state. */
function tagOf({ createdAt }: ApiKey): string {
  return versionTag({ version: 1, createdAt });
}
