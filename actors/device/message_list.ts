/** What became of the last messages of a device: of its trace, the log's times and dead letters. */
import type { Partition } from "../../runtime/actor/address.ts";
import type { AppendTrace } from "../../runtime/log/append_times.ts";
import type { DeadLetterQuery, ListedDeadLetter } from "../../runtime/log/partition_log.ts";
import { commandAddress } from "../command/messages.ts";
import { deviceAddress } from "./messages.ts";
import type { TracedMessage, TraceFacts, TraceWire } from "./message_ring.ts";
import type { MessageTraces } from "./message_traces.ts";

export type MessageStatus = "accepted" | "handled" | "stored" | "deadLettered" | "refused";

export interface ListedMessage extends TraceFacts {
  readonly id: string;
  readonly wire: TraceWire;
  readonly topic: string;
  readonly bytes: number;
  readonly acceptedAt: number;
  readonly handledAt: number | null;
  readonly storedAt: number | null;
  readonly status: MessageStatus;
}

export interface MessageListPorts {
  readonly traces: Pick<MessageTraces, "list">;
  readonly settled: () => number;
  readonly log: {
    appendTimes(partition: Partition, appends: readonly number[]): Promise<readonly AppendTrace[]>;
    deadLetters(query: DeadLetterQuery): Promise<readonly ListedDeadLetter[]>;
  };
}

/** Newest letters of an actor that are looked at: more than messages that are remembered. */
const LETTERS = 100;

/** Newest first. */
export async function listMessages(
  { traces, settled, log }: MessageListPorts,
  product: string,
  device: string,
  limit: number,
): Promise<ListedMessage[]> {
  const traced = traces.list(`${product}/${device}`, limit, settled());
  if (traced === undefined) return [];
  const { partition, messages } = traced;
  const accepted = messages.filter(({ append }) => append > 0);
  const appends = [...new Set(accepted.map(({ append }) => append))];
  // Answers to calls that came by HTTP went to the actor of the calls.
  const addresses = [deviceAddress(product, device)];
  if (accepted.some(isAnswer)) addresses.push(commandAddress(product, device));
  const [times, ...letters] = appends.length === 0 ? [[]] : await Promise.all([
    log.appendTimes(partition, appends),
    ...addresses.map((address) => log.deadLetters({ address, limit: LETTERS })),
  ]);
  const timesOf = new Map(appends.map((append, i) => [append, times[i] ?? null]));
  const letterOf = new Map(letters.flat().map((letter) => [placeOf(letter.recordId), letter]));
  return messages.map((message) => {
    const trace = timesOf.get(message.append) ?? null;
    const letter = trace === null || trace === "passed"
      ? undefined
      : letterOf.get(`${partition}-${trace.firstOffset + message.index}`);
    return viewOf(message, trace, letter);
  });
}

function isAnswer({ wire, topic }: TracedMessage): boolean {
  return wire === "http" && topic.startsWith("services/");
}

function viewOf(
  message: TracedMessage,
  trace: AppendTrace,
  letter: ListedDeadLetter | undefined,
): ListedMessage {
  const { number, wire, topic, bytes, atMs, append, index: _, ...facts } = message;
  const common = { id: String(number), wire, topic, bytes, acceptedAt: atMs };
  const none = { handledAt: null, storedAt: null };
  if (append === 0) return { ...common, ...none, status: "refused", ...facts };
  const isStoring = topic === "properties" || topic.startsWith("events/");
  const storedMs = isStoring && trace !== null && trace !== "passed" ? trace.storedAtMs : 0;
  const storedAt = storedMs || null;
  if (letter !== undefined) {
    // History is written from the log: it has what the actor could not handle as well.
    const { reason, parkedAtMs } = letter;
    const detail = letter.detail.split("\n", 1)[0]!;
    const own = { ...facts, reason, detail };
    return { ...common, handledAt: parkedAtMs, storedAt, status: "deadLettered", ...own };
  }
  if (trace === null) return { ...common, ...none, status: "accepted", ...facts };
  if (trace === "passed") {
    return { ...common, ...none, status: isStoring ? "stored" : "handled", ...facts };
  }
  const handledAt = trace.handledAtMs || null;
  const status = storedAt !== null ? "stored" : handledAt !== null ? "handled" : "accepted";
  return { ...common, handledAt, storedAt, status, ...facts };
}

/** `{epoch}-{partition}-{offset}` without the epoch: offsets of a partition come once. */
function placeOf(recordId: string): string {
  return recordId.slice(recordId.indexOf("-") + 1);
}
