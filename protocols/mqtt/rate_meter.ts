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
    const added = (nowMs - this.#atMs) * this.#perSecond / 1_000;
    this.#tokens = Math.min(this.#burst, this.#tokens + added);
    this.#atMs = nowMs;
    return this.#tokens > 0;
  }

  take(tokens: number): void {
    this.#tokens -= tokens;
  }
}

export class RateMeter {
  readonly #packets: Bucket | undefined;
  readonly #messages: Bucket | undefined;
  readonly #bytes: Bucket | undefined;
  /** Shared by all connections of a project. */
  readonly #project: Bucket | undefined;

  constructor(
    buckets: {
      readonly packets: Bucket | undefined;
      readonly messages: Bucket | undefined;
      readonly bytes: Bucket | undefined;
      readonly project: Bucket | undefined;
    },
  ) {
    this.#packets = buckets.packets;
    this.#messages = buckets.messages;
    this.#bytes = buckets.bytes;
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
    if (this.#messages?.isLevel(nowMs) === false) return "heldByDeviceMessages";
    if (this.#bytes?.isLevel(nowMs) === false) return "heldByDeviceBytes";
    if (this.#project?.isLevel(nowMs) === false) return "heldByProjectMessages";
    return undefined;
  }

  /** A message was taken. @param bytes Of its whole packet. */
  take(bytes: number): void {
    this.#messages?.take(1);
    this.#bytes?.take(bytes);
    this.#project?.take(1);
  }
}
