/**
 * Devices over HTTP: `/ingest/v1/{product}/{device}/…`. No router, no schema; of JSON that nothing of
 * was refused the bytes that came are the bytes that are appended.
 *
 * The order of a post, which no refusal may change:
 * 1. path, credentials, rate: nothing of the body is read for a stranger.
 * 2. room, body (bounded, with a deadline), decode against the thing model.
 * 3. `offer`, and 202 only once the append is durable. Under an `Idempotency-Key`, once.
 */
import { Buffer } from "node:buffer";
import type { Issue } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Ingress } from "../../runtime/log/ingress.ts";
import type { DeviceTokens } from "../../actors/device/device_tokens.ts";
import type { TraceFacts } from "../../actors/device/message_ring.ts";
import { factsOf, type MessageTraces } from "../../actors/device/message_traces.ts";
import {
  type DecodedUplink,
  decodeEvent,
  decodeUplink,
  detailOf,
} from "../../actors/device/uplink.ts";
import {
  type BodyCoding,
  codingOf,
  codingRefusal,
  isCbor,
  jsonBodyOf,
  TAKEN_CODINGS,
} from "./body_coding.ts";
import { faultResponse } from "./device_faults.ts";
import { DeviceGate, type GatePorts } from "./device_gate.ts";
import type { DevicePoster } from "./device_logins.ts";
import { DevicePolls, type PollPorts } from "./device_polls.ts";
import { DeviceReads } from "./device_reads.ts";
import {
  type DevicePosts,
  DeviceRepeats,
  type DeviceRepeatsPorts,
  type KeyedPost,
  type PostName,
  postNameOf,
} from "./device_repeats.ts";
import { DeviceReplies, type ReplyPorts, replyTopic } from "./device_replies.ts";
import { type Exchange, Exchanges } from "./exchanges.ts";
import type { FailureGate } from "./failure_gate.ts";
import { INGEST_METHODS, type IngestPath, parseIngestPath } from "./ingest_path.ts";
import { problemResponse } from "./problem.ts";
import { KEY_HEADER, keyRefusal, REPLAYED_HEADER } from "./repeats.ts";
import { withRate } from "./token_buckets.ts";

export interface IngestPorts extends GatePorts, PollPorts, ReplyPorts, DeviceRepeatsPorts {
  readonly ingress: Ingress;
  readonly tokens: Pick<DeviceTokens, "check" | "issue">;
  readonly traces: Pick<MessageTraces, "accept" | "refuse">;
}

/** What the headers of a post say of its body. */
interface BodyForm {
  readonly coding: BodyCoding;
  readonly isCbor: boolean;
  /** It is to be taken once under this `Idempotency-Key`. */
  readonly key?: string;
}

/** A post that has a key, under which nothing was taken yet. */
interface FirstPost {
  readonly posts: DevicePosts;
  readonly name: PostName;
}

const JSON_HEADERS = { headers: { "content-type": "application/json" }, status: 202 };
const PARTIAL_HEADERS = { headers: { "content-type": "application/json" }, status: 207 };
const NO_QUERY = "Cannot take query parameters: there are none here";
const PLAIN: BodyForm = { coding: "identity", isCbor: false };
const RETRY_MS = 1_000;

export class Ingest implements Disposable {
  readonly #ports: IngestPorts;
  readonly #gate: DeviceGate;
  readonly #exchanges: Exchanges;
  readonly #replies: DeviceReplies;
  readonly #reads: DeviceReads;
  readonly #repeats: DeviceRepeats;
  readonly polls: DevicePolls;
  readonly #unlisten: readonly (() => void)[];
  readonly #accepted: string[] = [];

  constructor(ports: IngestPorts, failures?: FailureGate) {
    this.#ports = ports;
    this.#gate = new DeviceGate(ports, failures);
    this.#replies = new DeviceReplies(ports);
    this.#reads = new DeviceReads(ports);
    this.#repeats = new DeviceRepeats(ports);
    this.polls = new DevicePolls(ports, this.#gate);
    this.#exchanges = new Exchanges(ports.clock, (exchange) => this.#late(exchange));
    this.#unlisten = [
      ports.ingress.onSettled((append) => this.#exchanges.settle(append)),
      ports.directory.onRevoked((product, device, reason) => {
        this.#exchanges.revoke(`${product}/${device}`);
        if (reason === "device_deleted") this.#repeats.forget(`${product}/${device}`);
        this.polls.revoke(product, device, reason);
      }),
    ];
  }

  /** Posts that wait for their body or their append. */
  get waiting(): number {
    return this.#exchanges.open;
  }

  /** @param instance Path of the URL. @param remote Network of the peer, for its failures. */
  handle(request: Request, instance: string, remote: string): Promise<Response> | Response {
    const path = parseIngestPath(instance);
    if (path === undefined) {
      return problemResponse("not-found", "There is no such resource", instance.slice(0, 512));
    }
    const allow = INGEST_METHODS[path.kind];
    if (request.method !== allow) {
      const detail = `Cannot ${request.method} this: it takes ${allow}`;
      return problemResponse("method-not-allowed", detail, instance, { headers: { allow } });
    }
    const poster = this.#gate.identify(request, path, instance, remote);
    if (poster instanceof Response) return poster;
    const rate = this.#gate.take(poster);
    const answer = rate.isAllowed
      ? this.#admitted(request, path, poster, instance, remote)
      : this.#gate.tooFast(rate, instance);
    return answer instanceof Response
      ? withRate(answer, rate)
      : answer.then((response) => withRate(response, rate));
  }

  [Symbol.dispose](): void {
    for (const unlisten of this.#unlisten) unlisten();
    this.polls[Symbol.dispose]();
    this.#exchanges.close();
    this.#gate[Symbol.dispose]();
  }

  #admitted(
    request: Request,
    path: IngestPath,
    poster: DevicePoster,
    instance: string,
    remote: string,
  ): Promise<Response> | Response {
    switch (path.kind) {
      case "token":
        return this.#issueToken(request, poster, instance);
      case "downlinks": {
        const held = this.#gate.heldBack(poster, instance, true);
        return held ?? this.polls.start(request, poster, instance, remote);
      }
      case "shadow":
      case "time":
        return this.#reads.read(path.kind, request, poster, instance);
      default:
        return this.#post(request, path, poster, instance);
    }
  }

  #post(
    request: Request,
    path: IngestPath,
    poster: DevicePoster,
    instance: string,
  ): Promise<Response> | Response {
    if (hasQuery(request.url)) return this.#gate.refuse("invalid", NO_QUERY, instance);
    const held = this.#gate.heldBack(poster, instance, path.kind === "reply");
    if (held !== undefined) return held;
    const { refusal } = this.#ports.ingress;
    if (refusal !== undefined) return overloaded(`Appends are refused: ${refusal}`, instance);
    const { headers } = request;
    const form = formOf(headers);
    if (form === undefined) {
      const detail = codingRefusal(headers.get("content-encoding")!);
      return this.#gate.refuse("media-type", detail, instance, { headers: TAKEN_CODINGS });
    }
    const badKey = form.key === undefined ? undefined : keyRefusal(form.key);
    if (badKey !== undefined) return this.#gate.refuse("invalid", badKey, instance);
    const announced = headers.get("content-length");
    const length = announced === null ? LIMITS.payloadBytesMax : Number(announced);
    if (!(length <= LIMITS.payloadBytesMax)) return this.#tooLarge(instance, announced!);
    return new Promise((resolve) => {
      const exchange = this.#exchanges.start(instance, poster.key, length, resolve);
      if (exchange === undefined) {
        resolve(overloaded(`Too many requests wait: ${this.waiting}`, instance));
        return;
      }
      const body = announced === null ? readBounded(request) : request.bytes();
      body.then(
        (bytes) => this.#received(exchange, poster, path, form, bytes),
        () => {
          this.#exchanges.received(exchange);
          this.#refuseBody(exchange, "invalid", "Cannot read the body: it ended early");
        },
      );
    });
  }

  /** The body is here, or as much of it as shows that it is too large. */
  #received(
    exchange: Exchange,
    poster: DevicePoster,
    path: IngestPath,
    form: BodyForm,
    sent: Uint8Array,
  ): void {
    this.#exchanges.received(exchange);
    if (exchange.resolve === undefined) return; // Its deadline has passed: it was told so.
    let bytes = sent;
    if (form !== PLAIN) {
      const decoded = jsonBodyOf(sent, form.coding, form.isCbor, LIMITS.payloadBytesMax);
      if (!decoded.ok) {
        const reason = decoded.code === "invalid" ? "malformed" : "too_large";
        this.#trace(poster, path, sent.length, 0, { reason, detail: decoded.detail });
        return this.#refuseBody(exchange, decoded.code, decoded.detail);
      }
      bytes = decoded.bytes;
    }
    if (path.kind === "reply") this.#reply(exchange, poster, path, bytes);
    else if (form.key === undefined) this.#offer(exchange, poster, path, bytes);
    else {
      this.#offerOnce(exchange, poster, path, bytes, form.key).catch((fault) => {
        const { instance } = exchange;
        this.#exchanges.finish(exchange, faultResponse(fault, instance, this.#ports.logger));
      });
    }
  }

  async #offerOnce(
    exchange: Exchange,
    poster: DevicePoster,
    path: IngestPath,
    bytes: Uint8Array,
    key: string,
  ): Promise<void> {
    const posts = await this.#repeats.postsOf(poster.key);
    if (exchange.resolve === undefined || this.#isLate(exchange, poster)) return;
    const name = postNameOf(key, topicOf(path), bytes);
    const first = posts.find(name);
    if (first === undefined) this.#offer(exchange, poster, path, bytes, { posts, name });
    else if (first.print === name.print) this.#repeat(exchange, poster, path, bytes, first);
    else {
      const detail = `Cannot take this ${KEY_HEADER}: it was used for another message`;
      const { instance } = exchange;
      const code = "idempotency-key-reused";
      this.#exchanges.finish(exchange, this.#gate.refuse(code, detail, instance));
    }
  }

  /** As the first one was answered, once that is durable. */
  #repeat(
    exchange: Exchange,
    poster: DevicePoster,
    path: IngestPath,
    bytes: Uint8Array,
    { atMs, points, append }: KeyedPost,
  ): void {
    const decoded = this.#decode(poster, path, bytes, atMs);
    // Another model may refuse today what it accepted.
    const answer = this.#acceptedAnswer(points, decoded.ok ? decoded.refused : []);
    answer.headers.set(REPLAYED_HEADER, "true");
    if (append <= this.#ports.ingress.settled) this.#exchanges.finish(exchange, answer);
    else this.#exchanges.carry(exchange, append, answer);
  }

  #decode(
    { product }: DevicePoster,
    { event }: IngestPath,
    bytes: Uint8Array,
    nowMs: number,
  ): DecodedUplink {
    const { directory } = this.#ports;
    return event === undefined
      ? decodeUplink(bytes, directory, product, nowMs)
      : decodeEvent(bytes, event, directory, product, nowMs);
  }

  #offer(
    exchange: Exchange,
    poster: DevicePoster,
    path: IngestPath,
    bytes: Uint8Array,
    first?: FirstPost,
  ): void {
    const { ingress, clock } = this.#ports;
    const atMs = clock.nowMs();
    const decoded = this.#decode(poster, path, bytes, atMs);
    if (!decoded.ok) {
      this.#ports.countRefused(decoded.code);
      const code = decoded.code === "too_large" ? "too-large" : "invalid";
      const errors: readonly Issue[] = decoded.refused.length > 0
        ? decoded.refused
        : [{ path: "", rule: decoded.code, message: decoded.detail }];
      const isWhole = decoded.refused.length === 0;
      const detail = isWhole ? decoded.detail : detailOf(decoded.refused);
      this.#trace(poster, path, bytes.length, 0, { reason: decoded.code, detail });
      const problem = problemResponse(code, decoded.detail, exchange.instance, { errors });
      this.#exchanges.finish(exchange, problem);
      return;
    }
    if (this.#isLate(exchange, poster)) return;
    const { parts, points, refused } = decoded;
    const append = first === undefined
      ? ingress.offer(poster.target, parts)
      : first.posts.offer(poster.target, parts, { ...first.name, atMs, points });
    if (append === undefined) {
      this.#exchanges.finish(exchange, overloaded("The log is behind", exchange.instance));
      return;
    }
    this.#trace(poster, path, bytes.length, append, factsOf(refused));
    for (const issue of refused) this.#ports.countRefused(`point_${issue.rule}`);
    this.#exchanges.carry(exchange, append, this.#acceptedAnswer(points, refused));
    ingress.flushIfDue();
  }

  #acceptedAnswer(points: number, refused: readonly Issue[]): Response {
    return refused.length === 0
      ? new Response(this.#acceptedBody(points), JSON_HEADERS)
      : new Response(JSON.stringify({ accepted: points, refused }), PARTIAL_HEADERS);
  }

  /** @param append 0: it is refused. */
  #trace(
    poster: DevicePoster,
    path: IngestPath,
    bytes: number,
    append: number,
    facts?: TraceFacts,
  ): void {
    const { traces, clock } = this.#ports;
    const topic = topicOf(path);
    if (append === 0) traces.refuse(poster, "http", topic, bytes, clock.nowMs(), facts!);
    else traces.accept(poster, "http", topic, bytes, clock.nowMs(), append, facts);
  }

  #reply(exchange: Exchange, poster: DevicePoster, path: IngestPath, bytes: Uint8Array): void {
    if (this.#isLate(exchange, poster, true)) return;
    this.#exchanges.handIn(exchange);
    void this.#replies.take(poster, path.call!, bytes, exchange.instance)
      .then((answer) => this.#exchanges.finish(exchange, answer));
  }

  /** A body may take its time: what was looked at before it may be another now. */
  #isLate(exchange: Exchange, poster: DevicePoster, hasCalls = false): boolean {
    const late = exchange.isRevoked
      ? this.#gate.unauthorized(exchange.instance)
      : this.#gate.heldBack(poster, exchange.instance, hasCalls);
    if (late !== undefined) this.#exchanges.finish(exchange, late);
    return late !== undefined;
  }

  #issueToken(request: Request, poster: DevicePoster, instance: string): Response {
    if (hasQuery(request.url)) return this.#gate.refuse("invalid", NO_QUERY, instance);
    const issued = this.#ports.tokens.issue(poster.product, poster.device);
    if (issued === undefined) return this.#gate.unauthorized(instance);
    const { token, expiresAtMs } = issued;
    return Response.json({ token, expiresAt: expiresAtMs }, {
      headers: { "cache-control": "no-store" },
    });
  }

  /** `{"accepted": n}`, made once a number; `n` is bounded. */
  #acceptedBody(points: number): string {
    return this.#accepted[points] ??= `{"accepted":${points}}`;
  }

  #refuseBody(exchange: Exchange, code: "invalid" | "too-large", detail: string): void {
    if (exchange.resolve === undefined) return;
    this.#ports.countRefused(code === "invalid" ? "malformed" : "too_large");
    this.#exchanges.finish(exchange, problemResponse(code, detail, exchange.instance));
  }

  #late(exchange: Exchange): Response {
    const bound = `acknowledgeMsMax is ${LIMITS.acknowledgeMsMax}`;
    const { instance } = exchange;
    if (exchange.append === 0 && exchange.isRead) {
      return overloaded(`The keys of the device cannot be read in time: ${bound}`, instance);
    }
    if (exchange.append === 0) {
      return this.#gate.refuse("body-timeout", `Cannot read the body: ${bound}`, instance);
    }
    const detail =
      `The message is not durable yet (${bound}): it may still be stored. Send it again`;
    return problemResponse("not-acknowledged", detail, instance, { retryAfterMs: RETRY_MS });
  }

  #tooLarge(instance: string, announced: string): Response {
    const bytes = announced.slice(0, 20);
    const detail = `Cannot accept ${bytes} B: payloadBytesMax is ${LIMITS.payloadBytesMax}`;
    return this.#gate.refuse("too-large", detail, instance);
  }
}

/** As its message would have over MQTT, after the device's prefix. */
function topicOf({ event, call }: IngestPath): string {
  if (call !== undefined) return replyTopic(call);
  return event === undefined ? "properties" : `events/${event}`;
}

/** Undefined: a content coding that is not taken. */
function formOf(headers: Headers): BodyForm | undefined {
  const coding = codingOf(headers.get("content-encoding"));
  if (coding === undefined) return undefined;
  const isCborType = isCbor(headers.get("content-type"));
  const key = headers.get(KEY_HEADER);
  if (key !== null) return { coding, isCbor: isCborType, key };
  return coding === "identity" && !isCborType ? PLAIN : { coding, isCbor: isCborType };
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
  return Buffer.concat(parts, length);
}

function overloaded(detail: string, instance: string): Response {
  const text = `Cannot accept the message now: ${detail}`;
  return problemResponse("overloaded", text, instance, { retryAfterMs: RETRY_MS });
}
