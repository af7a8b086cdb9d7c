/** Log in, see who one is, log out. */
import { z } from "@hono/zod-openapi";
import { assert } from "../../../runtime/errors.ts";
import { SESSION_COOKIE, sessionToken } from "../guard.ts";
import type { Caller, HttpPorts } from "../ports.ts";
import { ProblemError } from "../problem.ts";
import { answer, noContent } from "../responses.ts";
import { createRoute, type Route } from "../route.ts";
import { time } from "../schemas.ts";

const LOGIN = z.strictObject({
  name: z.string().min(1).max(128).openapi({ description: "Name of the user.", example: "owner" }),
  password: z.string().max(1_024).openapi({
    description: "The user's password.",
    example: "correct horse battery staple",
  }),
}).openapi("Login");
const USER_FIELDS = {
  name: z.string().openapi({ description: "Name of the user.", example: "owner" }),
  role: z.enum(["owner", "operator", "viewer"]).openapi({
    description: "What the user may do.",
    example: "owner",
  }),
  project: z.string().openapi({ description: "Id of the project.", example: "default" }),
  csrf: z.string().openapi({
    description: "Send it as `X-CSRF-Token` on every write with the cookie.",
    example: "q1Zs0c8h",
  }),
};
const SESSION = z.object(USER_FIELDS).openapi("Session");
const NEW_SESSION = z.object({ ...USER_FIELDS, expiresAt: time("When the session ends.") })
  .openapi("NewSession");
const EXAMPLE = { name: "owner", role: "owner", project: "default", csrf: "q1Zs0c8h" };
const PATH = "/api/v1/session";
/** More than a name and a password come to; nobody is known yet who sends it. */
const LOGIN_BYTES_MAX = 8_192;

export function sessionRoutes(ports: HttpPorts): Route[] {
  return [logIn(ports), readSession(), logOut(ports)];
}

function logIn(ports: HttpPorts): Route {
  return createRoute({
    method: "post",
    path: PATH,
    tag: "access",
    summary: "Logs a person in",
    description: "Sets the cookie `roost_session`: HttpOnly, SameSite=Strict.",
    body: LOGIN,
    bodyExample: { name: "owner", password: "correct horse battery staple" },
    bodyBytesMax: LOGIN_BYTES_MAX,
    responses: {
      200: {
        description: "The session.",
        schema: NEW_SESSION,
        example: { ...EXAMPLE, expiresAt: 1_700_043_200_000 },
        headers: { "Set-Cookie": "The session's token." },
      },
    },
    problems: ["unauthorized", "forbidden"],
    async handle({ body, request, remote }) {
      assertSameSite(request.headers);
      const login = await ports.sessions.login({ ...body, remote });
      if (!login.ok) {
        if (login.code === "bad_credentials") {
          throw new ProblemError("unauthorized", "Cannot log in: name or password is wrong");
        }
        const { retryAfterMs } = login;
        const detail = "Cannot log in now: too many attempts were wrong";
        throw new ProblemError("rate-limited", detail, { retryAfterMs });
      }
      const { token, expiresAt, principal } = login;
      const isSecure = ports.isCookieSecure === true || request.url.startsWith("https:");
      const seconds = Math.floor((expiresAt - ports.clock.nowMs()) / 1_000);
      const cookie = cookieOf(token, seconds, isSecure);
      return answer(200, { ...shownOf(principal), expiresAt }, {
        headers: { "set-cookie": cookie },
      });
    },
  });
}

function readSession(): Route {
  return createRoute({
    method: "get",
    path: PATH,
    tag: "access",
    summary: "Says who is logged in",
    responses: { 200: { description: "The session.", schema: SESSION, example: EXAMPLE } },
    handle({ caller }) {
      assert(caller?.type === "user", "the policy lets only people read a session");
      return answer(200, shownOf(caller));
    },
  });
}

function logOut(ports: HttpPorts): Route {
  return createRoute({
    method: "delete",
    path: PATH,
    tag: "access",
    summary: "Logs out",
    responses: { 204: { description: "The session is over." } },
    async handle({ request }) {
      const token = sessionToken(request.headers);
      if (token !== undefined) await ports.sessions.logout(token);
      const response = noContent();
      response.headers.set("set-cookie", cookieOf("", 0, ports.isCookieSecure === true));
      return response;
    },
  });
}

/** SameSite keeps the cookie in; this keeps a foreign page from logging its visitor in as another. */
function assertSameSite(headers: Headers): void {
  const site = headers.get("sec-fetch-site");
  if (site === null || site === "same-origin" || site === "none") return;
  throw new ProblemError("forbidden", "Cannot log in from another site");
}

function shownOf({ name, role, project, csrf }: Caller & { type: "user" }) {
  return { name, role, project, csrf };
}

function cookieOf(token: string, seconds: number, isSecure: boolean): string {
  return `${SESSION_COOKIE}=${token}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Strict` +
    (isSecure ? "; Secure" : "");
}
