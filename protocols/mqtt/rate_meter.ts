/**
 * How much of its rates a connection has used. A bucket may be overdrawn by what is in hand: the next
 * message waits until it is level again.
 */

/** Which bucket a message waits for; the name of its figure. */
export type HeldBy = "heldByDeviceMessages" | "heldByDeviceBytes" | "heldByProjectMessages";

export class Bucket {
  readonly #perSecond: number;
  readonly #burst: number;
  #tokens: number;
  #atMs: number;

  /** @param nowMs Monotonic milliseconds, as everywhere here. */
  constructor(perSecond: number, burst: number, nowMs: number) {
    this.#perSecond = perSecond;
    this.#burst = this.#tokens = burst;
    this.#atMs = nowMs;
  }

  isLevel(nowMs: number): boolean {
    this.#fill(nowMs);
    return this.#tokens > 0;
  }

  /** Nothing of it is used. */
  isFull(nowMs: number): boolean {
    this.#fill(nowMs);
    return this.#tokens === this.#burst;
  }

  take(tokens: number): void {
    this.#tokens -= tokens;
  }

  #fill(nowMs: number): void {
    const added = (nowMs - this.#atMs) * this.#perSecond / 1_000;
    this.#tokens = Math.min(this.#burst, this.#tokens + added);
    this.#atMs = nowMs;
  }
}

/** What outlives a connection. */
export interface DeviceRates {
  readonly messages: Bucket | undefined;
  readonly bytes: Bucket | undefined;
}

export class RateMeter {
  readonly #packets: Bucket | undefined;
  readonly device: DeviceRates;
  /** Shared by all connections of a project. */
  readonly #project: Bucket | undefined;

  constructor(
    buckets: {
      readonly packets: Bucket | undefined;
      readonly device: DeviceRates;
      readonly project: Bucket | undefined;
    },
  ) {
    this.#packets = buckets.packets;
    this.device = buckets.device;
    this.#project = buckets.project;
  }

  /** A packet has come. @returns Whether it is one too many. */
  isFlood(nowMs: number): boolean {
    if (this.#packets === undefined) return false;
    const isLevel = this.#packets.isLevel(nowMs);
    this.#packets.take(1);
    return !isLevel;
  }

  /** What the next message has to wait for; undefined: it need not. */
  heldBy(nowMs: number): HeldBy | undefined {
    if (this.device.messages?.isLevel(nowMs) === false) return "heldByDeviceMessages";
    if (this.device.bytes?.isLevel(nowMs) === false) return "heldByDeviceBytes";
    if (this.#project?.isLevel(nowMs) === false) return "heldByProjectMessages";
    return undefined;
  }

  /** A message was taken. @param bytes Of its whole packet. */
  take(bytes: number): void {
    this.device.messages?.take(1);
    this.device.bytes?.take(bytes);
    this.#project?.take(1);
  }
}
