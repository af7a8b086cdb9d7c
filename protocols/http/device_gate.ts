/**
 * Lets devices in. Who calls, its rate, and what an operator has to mend first, in this order: nothing
 * of the body is read for a stranger. Each refusal is counted by its reason.
 */
import type { SuspendedAddresses } from "../../runtime/actor/suspended_actors.ts";
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { STOPPED_DETAIL, type StoppedPartitions } from "../../runtime/log/stopped_partitions.ts";
import { commandAddress } from "../../actors/command/messages.ts";
import type { DeviceDirectory } from "../../actors/device/directory.ts";
import type { DeviceTokens } from "../../actors/device/device_tokens.ts";
import { deviceAddress } from "../../actors/device/messages.ts";
import { DeviceLogins, type DevicePoster, isBearer } from "./device_logins.ts";
import { FailureGate } from "./failure_gate.ts";
import type { IngestPath } from "./ingest_path.ts";
import { type ProblemCode, type ProblemOptions, problemResponse } from "./problem.ts";
import { type BucketState, TokenBuckets } from "./token_buckets.ts";

export interface GatePorts {
  readonly directory: DeviceDirectory;
  readonly tokens: Pick<DeviceTokens, "check">;
  readonly clock: Clock;
  /** Counts what is refused for good, by reason. */
  readonly countRefused: (reason: string) => void;
  /** Actors whose messages are refused until an operator acts. */
  readonly suspended: SuspendedAddresses;
  /** Partitions whose devices are told to come again later. */
  readonly stopped: Pick<StoppedPartitions, "size" | "has">;
  /** Requests a second of one device; a burst of twice that. */
  readonly postsPerSecondMax?: number;
}

/** What all refused credentials are told. */
const WRONG = "Cannot accept the credentials for this device";
const CHALLENGE = {
  "www-authenticate": `Basic realm="roost", charset="UTF-8", Bearer realm="roost"`,
};
/** An operator has to act: a device that asks more often only costs. */
const STOPPED_RETRY_MS = 10_000;

export class DeviceGate implements Disposable {
  readonly #ports: GatePorts;
  readonly #logins: DeviceLogins;
  readonly #failures: FailureGate;
  readonly #rates: TokenBuckets;

  constructor(ports: GatePorts, failures = new FailureGate(ports.clock)) {
    this.#ports = ports;
    this.#failures = failures;
    this.#logins = new DeviceLogins(ports);
    const perSecond = ports.postsPerSecondMax ?? LIMITS.httpPostsPerSecondMax;
    const rate = { perSecond, burst: perSecond * 2 };
    this.#rates = new TokenBuckets(rate, ports.clock, LIMITS.httpLoginsCachedMax);
  }

  /**
   * Who it is; a refusal if nobody who may come in.
   * @param instance Path of the URL. @param remote Network of the peer, for its failures.
   */
  identify(
    request: Request,
    path: IngestPath,
    instance: string,
    remote: string,
  ): DevicePoster | Response {
    const header = request.headers.get("authorization");
    if (header === null) return this.unauthorized(instance);
    // A token is had for the secret only: else who finds one had it for ever.
    if (path.kind === "token" && isBearer(header)) return this.unauthorized(instance);
    const known = this.#logins.known(header);
    if (known !== undefined && known.product === path.product && known.device === path.device) {
      return known;
    }
    const closedMs = this.#failures.closedForMs(remote);
    if (closedMs > 0) {
      const detail = "Cannot look at more credentials from this address: too many were wrong";
      return this.refuse("rate-limited", detail, instance, { retryAfterMs: closedMs });
    }
    const result = this.#logins.login(header, path.product, path.device);
    if (result.ok) return result.poster;
    if (result.code === "disabled") return this.disabled(instance);
    // A fleet behind one address whose tokens end together is not guessing.
    if (result.code !== "expired") this.#failures.fail(remote);
    return this.unauthorized(instance);
  }

  /** Counts a request of the device. */
  take({ key }: DevicePoster): BucketState {
    return this.#rates.take(key);
  }

  tooFast({ limit, retryAfterMs }: BucketState, instance: string): Response {
    const detail = `Cannot accept more: the device may send ${limit / 2} requests a second`;
    return this.refuse("rate-limited", detail, instance, { retryAfterMs });
  }

  /** What an operator has to mend first. @param hasCalls The actor of its calls is needed too. */
  heldBack(
    { product, device, target }: DevicePoster,
    instance: string,
    hasCalls = false,
  ): Response | undefined {
    const { suspended, stopped } = this.#ports;
    if (stopped.size > 0 && stopped.has(target.partition)) {
      const retryAfterMs = STOPPED_RETRY_MS;
      return this.refuse("partition-stopped", STOPPED_DETAIL, instance, { retryAfterMs });
    }
    if (suspended.size === 0) return undefined;
    const isSuspended = suspended.has(deviceAddress(product, device)) ||
      hasCalls && suspended.has(commandAddress(product, device));
    if (!isSuspended) return undefined;
    const detail = "Cannot accept messages: the device has too many dead letters";
    return this.refuse("suspended", detail, instance, { hint: "Replay one of them" });
  }

  /** The answer to whom the device is not, or not any more. */
  unauthorized(instance: string): Response {
    return this.refuse("unauthorized", WRONG, instance, { headers: CHALLENGE });
  }

  disabled(instance: string): Response {
    const detail = "Cannot accept messages: the device is disabled";
    return this.refuse("device-disabled", detail, instance, { headers: CHALLENGE });
  }

  refuse(
    code: ProblemCode,
    detail: string,
    instance: string,
    options: ProblemOptions = {},
  ): Response {
    this.#ports.countRefused(code.replaceAll("-", "_"));
    return problemResponse(code, detail, instance, options);
  }

  [Symbol.dispose](): void {
    this.#logins[Symbol.dispose]();
  }
}
