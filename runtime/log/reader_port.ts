/**
 * A reader's way to the log from another thread: a `MessagePort` with the log at one end (in the log
 * Worker) and a reader at the other. Ticks are copied once and their bytes transferred.
 *
 * The reader's duties: one `readTicks` at a time; `saveCursor` only for what its own store has
 * durably. The port's owner closes it.
 */
import { CodecError, messageOf, UnavailableError } from "../errors.ts";
import type { PartitionLog, Segment, SegmentClass, Tick } from "./partition_log.ts";

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

export interface ReaderPort extends TickSource, Disposable {}

/** The slice of `MessagePort` that both ends use. */
export interface MessageEndpoint {
  postMessage(message: unknown, transfer: Transferable[]): void;
  onmessage: ((event: MessageEvent) => void) | null;
  close(): void;
}

/** The slice of the log that a reader uses. */
export type ReadableLog = Pick<PartitionLog, "readTicks" | "saveCursor" | "onAppended" | "head">;

type Request =
  | {
    readonly type: "read";
    readonly id: number;
    readonly after: number;
    readonly classes: readonly SegmentClass[];
    readonly bytesMax: number;
  }
  | { readonly type: "save"; readonly id: number; readonly tick: number }
  | { readonly type: "wait"; readonly id: number; readonly after: number };

type Answer =
  | { readonly id: number; readonly ok: true; readonly value?: TicksRead }
  | {
    readonly id: number;
    readonly ok: false;
    readonly isCodec: boolean;
    readonly message: string;
  };

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
): Disposable {
  const source = createLogSource(log, reader);
  let isClosed = false;
  const answer = (message: Answer, transfer: Transferable[]) => {
    if (!isClosed) port.postMessage(message, transfer);
  };
  const serve = async (request: Request) => {
    const { id } = request;
    try {
      if (request.type === "read") {
        const read = await source.readTicks(request.after, request.classes, request.bytesMax);
        const { value, buffer } = copyOf(read);
        return answer({ id, ok: true, value }, [buffer]);
      }
      if (request.type === "save") await source.saveCursor(request.tick);
      else await source.waitForMore(request.after);
      answer({ id, ok: true }, []);
    } catch (fault) { // The reader decides what to do about it.
      const isCodec = fault instanceof CodecError;
      answer({ id, ok: false, isCodec, message: messageOf(fault) }, []);
    }
  };
  port.onmessage = (event) => void serve(event.data as Request);
  return {
    [Symbol.dispose]() {
      if (isClosed) return;
      isClosed = true;
      source[Symbol.dispose]();
      port.close();
    },
  };
}

/** The reader's end. Disposing rejects what is under way with `UnavailableError` and closes the port. */
export function connectReaderPort(port: MessageEndpoint): ReaderPort {
  const pending = new Map<number, { resolve(value: unknown): void; reject(fault: Error): void }>();
  let lastId = 0;
  let isClosed = false;
  const closed = () => new UnavailableError("log", "Cannot read the log: its port is closed");
  port.onmessage = (event) => {
    const answer = event.data as Answer;
    const request = pending.get(answer.id);
    pending.delete(answer.id);
    if (answer.ok) request?.resolve(answer.value);
    else if (answer.isCodec) request?.reject(new CodecError(answer.message));
    else request?.reject(new UnavailableError("log", answer.message));
  };
  const ask = <T>(request: (id: number) => Request): Promise<T> => {
    if (isClosed) return Promise.reject(closed());
    const id = ++lastId;
    return new Promise<T>((resolve, reject) => {
      pending.set(id, { resolve: resolve as (value: unknown) => void, reject });
      port.postMessage(request(id), []);
    });
  };
  return {
    readTicks: (after, classes, bytesMax) =>
      ask((id) => ({ type: "read", id, after, classes, bytesMax })),
    saveCursor: (tick) => ask((id) => ({ type: "save", id, tick })),
    waitForMore: (after) => ask((id) => ({ type: "wait", id, after })),
    [Symbol.dispose]() {
      if (isClosed) return;
      isClosed = true;
      port.close();
      for (const request of pending.values()) request.reject(closed());
      pending.clear();
    },
  };
}

/** All segments' bytes in one new buffer, so that one transfer hands over the lot. */
function copyOf(read: TicksRead): { value: TicksRead; buffer: ArrayBuffer } {
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
  return { value: { ticks, cursor: read.cursor }, buffer: all.buffer };
}
