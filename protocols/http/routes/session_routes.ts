/** Log in, see who one is, change the password, see and end sessions, log out. */
import { z } from "@hono/zod-openapi";
import { assert, NotFoundError } from "../../../runtime/errors.ts";
import { SCOPES } from "../../../actors/access/principal.ts";
import type { Person } from "../../../actors/access/sessions.ts";
import { BROWSER_COOKIE, browserCookie, cookieValue, sessionCookie } from "../cookies.ts";
import { SESSION_COOKIE } from "../cookies.ts";
import { valueOf } from "../outcome_answers.ts";
import { isRoleAtLeast, scopesOf } from "../policy.ts";
import type { Caller, HttpPorts } from "../ports.ts";
import { ProblemError } from "../problem.ts";
import { definedOf } from "../request_input.ts";
import { answer, answerPage, noContent } from "../responses.ts";
import { createRoute, type Route } from "../route.ts";
import { pageOf, ROLE, time } from "../schemas.ts";

const PASSWORD = z.string().max(1_024);
const LOGIN = z.strictObject({
  name: z.string().min(1).max(128).openapi({ description: "Name of the user.", example: "owner" }),
  password: PASSWORD.openapi({
    description: "The user's password.",
    example: "correct horse battery staple",
  }),
}).openapi("Login");
const FIELDS = {
  user: z.object({
    id: z.string().openapi({ description: "Id of the user.", example: "u1" }),
    name: z.string().openapi({ description: "Name of the user.", example: "owner" }),
    role: ROLE,
  }).describe("Who is logged in."),
  project: z.string().openapi({ description: "Id of the project.", example: "default" }),
  scopes: z.array(z.enum(SCOPES)).openapi({
    description: "What the role allows, in the words of API keys' scopes.",
    example: ["devices:read"],
  }),
  csrf: z.string().openapi({
    description: "Send it as `X-CSRF-Token` on every write with the cookie.",
    example: "q1Zs0c8h",
  }),
};
const SESSION = z.object(FIELDS).openapi("Session");
const NEW_SESSION = z.object({ ...FIELDS, expiresAt: time("When the session ends.") })
  .openapi("NewSession");
const EXAMPLE = {
  user: { id: "u1", name: "owner", role: "owner" },
  project: "default",
  scopes: ["devices:read"],
  csrf: "q1Zs0c8h",
};
const NEW_PASSWORD = z.strictObject({
  current: PASSWORD.openapi({ description: "The password until now.", example: "correct horse" }),
  password: PASSWORD.openapi({ description: "The new one.", example: "battery staple" }),
}).openapi("PasswordChange");
const ID = z.string().min(1).max(64);
const OPEN_SESSION = z.object({
  id: ID.openapi({ description: "Id of the session; not its token.", example: "Zk3vJ0bqf7h2mQ" }),
  createdAt: time("When it was opened."),
  expiresAt: time("When it ends."),
  remote: z.string().openapi({ description: "Network of the login.", example: "192.0.2.1" }),
  agent: z.string().openapi({
    description: "What the client called itself.",
    example: "Mozilla/5.0",
  }),
  isCurrent: z.boolean().openapi({ description: "It is the caller's own.", example: true }),
}).openapi("OpenSession");
const OPEN_EXAMPLE = {
  id: "Zk3vJ0bqf7h2mQ",
  createdAt: 1_700_000_000_000,
  expiresAt: 1_700_043_200_000,
  remote: "192.0.2.1",
  agent: "Mozilla/5.0",
  isCurrent: true,
};
const OF_USER = z.strictObject({
  user: ID.openapi({
    description: "Id of another user, for owners; without it, the caller.",
    example: "u2",
  }).optional(),
});
const PATH = "/api/v1/session";
/** More than a name and a password come to; nobody is known yet who sends it. */
const LOGIN_BYTES_MAX = 8_192;

export function sessionRoutes(ports: HttpPorts): Route[] {
  return [
    logIn(ports),
    readSession(),
    changePassword(ports),
    logOut(ports),
    listSessions(ports),
    endSession(ports),
  ];
}

function logIn(ports: HttpPorts): Route {
  return createRoute({
    method: "post",
    path: PATH,
    tag: "access",
    summary: "Logs a person in",
    action: "session.login",
    description:
      "Sets the cookie `roost_session`: HttpOnly, SameSite=Strict; and `roost_browser`, " +
      "by which a browser is known at the next login: failures of strangers do not hold it up.",
    body: LOGIN,
    bodyExample: { name: "owner", password: "correct horse battery staple" },
    bodyBytesMax: LOGIN_BYTES_MAX,
    responses: {
      200: {
        description: "The session.",
        schema: NEW_SESSION,
        example: { ...EXAMPLE, expiresAt: 1_700_043_200_000 },
        headers: { "Set-Cookie": "The session's token, and the browser's." },
      },
    },
    problems: ["unauthorized", "forbidden"],
    async handle({ body, request: { headers, url }, remote }) {
      assertSameSite(headers);
      const browser = cookieValue(headers, BROWSER_COOKIE);
      const agent = headers.get("user-agent") ?? "";
      const login = await ports.sessions.login(definedOf({ ...body, remote, browser, agent }));
      if (!login.ok) {
        if (login.code === "locked_out") throw tooManyAttempts(login.retryAfterMs);
        throw new ProblemError("unauthorized", "Cannot log in: name or password is wrong");
      }
      const { token, expiresAt, principal } = login;
      const isSecure = ports.isCookieSecure === true || url.startsWith("https:");
      const seconds = Math.floor((expiresAt - ports.clock.nowMs()) / 1_000);
      const response = answer(200, { ...shownOf(principal), expiresAt });
      response.headers.append("set-cookie", sessionCookie(token, seconds, isSecure));
      response.headers.append("set-cookie", browserCookie(login.browser, isSecure));
      return response;
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
    handle: ({ caller }) => answer(200, shownOf(personOf(caller))),
  });
}

function changePassword({ sessions, users }: HttpPorts): Route {
  return createRoute({
    method: "patch",
    path: `${PATH}/password`,
    tag: "access",
    summary: "Changes the caller's own password",
    action: "session.password",
    description: "Every other session of the caller ends at once.",
    body: NEW_PASSWORD,
    bodyExample: { current: "correct horse", password: "battery staple" },
    bodyBytesMax: LOGIN_BYTES_MAX,
    responses: { 204: { description: "It is the password from now on." } },
    async handle({ body, caller, remote }) {
      const person = personOf(caller);
      const { isRight, retryAfterMs } = await sessions.confirm(person, {
        password: body.current,
        remote,
      });
      if (retryAfterMs > 0) throw tooManyAttempts(retryAfterMs);
      if (!isRight) {
        throw new ProblemError("forbidden", "Cannot change the password: the current one is wrong");
      }
      const patch = { password: body.password };
      const keptSession = person.session;
      valueOf(await users.update(person.project, person.id, patch, { keptSession }));
      return noContent();
    },
  });
}

function logOut(ports: HttpPorts): Route {
  return createRoute({
    method: "delete",
    path: PATH,
    tag: "access",
    summary: "Logs out",
    action: "session.logout",
    responses: { 204: { description: "The session is over." } },
    async handle({ request }) {
      const token = cookieValue(request.headers, SESSION_COOKIE);
      if (token !== undefined) await ports.sessions.logout(token);
      const response = noContent();
      response.headers.set("set-cookie", sessionCookie("", 0, ports.isCookieSecure === true));
      return response;
    },
  });
}

function listSessions(ports: HttpPorts): Route {
  return createRoute({
    method: "get",
    path: "/api/v1/sessions",
    tag: "access",
    summary: "Lists open sessions",
    description: "The caller's own, newest first; an owner sees those of each user of the project.",
    query: OF_USER,
    responses: {
      200: {
        description: "All of them.",
        schema: pageOf(OPEN_SESSION),
        example: { items: [OPEN_EXAMPLE], nextCursor: null },
      },
    },
    problems: ["not-found"],
    async handle({ query, caller }) {
      const person = personOf(caller);
      const open = await ports.sessions.list(await userOf(ports, person, query.user));
      const items = open.map((each) => ({ ...each, isCurrent: each.id === person.session }));
      return answerPage(items, null); // At most `sessionsPerUserMax`: one page.
    },
  });
}

function endSession(ports: HttpPorts): Route {
  return createRoute({
    method: "delete",
    path: "/api/v1/sessions/{id}",
    tag: "access",
    summary: "Ends a session",
    description: "At once. Twice is harmless.",
    params: z.object({
      id: ID.openapi({ description: "Id of the session.", example: "Zk3vJ0bqf7h2mQ" }),
    }),
    query: OF_USER,
    responses: { 204: { description: "It is over." } },
    problems: ["not-found"],
    async handle({ params, query, caller }) {
      await ports.sessions.end(await userOf(ports, personOf(caller), query.user), params.id);
      return noContent();
    },
  });
}

/** @throws {ProblemError | NotFoundError} For another user: 403 unless an owner asks, then 404. */
async function userOf(
  { users }: HttpPorts,
  person: Person,
  user: string | undefined,
): Promise<string> {
  if (user === undefined || user === person.id) return person.id;
  if (!isRoleAtLeast(person.role, "owner")) {
    throw new ProblemError(
      "forbidden",
      "Cannot look at another user's sessions: it takes an owner",
    );
  }
  const found = await users.get(person.project, user);
  if (found === undefined) throw new NotFoundError(`Cannot find user "${user}"`);
  return found.id;
}

function personOf(caller: Caller | undefined): Person {
  assert(caller?.type === "user", "the policy lets only people have sessions");
  return caller;
}

/** SameSite keeps the cookie in; this keeps a foreign page from logging its visitor in as another. */
function assertSameSite(headers: Headers): void {
  const site = headers.get("sec-fetch-site");
  if (site === null || site === "same-origin" || site === "none") return;
  throw new ProblemError("forbidden", "Cannot log in from another site");
}

function tooManyAttempts(retryAfterMs: number): ProblemError {
  const detail = "Cannot check a password now: too many attempts were wrong";
  return new ProblemError("rate-limited", detail, { retryAfterMs });
}

function shownOf(person: Person) {
  const { id, name, role, project, csrf } = person;
  return { user: { id, name, role }, project, scopes: scopesOf(person), csrf };
}
