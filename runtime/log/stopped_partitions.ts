/**
 * Partitions that damage has stopped, as gateways know them: their ingress is refused until an
 * operator has the damage skipped, so that what waits for them stays bounded. Told by the log as soon
 * as it finds damage; what came in just before is accepted, and waits.
 */
import type { Partition } from "../actor/address.ts";

export class StoppedPartitions {
  #stopped: ReadonlySet<Partition> = new Set();
  readonly #listeners = new Set<(partition: Partition) => void>();

  /** 0 nearly always. */
  get size(): number {
    return this.#stopped.size;
  }

  has(partition: Partition): boolean {
    return this.#stopped.has(partition);
  }

  /** Called for each partition that was not stopped before. Listeners must not throw. */
  onStopped(listener: (partition: Partition) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** All that are stopped now. */
  replace(partitions: readonly Partition[]): void {
    const before = this.#stopped;
    this.#stopped = new Set(partitions);
    for (const partition of this.#stopped) {
      if (before.has(partition)) continue;
      for (const listener of this.#listeners) listener(partition);
    }
  }
}

/** What all wires tell a sender, as the `errors` topic and problem documents do. */
export const STOPPED_DETAIL =
  "Cannot accept messages: the partition of the device is stopped by a damaged record, until an " +
  "operator skips it. Send them again later";
