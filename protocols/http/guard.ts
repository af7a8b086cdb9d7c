/**
 * Who calls, and whether they may: credentials, rate, policy and CSRF, in this order, before anything
 * of the body is read.
 */
import { timingSafeEqual } from "node:crypto";
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { DEFAULT_PROJECT } from "../../actors/registry/registry_store.ts";
import { cookieValue, SESSION_COOKIE } from "./cookies.ts";
import { type CallerPolicy, mayCall, type Policy } from "./policy.ts";
import type { Caller, HttpPorts } from "./ports.ts";
import { ProblemError } from "./problem.ts";
import { type BucketRate, type BucketState, TokenBuckets } from "./token_buckets.ts";

export const CSRF_HEADER = "x-csrf-token";
/** Longer credentials are refused unread. */
const CREDENTIAL_CHARACTERS_MAX = 512;
const CHALLENGE = { "www-authenticate": `Bearer realm="roost"` };
const ENCODER = new TextEncoder();
export const RATE_DEFAULT: BucketRate = {
  perSecond: LIMITS.httpRequestsPerSecondMax,
  burst: LIMITS.httpRequestsBurstMax,
};

export interface Admitted {
  readonly caller: Caller | undefined;
  /** What the caller proved itself with: its key, or the token of its session. */
  readonly credential: string | undefined;
}

const NOBODY: Admitted = { caller: undefined, credential: undefined };

export class Guard {
  readonly #ports: Pick<HttpPorts, "keys" | "sessions">;
  readonly #rates: TokenBuckets;

  constructor(
    ports: Pick<HttpPorts, "keys" | "sessions">,
    clock: Clock,
    rate: BucketRate = RATE_DEFAULT,
  ) {
    this.#ports = ports;
    this.#rates = new TokenBuckets(rate, clock, LIMITS.httpCallersMax);
  }

  /**
   * Who calls.
   * @param onRate Told what is left of the caller's rate, also where the request is refused.
   * @throws {ProblemError} 401 or 429.
   */
  async identify(
    request: Request,
    policy: Policy,
    remote: string,
    onRate: (rate: BucketState) => void,
  ): Promise<Admitted> {
    if (policy.type === "device") return NOBODY; // Devices have buckets of their own.
    if (policy.type === "public") {
      this.#take(`address:${remote}`, onRate);
      return NOBODY;
    }
    const credential = credentialOf(request.headers);
    const caller = credential && await findCaller(this.#ports, credential);
    // Strangers share the bucket of their address, so that guessing is paid for before it is answered.
    this.#take(caller === undefined ? `address:${remote}` : bucketOf(caller), onRate);
    if (caller === undefined) {
      const detail = "Cannot tell who calls: log in, or send an API key";
      throw new ProblemError("unauthorized", detail, { headers: CHALLENGE });
    }
    return { caller, credential: credential?.token };
  }

  /** @throws {ProblemError} 403. */
  authorize(request: Request, policy: Policy, caller: Caller | undefined): void {
    if (policy.type !== "caller" || caller === undefined) return;
    assertAllowed(policy, caller);
    if (caller.type === "user" && !isSafe(request.method)) assertCsrf(request, caller.csrf);
  }

  #take(name: string, onRate: (rate: BucketState) => void): void {
    const rate = this.#rates.take(name);
    onRate(rate);
    if (rate.isAllowed) return;
    const detail = `Cannot take more requests: ${rate.limit} at once are the bound`;
    throw new ProblemError("rate-limited", detail, { retryAfterMs: rate.retryAfterMs });
  }
}

/** What a caller is known by, as it came. */
export interface Credential {
  readonly type: "key" | "session";
  readonly token: string;
}

/** The credential of a request, if there is one that could be. */
export function credentialOf(headers: Headers): Credential | undefined {
  const header = headers.get("authorization");
  if (header !== null) { // A key that is wrong is not covered up by a cookie that is right.
    const key = /^bearer +(\S+)$/i.exec(header.slice(0, CREDENTIAL_CHARACTERS_MAX))?.[1];
    return key === undefined ? undefined : { type: "key", token: key };
  }
  const token = cookieValue(headers, SESSION_COOKIE);
  return token === undefined ? undefined : { type: "session", token };
}

/** Who it is of; undefined: nobody, or not any more. */
export async function findCaller(
  { keys, sessions }: Pick<HttpPorts, "keys" | "sessions">,
  { type, token }: Credential,
): Promise<Caller | undefined> {
  return type === "key" ? await keys.find(token) : await sessions.find(token);
}

/** @throws {ProblemError} 403. */
export function assertAllowed(policy: CallerPolicy, caller: Caller): void {
  if (mayCall(policy, caller)) return;
  const { role, scope } = policy;
  const needed = scope === undefined
    ? `a person of role ${role}`
    : `role ${role}, or a key with ${scope === "any" ? "any scope" : `scope ${scope}`}`;
  const where = policy.isOfInstallation ? `, of project ${DEFAULT_PROJECT}` : "";
  throw new ProblemError("forbidden", `Cannot do this: it takes ${needed}${where}`);
}

function assertCsrf(request: Request, expected: string): void {
  const sent = ENCODER.encode(request.headers.get(CSRF_HEADER) ?? "");
  const wanted = ENCODER.encode(expected);
  if (sent.length === wanted.length && timingSafeEqual(sent, wanted)) return;
  throw new ProblemError("csrf", "Cannot write with a cookie alone: send X-CSRF-Token too");
}

function isSafe(method: string): boolean {
  return method === "GET" || method === "HEAD";
}

function bucketOf(caller: Caller): string {
  return `${caller.type}:${caller.id}`;
}
