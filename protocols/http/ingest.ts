/**
 * `POST /ingest/v1/{product}/{device}/properties` and `…/events/{event}`. The fast path of HTTP: no
 * router, no schema; the bytes that came are the bytes that are appended.
 *
 * The order of a request, which no refusal may change:
 * 1. path, credentials, rate: nothing of the body is read for a stranger.
 * 2. room, body (bounded, with a deadline), decode against the thing model.
 * 3. `offer`, and 202 only once the append is durable.
 */
import type { SuspendedAddresses } from "../../runtime/actor/suspended_actors.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Issue } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Ingress } from "../../runtime/log/ingress.ts";
import { STOPPED_DETAIL, type StoppedPartitions } from "../../runtime/log/stopped_partitions.ts";
import type { DeviceDirectory } from "../../actors/device/directory.ts";
import { deviceAddress } from "../../actors/device/messages.ts";
import { decodeEvent, decodeUplink } from "../../actors/device/uplink.ts";
import { isName } from "../../actors/registry/names.ts";
import { BasicLogins, type DevicePoster } from "./basic_logins.ts";
import { type Exchange, Exchanges } from "./exchanges.ts";
import { FailureGate } from "./failure_gate.ts";
import { type ProblemCode, type ProblemOptions, problemResponse } from "./problem.ts";
import { rateHeaders, TokenBuckets } from "./token_buckets.ts";

export interface IngestPorts {
  readonly directory: DeviceDirectory;
  readonly ingress: Ingress;
  readonly clock: Clock;
  /** Counts messages that are refused for good, by reason. */
  readonly countRefused: (reason: string) => void;
  /** Actors whose messages are refused until an operator acts. */
  readonly suspended: SuspendedAddresses;
  /** Partitions whose devices are told to come again later. */
  readonly stopped: Pick<StoppedPartitions, "size" | "has">;
  /** Posts a second of one device; a burst of twice that. */
  readonly postsPerSecondMax?: number;
}

export interface IngestPath {
  readonly product: string;
  readonly device: string;
  /** Absent: properties. */
  readonly event?: string;
}

const PREFIX = "/ingest/v1/";
const JSON_HEADERS = { headers: { "content-type": "application/json" }, status: 202 };
const PARTIAL_HEADERS = { headers: { "content-type": "application/json" }, status: 207 };
/** What all refused credentials are told. */
const WRONG = "Cannot accept the credentials for this device";
const CHALLENGE = { "www-authenticate": `Basic realm="roost", charset="UTF-8"` };
const NO_QUERY = "Cannot take query parameters: there are none here";
const RETRY_MS = 1_000;
/** An operator has to act: a device that asks more often only costs. */
const STOPPED_RETRY_MS = 10_000;

export class Ingest implements Disposable {
  readonly #ports: IngestPorts;
  readonly #logins: BasicLogins;
  readonly #exchanges: Exchanges;
  readonly #failures: FailureGate;
  readonly #rates: TokenBuckets;
  readonly #unlisten: readonly (() => void)[];
  readonly #accepted: string[] = [];

  constructor(ports: IngestPorts, failures = new FailureGate(ports.clock)) {
    this.#ports = ports;
    this.#failures = failures;
    this.#logins = new BasicLogins(ports.directory, ports.clock);
    this.#exchanges = new Exchanges(ports.clock, (exchange) => this.#late(exchange));
    const perSecond = ports.postsPerSecondMax ?? LIMITS.httpPostsPerSecondMax;
    const rate = { perSecond, burst: perSecond * 2 };
    this.#rates = new TokenBuckets(rate, ports.clock, LIMITS.httpLoginsCachedMax);
    this.#unlisten = [
      ports.ingress.onSettled((append) => this.#exchanges.settle(append)),
      ports.directory.onRevoked((product, device) =>
        this.#exchanges.revoke(`${product}/${device}`)
      ),
    ];
  }

  /** Requests that wait for their body or their append. */
  get waiting(): number {
    return this.#exchanges.open;
  }

  /** @param instance Path of the URL. @param remote Network of the peer, for its failures. */
  handle(request: Request, instance: string, remote: string): Promise<Response> | Response {
    const path = parseIngestPath(instance);
    if (path === undefined) {
      return problemResponse("not-found", "There is no such resource", instance);
    }
    const poster = this.#authenticate(request, path, instance, remote);
    if (poster instanceof Response) return poster;
    const device = `${poster.product}/${poster.device}`;
    const rate = this.#rates.take(device);
    if (!rate.isAllowed) {
      const detail = `Cannot accept more: the device may post ${rate.limit / 2} times a second`;
      const options = { retryAfterMs: rate.retryAfterMs, headers: rateHeaders(rate) };
      return this.#refuse("rate-limited", detail, instance, options);
    }
    if (hasQuery(request.url)) return this.#refuse("invalid", NO_QUERY, instance, {});
    const held = this.#heldBack(poster, instance);
    if (held !== undefined) return held;
    const { refusal } = this.#ports.ingress;
    if (refusal !== undefined) return overloaded(`Appends are refused: ${refusal}`, instance);
    const announced = request.headers.get("content-length");
    const length = announced === null ? LIMITS.payloadBytesMax : Number(announced);
    if (!(length <= LIMITS.payloadBytesMax)) return this.#tooLarge(instance, announced!);
    return new Promise((resolve) => {
      const exchange = this.#exchanges.start(instance, device, length, resolve);
      if (exchange === undefined) {
        resolve(overloaded(`Too many requests wait: ${this.waiting}`, instance));
        return;
      }
      const body = announced === null ? readBounded(request) : request.bytes();
      body.then(
        (bytes) => this.#offer(exchange, poster, path, bytes),
        () => this.#finish(exchange, "invalid", "Cannot read the body: it ended early"),
      );
    });
  }

  [Symbol.dispose](): void {
    for (const unlisten of this.#unlisten) unlisten();
    this.#exchanges.close();
    this.#logins[Symbol.dispose]();
  }

  #authenticate(
    request: Request,
    path: IngestPath,
    instance: string,
    remote: string,
  ): DevicePoster | Response {
    const header = request.headers.get("authorization");
    if (header === null) {
      return this.#refuse("unauthorized", WRONG, instance, { headers: CHALLENGE });
    }
    const known = this.#logins.known(header);
    if (known !== undefined && known.product === path.product && known.device === path.device) {
      return known;
    }
    const closedMs = this.#failures.closedForMs(remote);
    if (closedMs > 0) {
      const detail = "Cannot look at more credentials from this address: too many were wrong";
      return this.#refuse("rate-limited", detail, instance, { retryAfterMs: closedMs });
    }
    const result = this.#logins.login(header, path.product, path.device);
    if (result.ok) return result.poster;
    if (result.code === "disabled") {
      const detail = "Cannot accept messages: the device is disabled";
      return this.#refuse("device-disabled", detail, instance, { headers: CHALLENGE });
    }
    this.#failures.fail(remote);
    return this.#refuse("unauthorized", WRONG, instance, { headers: CHALLENGE });
  }

  #offer(exchange: Exchange, poster: DevicePoster, path: IngestPath, bytes: Uint8Array): void {
    this.#exchanges.received(exchange);
    if (exchange.resolve === undefined) return; // Its deadline has passed: it was told so.
    const { directory, ingress, clock } = this.#ports;
    const decoded = path.event === undefined
      ? decodeUplink(bytes, directory, poster.product, clock.nowMs())
      : decodeEvent(bytes, path.event, directory, poster.product, clock.nowMs());
    if (!decoded.ok) {
      this.#ports.countRefused(decoded.code);
      const code = decoded.code === "too_large" ? "too-large" : "invalid";
      const errors: readonly Issue[] = decoded.refused.length > 0
        ? decoded.refused
        : [{ path: "", rule: decoded.code, message: decoded.detail }];
      const problem = problemResponse(code, decoded.detail, exchange.instance, { errors });
      this.#exchanges.finish(exchange, problem);
      return;
    }
    // A body may take its time: what was looked at before it may be another now.
    const late = exchange.isRevoked
      ? this.#refuse("unauthorized", WRONG, exchange.instance, { headers: CHALLENGE })
      : this.#heldBack(poster, exchange.instance);
    if (late !== undefined) {
      this.#exchanges.finish(exchange, late);
      return;
    }
    const append = ingress.offer(poster.target, decoded.parts);
    if (append === undefined) {
      this.#exchanges.finish(exchange, overloaded("The log is behind", exchange.instance));
      return;
    }
    const { points, refused } = decoded;
    for (const issue of refused) this.#ports.countRefused(`point_${issue.rule}`);
    const answer = refused.length === 0
      ? new Response(this.#acceptedBody(points), JSON_HEADERS)
      : new Response(JSON.stringify({ accepted: points, refused }), PARTIAL_HEADERS);
    this.#exchanges.carry(exchange, append, answer);
    ingress.flushIfDue();
  }

  /** What an operator has to mend first. */
  #heldBack({ product, device, target }: DevicePoster, instance: string): Response | undefined {
    const { suspended, stopped } = this.#ports;
    if (stopped.size > 0 && stopped.has(target.partition)) {
      const retryAfterMs = STOPPED_RETRY_MS;
      return this.#refuse("partition-stopped", STOPPED_DETAIL, instance, { retryAfterMs });
    }
    if (suspended.size > 0 && suspended.has(deviceAddress(product, device))) {
      const detail = "Cannot accept messages: the device has too many dead letters";
      return this.#refuse("suspended", detail, instance, { hint: "Replay one of them" });
    }
  }

  /** `{"accepted": n}`, made once a number; `n` is bounded. */
  #acceptedBody(points: number): string {
    return this.#accepted[points] ??= `{"accepted":${points}}`;
  }

  #finish(exchange: Exchange, code: ProblemCode, detail: string): void {
    this.#exchanges.received(exchange);
    if (exchange.resolve === undefined) return;
    if (code === "invalid") this.#ports.countRefused("malformed");
    this.#exchanges.finish(exchange, problemResponse(code, detail, exchange.instance));
  }

  #refuse(
    code: ProblemCode,
    detail: string,
    instance: string,
    options: ProblemOptions,
  ): Response {
    this.#ports.countRefused(code.replaceAll("-", "_"));
    return problemResponse(code, detail, instance, options);
  }

  #late(exchange: Exchange): Response {
    const bound = `acknowledgeMsMax is ${LIMITS.acknowledgeMsMax}`;
    const { instance } = exchange;
    if (exchange.append === 0) {
      return this.#refuse("body-timeout", `Cannot read the body: ${bound}`, instance, {});
    }
    const detail =
      `The message is not durable yet (${bound}): it may still be stored. Send it again`;
    return problemResponse("not-acknowledged", detail, instance, { retryAfterMs: RETRY_MS });
  }

  #tooLarge(instance: string, announced: string): Response {
    const bytes = announced.slice(0, 20);
    const detail = `Cannot accept ${bytes} B: payloadBytesMax is ${LIMITS.payloadBytesMax}`;
    return this.#refuse("too-large", detail, instance, {});
  }
}

/** `/ingest/v1/{product}/{device}/properties` or `…/events/{event}`. */
export function parseIngestPath(path: string): IngestPath | undefined {
  if (!path.startsWith(PREFIX)) return undefined;
  const names = path.slice(PREFIX.length).split("/");
  if (path.includes("%") && !decodeNames(names)) return undefined;
  const [product, device, kind, event] = names;
  if (product === undefined || device === undefined) return undefined;
  if (!isName(product) || !isName(device)) return undefined;
  if (kind === "properties" && names.length === 3) return { product, device };
  if (kind !== "events" || names.length !== 4 || !isName(event!)) return undefined;
  return { product, device, event: event! };
}

/** Some clients escape a colon. False: not an escape. */
function decodeNames(names: string[]): boolean {
  try {
    for (let i = 0; i < names.length; i++) names[i] = decodeURIComponent(names[i]!);
    return true;
  } catch {
    return false;
  }
}

/** Something stands behind the question mark: devices are told, as every caller is. */
function hasQuery(url: string): boolean {
  const at = url.indexOf("?");
  return at !== -1 && at < url.length - 1;
}

/** A body of unknown length; one byte beyond the bound is enough to have it refused as too large. */
async function readBounded(request: Request): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of request.body ?? []) {
    parts.push(part);
    length += part.length;
    if (length > LIMITS.payloadBytesMax) break;
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function overloaded(detail: string, instance: string): Response {
  const text = `Cannot accept the message now: ${detail}`;
  return problemResponse("overloaded", text, instance, { retryAfterMs: RETRY_MS });
}
