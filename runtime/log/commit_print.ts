/** Knows a repeated commit again that moved no cursor. */
import { crc32 } from "node:zlib";
import type { PartitionCommit } from "../actor/batch.ts";

/** A number of its content: reminders at the end of the log leave nothing else to tell it by. Never 0. */
export function printOf(commit: PartitionCommit): number {
  const { states, sends, records, reminders, deadLetters, activities, effects: _, ...rest } =
    commit;
  const text = JSON.stringify([
    rest,
    states.map((write) => write.address),
    sends.map((sent) => [sent.to, sent.budget, sent.traceId]),
    records.map((record) => [record.class, record.from, record.traceId]),
    reminders.map(({ to, name, reminder }) => [to, name, reminder?.dueAtMs, reminder?.budget]),
    deadLetters.map((letter) => letter.recordId),
    activities.map((activity) => activity.id),
  ]);
  let print = crc32(text);
  for (const write of states) print = crc32(write.state ?? "", print);
  for (const { body } of sends) print = crc32(body, print);
  for (const { body } of records) print = crc32(body, print);
  for (const { reminder } of reminders) print = crc32(reminder?.body ?? "", print);
  return print === 0 ? 1 : print;
}
