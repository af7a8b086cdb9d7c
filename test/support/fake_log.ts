/** A log that a test appends ticks to: as much of `PartitionLog` as readers use. */
import { packRecord } from "../../runtime/log/record.ts";
import type { Segment, SegmentClass, Tick } from "../../runtime/log/partition_log.ts";
import type { ReadableLog } from "../../runtime/log/reader_port.ts";

const TEXT_ENCODER = new TextEncoder();

export class FakeLog implements ReadableLog {
  /** Cursors in the order they were saved. */
  readonly saved: { readonly reader: string; readonly tick: number }[] = [];
  /** Called by `saveCursor` before it resolves. */
  onSave: (tick: number) => void = () => {};
  readonly #ticks: Tick[] = [];
  readonly #offsets = new Map<number, number>();
  readonly #listeners = new Set<() => void>();

  /** One tick with one segment of messages. */
  append(
    partition: number,
    messages: readonly { readonly to: string; readonly body: string }[],
    segmentClass: SegmentClass = "ingress",
    acceptedAtMs = 1_767_225_600_000,
  ): Segment {
    const firstOffset = this.#offsets.get(partition) ?? 0;
    this.#offsets.set(partition, firstOffset + messages.length);
    const records = messages.map(({ to, body }) =>
      packRecord({ to, budget: 1 }, TEXT_ENCODER.encode(body))
    );
    const bytes = new Uint8Array(records.reduce((sum, record) => sum + record.length, 0));
    records.reduce((at, record) => (bytes.set(record, at), at + record.length), 0);
    const count = messages.length;
    return this.push({
      ...{ partition, class: segmentClass, epoch: 1, firstOffset, count, acceptedAtMs, bytes },
    });
  }

  push(segment: Segment): Segment {
    this.#ticks.push({ tick: this.#ticks.length + 1, segments: [segment] });
    for (const listener of this.#listeners) listener();
    return segment;
  }

  head() {
    return { tick: this.#ticks.length, logBytes: 0, pendingRecords: 0 };
  }

  readTicks(after: number, classes: readonly SegmentClass[], bytesMax: number) {
    const ticks: Tick[] = [];
    let cursor = after;
    let bytes = 0;
    for (const { tick, segments } of this.#ticks.slice(after)) {
      if (bytes >= bytesMax) break;
      const wanted = segments.filter((segment) => classes.includes(segment.class));
      if (wanted.length > 0) ticks.push({ tick, segments: wanted });
      for (const segment of wanted) bytes += segment.bytes.length;
      cursor = tick;
    }
    return Promise.resolve({ ticks, cursor });
  }

  saveCursor(reader: string, tick: number): Promise<void> {
    this.saved.push({ reader, tick });
    this.onSave(tick);
    return Promise.resolve();
  }

  onAppended(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
