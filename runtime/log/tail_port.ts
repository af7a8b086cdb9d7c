/**
 * A tail of the log from another thread: a `MessagePort` with the log at one end (in the log Worker)
 * and the taker at the other. The bodies of a read are copied once and transferred.
 */
import type { Address, Partition } from "../actor/address.ts";
import { type InterestChange, LogTail, type Tail, type TailRead } from "./log_tail.ts";
import { connectPort, type MessageEndpoint, type PortAnswer, servePort } from "./port_calls.ts";
import type { ReadableLog } from "./reader_port.ts";

type Request =
  | { readonly type: "change"; readonly interest: InterestChange }
  | { readonly type: "take" };

/** The log's end. The port is closed with it. */
export function serveTailPort(
  port: MessageEndpoint,
  log: ReadableLog,
  partitionOf: (address: Address) => Partition,
): Disposable {
  const tail = new LogTail(log, partitionOf);
  const served = servePort<Request>(port, async (request): Promise<PortAnswer> => {
    if (request.type === "take") return copyOf(await tail.take());
    await tail.change(request.interest);
    return {};
  });
  return {
    [Symbol.dispose]() {
      served[Symbol.dispose]();
      tail[Symbol.dispose]();
    },
  };
}

/** The taker's end. Disposing rejects what is under way with `UnavailableError` and closes the port. */
export function connectTailPort(port: MessageEndpoint): Tail {
  const caller = connectPort(port, "follow");
  const ask = <Value>(request: Request) => caller.ask<Value>(request);
  return {
    change: (interest) => ask({ type: "change", interest }),
    take: () => ask({ type: "take" }),
    [Symbol.dispose]: () => caller[Symbol.dispose](),
  };
}

/** All bodies in one new buffer, so that one transfer hands over the lot. */
function copyOf(read: TailRead): PortAnswer {
  let length = 0;
  for (const { body } of read.records) length += body.length;
  const all = new Uint8Array(length);
  let at = 0;
  const records = read.records.map((record) => {
    all.set(record.body, at);
    return { ...record, body: all.subarray(at, at += record.body.length) };
  });
  return { value: { records, missed: read.missed } satisfies TailRead, transfer: [all.buffer] };
}
