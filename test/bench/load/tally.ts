/** What a run counts. Plain fields: the hot path adds to them. */
import type { AcknowledgedWriter } from "./acknowledged.ts";
import { Histogram } from "../../../protocols/simulate/histogram.ts";

export class Tally {
  sent = 0;
  acknowledgedCount = 0;
  abandoned = 0;
  outOfOrder = 0;
  reconnects = 0;
  skipped = 0;
  opened = 0;
  measured = 0;
  /** Monotonic; set by the loop once per round of events. */
  nowMs = 0;
  measureFromMs = Infinity;
  measureUntilMs = Infinity;
  startedMs = 0;
  firstAcknowledgedMs = 0;
  lastAcknowledgedMs = 0;
  readonly latency = new Histogram();
  readonly perSecond: number[] = [];
  readonly rejectedByCode: Record<string, number> = {};
  readonly #writer: AcknowledgedWriter | undefined;

  constructor(writer: AcknowledgedWriter | undefined) {
    this.#writer = writer;
  }

  acknowledge(device: number, sequence: number, dueMs: number): void {
    if (this.acknowledgedCount++ === 0) this.firstAcknowledgedMs = this.nowMs;
    this.lastAcknowledgedMs = this.nowMs;
    this.#writer?.add(device, sequence);
    const second = ((this.nowMs - this.startedMs) / 1_000) | 0;
    while (this.perSecond.length <= second) this.perSecond.push(0);
    this.perSecond[second]!++;
    if (this.nowMs < this.measureFromMs || this.nowMs >= this.measureUntilMs) return;
    this.measured++;
    this.latency.add(this.nowMs - dueMs);
  }

  reject(code: string): void {
    this.rejectedByCode[code] = (this.rejectedByCode[code] ?? 0) + 1;
  }
}
