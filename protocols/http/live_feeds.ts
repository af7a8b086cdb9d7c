/**
 * Open live feeds: how many, whose, and whether they still may. Rights are looked at when a feed is
 * opened and again every `liveRecheckMs`, by the entries of the policy table that its topics stand
 * for; a feed that lost one is closed.
 */
import type { KeyedTopic, LiveTopic } from "../../actors/live/topics.ts";
import { messageOf, OverloadedError } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { EventStream } from "./event_stream.ts";
import { type Credential, findCaller } from "./guard.ts";
import { type CallerPolicy, mayCall, policyOf } from "./policy.ts";
import type { Caller, HttpPorts } from "./ports.ts";
import { ProblemError } from "./problem.ts";

export interface FeedRequest {
  readonly caller: Caller;
  readonly credential: Credential;
  readonly topics: readonly KeyedTopic[];
  readonly lastEventId: string | undefined;
}

/** The routes whose answers a topic keeps up to date: who may ask for all of that may follow this. */
const ROUTES: Readonly<Record<LiveTopic["type"], readonly string[]>> = {
  ledger: ["GET /api/v1/cluster/ledger"],
  tree: ["GET /api/v1/cluster/tree"],
  // The count is the ledger's, of all projects.
  deadLetters: ["GET /api/v1/cluster/dead-letters", "GET /api/v1/cluster/ledger"],
  devices: ["GET /api/v1/devices"],
  jobs: ["GET /api/v1/jobs"],
  device: ["GET /api/v1/devices/{product}/{device}"],
};
export const LIVE_HEADERS = {
  "content-type": "text/event-stream",
  "cache-control": "no-store",
  "x-accel-buffering": "no", // Proxies would hold events back.
};
const RETRY_MS = 5_000;
/** How often silence and stalls are looked at. */
const LOOK_MS = 1_000;

interface OpenFeed {
  readonly stream: EventStream;
  readonly callerName: string;
  readonly credential: Credential;
  readonly policies: readonly CallerPolicy[];
}

export function policiesOf({ type }: LiveTopic): CallerPolicy[] {
  return ROUTES[type].map((name) => policyOf(name) as CallerPolicy);
}

export class LiveFeeds implements Disposable {
  readonly #ports: HttpPorts;
  readonly #open = new Map<EventStream, OpenFeed>();
  /** Feeds by caller, those that are being opened included. */
  readonly #counts = new Map<string, number>();
  #count = 0;
  #recheckedAtMs = 0;
  #isRechecking = false;
  #isClosed = false;
  #cancelLook: (() => void) | undefined;

  constructor(ports: HttpPorts) {
    this.#ports = ports;
  }

  /** Open and opening ones. */
  get count(): number {
    return this.#count;
  }

  /**
   * The response that is the feed. Its topics are allowed to the caller, which is the route's to see to.
   * @throws {OverloadedError | ProblemError | UnavailableError} 503, 429, 503.
   */
  async open(request: FeedRequest): Promise<Response> {
    const { caller, credential, topics, lastEventId } = request;
    const callerName = `${caller.type}:${caller.id}`;
    this.#admit(callerName);
    const { live: { hub }, clock } = this.#ports;
    try {
      const feed = await hub.open(topics, lastEventId);
      const stream = new EventStream(feed, hub.incarnation, clock, (own) => this.#forget(own));
      const policies = [...new Set(topics.flatMap(({ topic }) => policiesOf(topic)))];
      this.#open.set(stream, { stream, callerName, credential, policies });
      if (this.#isClosed) feed[Symbol.dispose]();
      this.#cancelLook ??= clock.after(LOOK_MS, () => this.#look());
      return new Response(stream.body, { headers: LIVE_HEADERS });
    } catch (fault) {
      this.#release(callerName);
      throw fault;
    }
  }

  /** Ends all feeds; their readers come back to the next start. Twice is harmless. */
  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#cancelLook?.();
    this.#cancelLook = undefined;
    for (const { stream } of [...this.#open.values()]) stream.feed[Symbol.dispose]();
  }

  #admit(callerName: string): void {
    if (this.#count >= LIMITS.liveFeedsMax) {
      const detail = `Cannot open a live feed: liveFeedsMax is ${LIMITS.liveFeedsMax}`;
      throw new OverloadedError(detail, RETRY_MS);
    }
    const own = this.#counts.get(callerName) ?? 0;
    if (own >= LIMITS.liveFeedsPerCallerMax) {
      const detail = `Cannot open another live feed: liveFeedsPerCallerMax is ` +
        `${LIMITS.liveFeedsPerCallerMax}`;
      throw new ProblemError("rate-limited", detail, { retryAfterMs: RETRY_MS });
    }
    this.#counts.set(callerName, own + 1);
    this.#count++;
  }

  #release(callerName: string): void {
    this.#count--;
    const left = this.#counts.get(callerName)! - 1;
    if (left === 0) this.#counts.delete(callerName);
    else this.#counts.set(callerName, left);
  }

  #forget(stream: EventStream): void {
    const open = this.#open.get(stream);
    if (open === undefined) return;
    this.#open.delete(stream);
    this.#release(open.callerName);
  }

  #look(): void {
    const { clock } = this.#ports;
    this.#cancelLook = undefined;
    if (this.#open.size === 0) return;
    const nowMs = clock.monotonicMs();
    for (const { stream } of [...this.#open.values()]) {
      if (stream.feed.stalledMs(nowMs) < LIMITS.liveStallMs) {
        stream.beat(LIMITS.liveHeartbeatMs);
        continue;
      }
      stream.abort();
      this.#forget(stream);
    }
    if (nowMs - this.#recheckedAtMs >= LIMITS.liveRecheckMs) {
      this.#recheckedAtMs = nowMs;
      void this.#recheck();
    }
    this.#cancelLook = clock.after(LOOK_MS, () => this.#look());
  }

  /** One look-up a credential, however many feeds it has. */
  async #recheck(): Promise<void> {
    if (this.#isRechecking) return;
    this.#isRechecking = true;
    const { logger } = this.#ports;
    const callers = new Map<string, Caller | undefined>();
    try {
      for (const open of [...this.#open.values()]) {
        const { credential: { type, token }, policies, stream } = open;
        const name = `${type}:${token}`;
        if (!callers.has(name)) callers.set(name, await findCaller(this.#ports, open.credential));
        const caller = callers.get(name);
        const isRight = caller !== undefined &&
          policies.every((policy) => mayCall(policy, caller));
        if (!isRight) stream.feed[Symbol.dispose]();
      }
    } catch (fault) { // Looked at again in a moment.
      logger.warn("rights of live feeds were not read", { fault: messageOf(fault) });
    } finally {
      this.#isRechecking = false;
    }
  }
}
