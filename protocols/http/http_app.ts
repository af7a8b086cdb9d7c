/**
 * The one HTTP app: `/api/v1` for people and programs, `/ingest/v1` for devices, health, metrics,
 * the document and the console. Works without a port: `fetch` takes a request and gives its response.
 */
import { type Context, Hono } from "hono";
import { assert, messageOf, OverloadedError } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { networkOf } from "../../runtime/network_of.ts";
import { createDocumentRoutes, FALLBACK_ROUTE } from "./routes/document_routes.ts";
import { Auditor } from "./auditor.ts";
import type { DevicePolls } from "./device_polls.ts";
import { Guard } from "./guard.ts";
import { Ingest } from "./ingest.ts";
import { INGEST_PREFIX } from "./ingest_path.ts";
import { LiveFeeds } from "./live_feeds.ts";
import { assertAllPoliciesUsed } from "./policy.ts";
import type { HttpPorts } from "./ports.ts";
import { problemOf, problemResponse } from "./problem.ts";
import { assertJsonType, readBytes, readCoding, readInflated } from "./request_input.ts";
import { createRoutes } from "./routes/routes.ts";
import { compressed } from "./compression.ts";
import { KEEP_NOTHING, Repeats } from "./repeats.ts";
import type { Keep, Route } from "./route.ts";
import { type BucketState, withRate } from "./token_buckets.ts";

/** Where a request came from; as `Deno.serve` says it. */
export interface RequestOrigin {
  readonly remoteAddr: Deno.Addr;
}

export interface HttpFigures {
  /** Requests answered so far by status: `202`. */
  readonly answers: ReadonlyMap<number, number>;
  readonly inFlight: number;
  /** Posts of devices that wait for their body or their append. */
  readonly posts: number;
  /** Devices that wait for downlinks. */
  readonly polls: number;
  /** Open live feeds. */
  readonly feeds: number;
}

export interface HttpApp extends Disposable {
  readonly app: Hono<AppEnv>;
  readonly routes: readonly Route[];
  fetch(request: Request, origin?: RequestOrigin): Promise<Response> | Response;
  figures(): HttpFigures;
  /** Polls of devices, to be told what is committed for them. */
  readonly polls: Pick<DevicePolls, "wake" | "wakeAll">;
  /** Refuses requests from now on; resolves when those before are answered, or after `withinMs`. */
  drain(withinMs: number): Promise<void>;
}

interface AppEnv {
  Bindings: { readonly remote?: string };
}

const SECURITY_HEADERS: readonly (readonly [string, string])[] = [
  ["x-content-type-options", "nosniff"],
  ["x-frame-options", "DENY"],
  ["referrer-policy", "no-referrer"],
  ["cross-origin-resource-policy", "same-origin"],
  [
    "content-security-policy",
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; " +
    "frame-ancestors 'none'",
  ],
];
const EMPTY = new Uint8Array();
const EMPTY_OBJECT = new TextEncoder().encode("{}");
const UNKNOWN_REMOTE = "unknown";
const PUBLIC = { type: "public" } as const;

/** @throws {AssertionError} If a route has no policy or a policy no route. */
export function createHttpApp(ports: HttpPorts): HttpApp {
  const ingest = new Ingest(ports);
  const feeds = new LiveFeeds(ports);
  const served = createRoutes(ports, ingest, feeds);
  const routes = [...served, ...createDocumentRoutes(served, ports)];
  assertAllPoliciesUsed(new Set(routes.map((route) => route.name)));
  return new RoostHttpApp(ports, ingest, feeds, routes);
}

class RoostHttpApp implements HttpApp {
  readonly app = new Hono<AppEnv>();
  readonly routes: readonly Route[];
  readonly #ports: HttpPorts;
  readonly #ingest: Ingest;
  readonly #feeds: LiveFeeds;
  readonly #guard: Guard;
  readonly #repeats: Repeats;
  readonly #auditor: Auditor;
  readonly #answers = new Map<number, number>();
  /** Aborts when bodies are no longer waited for. */
  readonly #closing = new AbortController();
  /** Told to the caller and in the log, so that one leads to the other. */
  readonly #ids = new WeakMap<Request, string>();
  readonly #startedAt: string;
  #requests = 0;
  #inFlight = 0;
  #readingBytes = 0;
  /** Present while draining; called when nothing is in flight. */
  #drained: (() => void) | undefined;

  constructor(ports: HttpPorts, ingest: Ingest, feeds: LiveFeeds, routes: readonly Route[]) {
    this.#ports = ports;
    this.#ingest = ingest;
    this.#feeds = feeds;
    this.routes = routes;
    this.#startedAt = ports.clock.nowMs().toString(36);
    this.#guard = new Guard(ports, ports.clock, ports.rate);
    this.#repeats = new Repeats(ports.answers, ports.logger);
    this.#auditor = new Auditor(ports.audit.log, ports.clock, ports.logger);
    const fallback = routes.find((route) => route.name === FALLBACK_ROUTE);
    assert(fallback !== undefined, "the console has the paths that are nobody's");
    const named = routes.filter((route) => route !== fallback);
    for (const route of named) this.#mount(route);
    const patterns = named.map(patternOf);
    this.app.notFound((c) => {
      const isRead = c.req.method === "GET" || c.req.method === "HEAD";
      const isNobodys = isRead && !patterns.some(({ path }) => path.test(c.req.path));
      return isNobodys ? this.#serve(c, fallback) : this.#answerUnknown(c, patterns);
    });
    this.app.onError((fault, c) => this.#answerFault(fault, c.req.raw, c.req.path));
  }

  fetch(request: Request, origin?: RequestOrigin): Promise<Response> | Response {
    const remote = remoteOf(origin);
    const path = pathOf(request.url);
    if (this.#drained !== undefined) return this.#refuseClosing(path);
    if (path.startsWith(INGEST_PREFIX)) {
      const answer = this.#ingest.handle(request, path, remote);
      if (answer instanceof Response) return this.#counted(answer);
      return answer.then((response) => {
        this.#endIfDrained();
        return this.#counted(response);
      });
    }
    if (this.#inFlight >= LIMITS.httpInFlightMax) {
      const detail = `Cannot take more requests: httpInFlightMax is ${LIMITS.httpInFlightMax}`;
      return this.#counted(problemResponse("overloaded", detail, path, { retryAfterMs: 1_000 }));
    }
    return this.#dispatch(request, remote);
  }

  get polls(): Pick<DevicePolls, "wake" | "wakeAll"> {
    return this.#ingest.polls;
  }

  figures(): HttpFigures {
    return {
      answers: this.#answers,
      inFlight: this.#inFlight,
      posts: this.#ingest.waiting,
      polls: this.#ingest.polls.waiting,
      feeds: this.#feeds.count,
    };
  }

  async drain(withinMs: number): Promise<void> {
    this.#feeds[Symbol.dispose](); // They end by themselves never.
    this.#ingest.polls[Symbol.dispose](); // Nor soon, these.
    await new Promise<void>((resolve) => {
      const cancel = this.#ports.clock.after(withinMs, resolve);
      this.#drained = () => {
        cancel();
        resolve();
      };
      this.#endIfDrained();
    });
  }

  /** Refuses what still waits for its body or its append, ends feeds; twice is harmless. */
  [Symbol.dispose](): void {
    this.#feeds[Symbol.dispose]();
    this.#closing.abort();
    this.#ingest[Symbol.dispose]();
  }

  async #dispatch(request: Request, remote: string): Promise<Response> {
    this.#inFlight++;
    try {
      const id = `${this.#startedAt}-${(this.#requests++).toString(36)}`;
      this.#ids.set(request, id);
      const answered = await this.app.fetch(request, { remote });
      const response = await compressed(request.headers, answered);
      response.headers.set("x-request-id", id);
      for (const [name, value] of SECURITY_HEADERS) {
        if (!response.headers.has(name)) response.headers.set(name, value);
      }
      return this.#counted(response);
    } finally {
      this.#inFlight--;
      this.#endIfDrained();
    }
  }

  #endIfDrained(): void {
    if (this.#inFlight === 0 && this.#ingest.waiting === 0) this.#drained?.();
  }

  #refuseClosing(path: string): Response {
    const options = { retryAfterMs: 1_000, headers: { connection: "close" } };
    return this.#counted(problemResponse("unavailable", "This node is closing", path, options));
  }

  #mount(route: Route): void {
    const path = route.path.replaceAll(/\{([^}]+)\}/g, ":$1");
    this.app.on(route.method.toUpperCase(), path, (c) => this.#serve(c, route));
  }

  /** Every answer of a route tells the rate, refusals before and in its handler too. */
  async #serve(c: Context<AppEnv>, route: Route): Promise<Response> {
    let rate: BucketState | undefined;
    let response: Response;
    try {
      response = await this.#identified(c, route, (state) => rate = state);
    } catch (fault) {
      response = this.#answerFault(fault, c.req.raw, c.req.path);
    }
    return rate === undefined ? response : withRate(response, rate);
  }

  /** Asked of no route, it counts for the address, as every public route does. */
  async #answerUnknown(c: Context<AppEnv>, patterns: readonly Pattern[]): Promise<Response> {
    const remote = c.env?.remote ?? UNKNOWN_REMOTE;
    let rate: BucketState | undefined;
    let response: Response;
    try {
      await this.#guard.identify(c.req.raw, PUBLIC, remote, (state) => rate = state);
      response = answerUnknown(c, patterns);
    } catch (fault) {
      response = this.#answerFault(fault, c.req.raw, c.req.path);
    }
    return rate === undefined ? response : withRate(response, rate);
  }

  async #identified(
    c: Context<AppEnv>,
    route: Route,
    onRate: (rate: BucketState) => void,
  ): Promise<Response> {
    const request = c.req.raw;
    const remote = c.env?.remote ?? UNKNOWN_REMOTE;
    const identified = await this.#guard.identify(request, route.policy, remote, onRate);
    const asked = { ...identified, url: new URL(request.url), remote };
    let isHandled = false;
    try {
      this.#guard.authorize(request, route.policy, asked.caller);
      const bytes = route.bodyBytesMax === undefined
        ? EMPTY
        : await this.#readBody(request, route.bodyBytesMax, route.isBodyOptional);
      const input = { ...asked, params: c.req.param(), bytes, request };
      const handle = (keep: Keep) => {
        isHandled = true;
        return this.#auditor.serve(route, input, () => route.handle(input, keep));
      };
      if (!route.isRepeatable) return await handle(KEEP_NOTHING);
      return await this.#repeats.serve(route, input, async (keep) => {
        try {
          return await handle(keep);
        } catch (fault) { // Some refusals are kept as answers are.
          return this.#answerFault(fault, request, c.req.path);
        }
      });
    } catch (fault) {
      if (!isHandled) await this.#auditor.forbidden(route, { ...asked, bytes: EMPTY }, fault);
      throw fault;
    }
  }

  async #readBody(request: Request, bytesMax: number, isOptional: boolean): Promise<Uint8Array> {
    if (!isOptional) assertJsonType(request);
    const coding = readCoding(request);
    const announced = Number(request.headers.get("content-length") ?? bytesMax);
    const reserved = Math.min(bytesMax, announced || 0);
    if (this.#readingBytes + reserved > LIMITS.httpReadingBytesMax) {
      throw new OverloadedError("Cannot read more bodies now: too many are being read", 1_000);
    }
    this.#readingBytes += reserved;
    try {
      const { signal } = this.#closing;
      const deadline = { withinMs: LIMITS.httpBodyMs, clock: this.#ports.clock, signal };
      const sent = await readBytes(request, bytesMax, deadline);
      const bytes = coding === "gzip" ? readInflated(sent, bytesMax) : sent;
      if (isOptional && bytes.length === 0) return EMPTY_OBJECT;
      if (isOptional) assertJsonType(request);
      return bytes;
    } finally {
      this.#readingBytes -= reserved;
    }
  }

  #answerFault(fault: unknown, request: Request, path: string): Response {
    const problem = problemOf(fault);
    if (problem !== undefined) {
      return problemResponse(problem.code, problem.message, path, problem.options);
    }
    const { method } = request;
    const stack = fault instanceof Error ? fault.stack : undefined;
    this.#ports.logger.error("http request failed", {
      id: this.#ids.get(request),
      method,
      path,
      fault: messageOf(fault),
      stack,
    });
    return problemResponse("internal", "The request failed; the log says why", path);
  }

  #counted(response: Response): Response {
    this.#answers.set(response.status, (this.#answers.get(response.status) ?? 0) + 1);
    return response;
  }
}

interface Pattern {
  readonly method: string;
  readonly path: RegExp;
}

function patternOf(route: Route): Pattern {
  const path = route.path.replaceAll(".", "\\.").replaceAll(/\{[^}]+\}/g, "[^/]+");
  return { method: route.method.toUpperCase(), path: new RegExp(`^${path}$`) };
}

/** 405 with `Allow` where the path exists for other methods; else 404. The routes are no secret. */
function answerUnknown(c: Context, patterns: readonly Pattern[]): Response {
  const path = c.req.path;
  const methods = patterns.filter((pattern) => pattern.path.test(path)).map((one) => one.method);
  if (methods.length === 0) {
    return problemResponse("not-found", "There is no such resource", path.slice(0, 512));
  }
  if (methods.includes("GET")) methods.push("HEAD");
  const detail = `Cannot ${c.req.method} this: it takes ${methods.join(", ")}`;
  return problemResponse("method-not-allowed", detail, path, {
    headers: { allow: methods.join(", ") },
  });
}

/** Path of an absolute URL, without its query; no URL object on the fast path. */
function pathOf(url: string): string {
  const start = url.indexOf("/", url.indexOf("//") + 2);
  const query = url.indexOf("?", start);
  return query === -1 ? url.slice(start) : url.slice(start, query);
}

/** Network of the peer: its only use is as a key of bounds. */
function remoteOf(origin: RequestOrigin | undefined): string {
  const address = origin?.remoteAddr;
  return address !== undefined && "hostname" in address
    ? networkOf(address.hostname)
    : UNKNOWN_REMOTE;
}
