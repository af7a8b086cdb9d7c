/**
 * A reader's way to the log from another thread: a `MessagePort` with the log at one end (in the log
 * Worker) and a reader at the other. Ticks are copied once and their bytes transferred.
 *
 * The reader's duties: one `readTicks` at a time; `saveCursor` only for what its own store has
 * durably. The port's owner closes it.
 */
import type { ChangedStates, TakenChanges } from "./changed_states.ts";
import type { PartitionLog, Segment, SegmentClass, Tick } from "./partition_log.ts";
import { connectPort, type MessageEndpoint, type PortAnswer, servePort } from "./port_calls.ts";

/** What a reader needs of the log; `connectReaderPort` and `createLogSource` give one. */
export interface TickSource {
  /** See `PartitionLog.readTicks`. */
  readTicks(
    after: number,
    classes: readonly SegmentClass[],
    bytesMax: number,
  ): Promise<TicksRead>;
  /** See `PartitionLog.saveCursor`, for the reader that this source belongs to. */
  saveCursor(tick: number): Promise<void>;
  /** Resolves when the log has ticks after this one, at once if it has. */
  waitForMore(after: number): Promise<void>;
}

export interface TicksRead {
  readonly ticks: readonly Tick[];
  readonly cursor: number;
}

export interface ReaderPort extends TickSource, Disposable {
  /** Actors whose state was committed since they were told last, about `limit` at a time. */
  takeChanged(limit: number): Promise<TakenChanges>;
}

/** The slice of the log that a reader uses. */
export type ReadableLog = Pick<PartitionLog, "readTicks" | "saveCursor" | "onAppended" | "head">;

type Request =
  | {
    readonly type: "read";
    readonly after: number;
    readonly classes: readonly SegmentClass[];
    readonly bytesMax: number;
  }
  | { readonly type: "changed"; readonly limit: number }
  | { readonly type: "save"; readonly tick: number }
  | { readonly type: "wait"; readonly after: number };

const NONE_CHANGED = { take: (): TakenChanges => ({ addresses: [], isCut: false }) };

/** The same without threads: for a reader beside the log. */
export function createLogSource(log: ReadableLog, reader: string): TickSource & Disposable {
  const waiting = new Set<() => void>();
  const stop = log.onAppended(() => {
    for (const wake of waiting) wake();
  });
  return {
    readTicks: (after, classes, bytesMax) => log.readTicks(after, classes, bytesMax),
    saveCursor: (tick) => log.saveCursor(reader, tick),
    waitForMore(after) {
      if (log.head().tick > after) return Promise.resolve();
      return new Promise((resolve) => {
        const wake = () => {
          if (log.head().tick <= after) return;
          waiting.delete(wake);
          resolve();
        };
        waiting.add(wake);
      });
    },
    [Symbol.dispose]() {
      stop();
      waiting.clear();
    },
  };
}

/** The log's end. Dispose it before the log; the port is closed with it. */
export function serveReaderPort(
  port: MessageEndpoint,
  log: ReadableLog,
  reader: string,
  changed: Pick<ChangedStates, "take"> = NONE_CHANGED,
  onSaved: (tick: number) => unknown = () => {},
): Disposable {
  const source = createLogSource(log, reader);
  const served = servePort<Request>(port, async (request): Promise<PortAnswer> => {
    if (request.type === "read") {
      return copyOf(await source.readTicks(request.after, request.classes, request.bytesMax));
    }
    if (request.type === "changed") return { value: changed.take(request.limit) };
    if (request.type === "save") {
      await source.saveCursor(request.tick);
      onSaved(request.tick);
    } else await source.waitForMore(request.after);
    return {};
  });
  return {
    [Symbol.dispose]() {
      served[Symbol.dispose]();
      source[Symbol.dispose]();
    },
  };
}

/** The reader's end. Disposing rejects what is under way with `UnavailableError` and closes the port. */
export function connectReaderPort(port: MessageEndpoint): ReaderPort {
  const caller = connectPort(port, "read");
  const ask = <Value>(request: Request) => caller.ask<Value>(request);
  return {
    readTicks: (after, classes, bytesMax) => ask({ type: "read", after, classes, bytesMax }),
    saveCursor: (tick) => ask({ type: "save", tick }),
    takeChanged: (limit) => ask({ type: "changed", limit }),
    waitForMore: (after) => ask({ type: "wait", after }),
    [Symbol.dispose]: () => caller[Symbol.dispose](),
  };
}

/** All segments' bytes in one new buffer, so that one transfer hands over the lot. */
function copyOf(read: TicksRead): PortAnswer {
  let length = 0;
  for (const { segments } of read.ticks) for (const { bytes } of segments) length += bytes.length;
  const all = new Uint8Array(length);
  let at = 0;
  const moved = (segment: Segment): Segment => {
    all.set(segment.bytes, at);
    const bytes = all.subarray(at, at += segment.bytes.length);
    return { ...segment, bytes };
  };
  const ticks = read.ticks.map(({ tick, segments }) => ({ tick, segments: segments.map(moved) }));
  return { value: { ticks, cursor: read.cursor } satisfies TicksRead, transfer: [all.buffer] };
}
