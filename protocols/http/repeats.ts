/**
 * `Idempotency-Key`: the first answer of a POST is kept, and the same request of the same caller gets
 * it again instead of being done twice.
 *
 * Kept are final answers: successes, refusals by the state of things (404, 409, 412), and 504: it may
 * have been done, so that a repeat must not do it again. Of what could not be taken (400, 429, other 5xx)
 * nothing is remembered: it may be sent again.
 */
import { createHash, createHmac } from "node:crypto";
import { InvalidError, messageOf } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { KeptAnswer, KeptAnswers, KeyedRequest } from "../../actors/registry/kept_answers.ts";
import { ProblemError } from "./problem.ts";
import type { Answer } from "./responses.ts";
import { headersOf } from "./responses.ts";
import type { Keep, RawInput, Route } from "./route.ts";

export const KEY_HEADER = "Idempotency-Key";
export const REPLAYED_HEADER = "Idempotent-Replayed";
const PRINTABLE = /^[ -~]+$/;
const KEPT_HEADERS = ["content-type", "etag", "location"] as const;
/** What is kept besides successes. */
const FINAL_REFUSALS: ReadonlySet<number> = new Set([404, 409, 412, 504]);
/** The first request ends within its own deadlines; most do within milliseconds. */
const RETRY_MS = 1_000;

/** No answer is kept of a request without a key. */
export const KEEP_NOTHING: Keep = () => undefined;

export class Repeats {
  readonly #answers: Pick<KeptAnswers, "find" | "fullForMs" | "keep">;
  readonly #logger: Logger;
  /** Keys whose first request is under way. */
  readonly #running = new Set<string>();

  constructor(answers: Pick<KeptAnswers, "find" | "fullForMs" | "keep">, logger: Logger) {
    this.#answers = answers;
    this.#logger = logger;
  }

  /**
   * @param handle Does it, and answers also where it refuses.
   * @throws {InvalidError | ProblemError} 400, 409 with `Retry-After`, 422, 429.
   */
  async serve(
    route: Route,
    input: RawInput,
    handle: (keep: Keep) => Promise<Response>,
  ): Promise<Response> {
    const request = keyedRequestOf(route, input);
    if (request === undefined) return await handle(KEEP_NOTHING);
    const name = JSON.stringify([request.project, request.caller, request.key]);
    if (this.#running.has(name)) {
      const detail = `Cannot do this twice at once: the first request of this ${KEY_HEADER} is ` +
        "under way";
      throw new ProblemError("idempotency-in-progress", detail, { retryAfterMs: RETRY_MS });
    }
    this.#running.add(name);
    try {
      return await this.#first(route, request) ?? await this.#handled(route, request, handle);
    } finally {
      this.#running.delete(name);
    }
  }

  /** The first answer, if there was one. */
  async #first(route: Route, request: KeyedRequest): Promise<Response | undefined> {
    const found = await this.#answers.find(request);
    if (found.type === "same") return replayed(found.answer);
    if (found.type === "other") {
      const session = route.hasPassword ? ", or in another session" : "";
      const detail = `Cannot take this ${KEY_HEADER}: it was used for a request with another ` +
        `body, path or If-Match than this ${route.name}${session}`;
      throw new ProblemError("idempotency-key-reused", detail);
    }
    const fullForMs = await this.#answers.fullForMs(request.project, this.#running.size);
    if (fullForMs === 0) return undefined;
    const detail = `Cannot remember another ${KEY_HEADER}: of one project's last 24 hours, ` +
      `${LIMITS.answersKeptMax} answers and ${LIMITS.answersKeptBytesMax} B are the bound`;
    throw new ProblemError("rate-limited", detail, { retryAfterMs: fullForMs });
  }

  async #handled(
    route: Route,
    request: KeyedRequest,
    handle: (keep: Keep) => Promise<Response>,
  ): Promise<Response> {
    let isKept = false;
    const response = await handle((answerOf) => async (transaction, value) => {
      await this.#answers.keep(request, keptOf(route, answerOf(value)), transaction);
      isKept = true;
    });
    const { status } = response;
    if (isKept || !(response.ok || FINAL_REFUSALS.has(status))) return response;
    const body = await response.text();
    const headers = Object.fromEntries(KEPT_HEADERS.flatMap((name) => {
      const value = response.headers.get(name);
      return value === null ? [] : [[name, value]];
    }));
    try {
      await this.#answers.keep(request, withoutSecret(route, { status, headers, body }));
    } catch (fault) { // It is done: that its answer could not be kept is no reason to say otherwise.
      this.#logger.warn("answer not kept", { route: route.name, fault: messageOf(fault) });
    }
    return new Response(body === "" ? null : body, { status, headers: response.headers });
  }
}

/** @throws {InvalidError} The key is none. */
function keyedRequestOf(
  { hasPassword }: Route,
  { request, url, bytes, caller, credential }: RawInput,
): KeyedRequest | undefined {
  const key = request.headers.get(KEY_HEADER);
  if (key === null || caller === undefined || credential === undefined) return undefined;
  const message = keyRefusal(key);
  if (message !== undefined) {
    throw new InvalidError(message, [{ path: `header.${KEY_HEADER}`, rule: "key", message }]);
  }
  // A device's secret is as safe in this hash as in its own, which is SHA-256 too. A password is not.
  const hash = hasPassword ? createHmac("sha256", credential) : createHash("sha256");
  const print = hash
    .update(JSON.stringify([request.method, url.pathname, url.search]))
    .update(JSON.stringify(request.headers.get("if-match")))
    .update(bytes).digest();
  const { project, type, id } = caller;
  return { project, caller: `${type}:${id}`, key, print, credential };
}

/** Why a key is none; undefined: it is one. */
export function keyRefusal(key: string): string | undefined {
  const max = LIMITS.idempotencyKeyCharactersMax;
  if (key.length <= max && PRINTABLE.test(key)) return undefined;
  return `Cannot take an ${KEY_HEADER} of ${key.length} characters: 1 to ${max} of printable ASCII`;
}

function keptOf(route: Route, answer: Answer): KeptAnswer {
  const { status, value } = answer;
  return withoutSecret(route, { status, headers: headersOf(answer), body: JSON.stringify(value) });
}

function withoutSecret({ secretField }: Route, answer: KeptAnswer): KeptAnswer {
  if (secretField === undefined || answer.status >= 300) return answer;
  const bodyWithoutSecret = JSON.stringify({ ...JSON.parse(answer.body), [secretField]: null });
  return { ...answer, bodyWithoutSecret };
}

function replayed({ status, headers, body }: KeptAnswer): Response {
  return new Response(body === "" ? null : body, {
    status,
    headers: { ...headers, "cache-control": "no-store", [REPLAYED_HEADER]: "true" },
  });
}
