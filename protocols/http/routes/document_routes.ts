/** `/openapi.json`, made from the routes; a page of it to read; and the console. */
import { OpenAPIHono, z } from "@hono/zod-openapi";
import { docsPage } from "../pages.ts";
import type { HttpPorts } from "../ports.ts";
import { ProblemError } from "../problem.ts";
import { createRoute, type Route, type RouteRequest } from "../route.ts";

const HTML = { description: "A page.", mediaType: "text/html", schema: z.string(), example: "<p>" };
const HTML_HEADERS = { "content-type": "text/html; charset=utf-8", "cache-control": "no-cache" };
const DESCRIPTION =
  "JSON, camelCase. Times are epoch milliseconds (`…At`), durations milliseconds " +
  "(`…Ms`). Unknown fields and query parameters are refused. Errors are problem documents " +
  "(RFC 9457). A POST takes an `Idempotency-Key`, but for the login; of what devices post, " +
  "properties and events do: without one a message that is sent twice is two messages. People log in and send `X-CSRF-Token` on writes; programs send an API key. " +
  "Answers carry `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` (seconds).";

/** The one route of all paths that no other route has: files and pages of the console. */
export const FALLBACK_ROUTE = "GET /{path}";

/** The document describes `others` and these routes themselves. Made when it is first asked for. */
export function createDocumentRoutes(
  others: readonly Route[],
  { site }: Pick<HttpPorts, "site">,
): Route[] {
  let document: string | undefined;
  let page: string | undefined;
  const textOf = (): string => document ??= JSON.stringify(documentOf([...others, ...own]));
  const respond = async ({ request, instance }: RouteRequest<unknown, unknown, unknown>) => {
    const found = await site.respond(request, instance);
    if (found === undefined) throw new ProblemError("not-found", "There is no such resource");
    return found;
  };
  const own: Route[] = [
    createRoute({
      method: "get",
      path: "/",
      tag: "document",
      summary: "Opens the console",
      isRaw: true,
      responses: { 200: HTML },
      handle: (request) => respond(request),
    }),
    createRoute({
      method: "get",
      path: "/{path}",
      tag: "document",
      summary: "Serves the console's files, and its document for the path of each of its pages",
      params: z.object({
        path: z.string().openapi({
          description: "Any path that no other route has.",
          example: "devices",
        }),
      }),
      isRaw: true,
      responses: { 200: HTML },
      problems: ["not-found"],
      handle: (request) => respond(request),
    }),
    createRoute({
      method: "get",
      path: "/docs",
      tag: "document",
      summary: "Shows this document",
      responses: { 200: HTML },
      handle: () => {
        page ??= docsPage(JSON.parse(textOf()));
        return new Response(page, { headers: HTML_HEADERS });
      },
    }),
    createRoute({
      method: "get",
      path: "/openapi.json",
      tag: "document",
      summary: "Reads this document",
      responses: {
        200: {
          description: "OpenAPI 3.1.",
          schema: z.looseObject({ openapi: z.string().describe("Version of OpenAPI.") }),
          example: { openapi: "3.1.0" },
        },
      },
      handle: () => {
        const headers = { "content-type": "application/json", "cache-control": "no-cache" };
        return new Response(textOf(), { headers });
      },
    }),
  ];
  return own;
}

function documentOf(routes: readonly Route[]): object {
  const described = describer(routes);
  const registry = described.openAPIRegistry;
  registry.registerComponent("securitySchemes", "session", {
    type: "apiKey",
    in: "cookie",
    name: "roost_session",
    description: "Set by `POST /api/v1/session`; writes also need `X-CSRF-Token`.",
  });
  registry.registerComponent("securitySchemes", "key", {
    type: "http",
    scheme: "bearer",
    description: "An API key, `roost_…`, with scopes.",
  });
  registry.registerComponent("securitySchemes", "deviceToken", {
    type: "http",
    scheme: "bearer",
    description: "The device's token of `POST /ingest/v1/{product}/{device}/token`.",
  });
  registry.registerComponent("securitySchemes", "device", {
    type: "http",
    scheme: "basic",
    description: "User `{product}/{device}`, password the device's secret.",
  });
  return described.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Roost",
      version: "1",
      description: DESCRIPTION,
      license: { name: "Apache-2.0" },
    },
    tags: [...new Set(routes.map((route) => route.tag))].map((name) => ({ name })),
  });
}

function describer(routes: readonly Route[]): OpenAPIHono {
  const app = new OpenAPIHono();
  for (const route of routes) route.describe(app.openAPIRegistry);
  return app;
}
