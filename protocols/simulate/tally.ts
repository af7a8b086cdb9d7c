/** What a run counts. Plain fields: the hot path adds to them. */
import { Histogram } from "./histogram.ts";

export class Tally {
  readings = 0;
  /** Transmissions: `sent = acknowledged + refused + unanswered + in flight`. */
  sent = 0;
  acknowledged = 0;
  unanswered = 0;
  /** Transmissions of a reading that had been sent before, without an answer that counts. */
  resent = 0;
  /** Readings that a device had no room for while it was cut off. */
  discarded = 0;
  dropouts = 0;
  /** Connections that ended otherwise, or could not be made. */
  broken = 0;
  /** Connections that are open now. */
  open = 0;
  readonly refused: Record<string, number> = {};
  /** Connections that were refused, or ended with a reason. */
  readonly closed: Record<string, number> = {};
  /** From a transmission to its answer. */
  readonly latency = new Histogram();
  /** From when a reading was due to the answer that it is durable. */
  readonly delivery = new Histogram();

  refuse(reason: string): void {
    this.refused[reason] = (this.refused[reason] ?? 0) + 1;
  }

  close(reason: string): void {
    this.closed[reason] = (this.closed[reason] ?? 0) + 1;
  }

  get refusedTotal(): number {
    return Object.values(this.refused).reduce((sum, count) => sum + count, 0);
  }
}
