/**
 * A tail of the log from another thread: a `MessagePort` with the log at one end (in the log Worker)
 * and the taker at the other. The bodies of a read are copied once and transferred.
 */
import type { Address, Partition } from "../actor/address.ts";
import { messageOf, UnavailableError } from "../errors.ts";
import { type InterestChange, LogTail, type Tail, type TailRead } from "./log_tail.ts";
import type { MessageEndpoint, ReadableLog } from "./reader_port.ts";

type Request =
  | { readonly type: "change"; readonly id: number; readonly interest: InterestChange }
  | { readonly type: "take"; readonly id: number };

type Answer =
  | { readonly id: number; readonly ok: true; readonly value?: TailRead }
  | { readonly id: number; readonly ok: false; readonly message: string };

/** The log's end. The port is closed with it. */
export function serveTailPort(
  port: MessageEndpoint,
  log: ReadableLog,
  partitionOf: (address: Address) => Partition,
): Disposable {
  const tail = new LogTail(log, partitionOf);
  let isClosed = false;
  const answer = (message: Answer, transfer: Transferable[]) => {
    if (!isClosed) port.postMessage(message, transfer);
  };
  const serve = async (request: Request) => {
    const { id } = request;
    try {
      if (request.type === "change") {
        await tail.change(request.interest);
        return answer({ id, ok: true }, []);
      }
      const { value, buffer } = copyOf(await tail.take());
      answer({ id, ok: true, value }, [buffer]);
    } catch (fault) { // Told to whoever asked.
      answer({ id, ok: false, message: messageOf(fault) }, []);
    }
  };
  port.onmessage = (event) => void serve(event.data as Request);
  return {
    [Symbol.dispose]() {
      if (isClosed) return;
      isClosed = true;
      tail[Symbol.dispose]();
      port.close();
    },
  };
}

/** The taker's end. Disposing rejects what is under way with `UnavailableError` and closes the port. */
export function connectTailPort(port: MessageEndpoint): Tail {
  const pending = new Map<number, { resolve(value: unknown): void; reject(fault: Error): void }>();
  let lastId = 0;
  let isClosed = false;
  const closed = () => new UnavailableError("log", "Cannot follow the log: its port is closed");
  port.onmessage = (event) => {
    const answer = event.data as Answer;
    const request = pending.get(answer.id);
    pending.delete(answer.id);
    if (answer.ok) request?.resolve(answer.value);
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
    change: (interest) => ask((id) => ({ type: "change", id, interest })),
    take: () => ask((id) => ({ type: "take", id })),
    [Symbol.dispose]() {
      if (isClosed) return;
      isClosed = true;
      port.close();
      for (const request of pending.values()) request.reject(closed());
      pending.clear();
    },
  };
}

/** All bodies in one new buffer, so that one transfer hands over the lot. */
function copyOf(read: TailRead): { value: TailRead; buffer: ArrayBuffer } {
  let length = 0;
  for (const { body } of read.records) length += body.length;
  const all = new Uint8Array(length);
  let at = 0;
  const records = read.records.map((record) => {
    all.set(record.body, at);
    return { ...record, body: all.subarray(at, at += record.body.length) };
  });
  return { value: { records, missed: read.missed }, buffer: all.buffer };
}
