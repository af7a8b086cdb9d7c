/** What becomes of the records at which a partition is stopped, when an operator gives them up. */
import type { Partition } from "../actor/address.ts";
import type { StepView } from "./log_step.ts";
import type { SkipOutcome } from "./partition_log.ts";
import type { PendingEntry } from "./pending_index.ts";
import type { Stop } from "./tick_reader.ts";
import { hasRecordsBefore } from "./trimming.ts";

/** @param stop Where the partition is stopped; undefined: it is not. */
export function decideSkip(
  view: StepView,
  partition: Partition,
  offset: number,
  stop: Stop | undefined,
): SkipOutcome {
  const what = `Cannot skip damage at offset ${offset} of partition ${partition}`;
  if (stop === undefined) {
    return { ok: false, code: "not_stopped", detail: `${what}: it is not stopped` };
  }
  if (stop.offset !== offset) {
    const detail = `${what}: it is stopped at offset ${stop.offset}`;
    return { ok: false, code: "other_offset", detail };
  }
  if (hasRecordsBefore(view.pending[partition]!, stop)) {
    return {
      ok: false,
      code: "not_reached",
      detail: `${what}: records before it are handled first`,
    };
  }
  const entry = view.pending[partition]!.entryAt(offset)?.entry;
  // Repaired meanwhile, or a read that failed once: nothing that can be read is given up.
  const isWhole = entry === undefined || view.canRead(partition, entry);
  if (isWhole) return { ok: true, fromOffset: offset, toOffset: offset, lost: 0 };
  const lost = lostWith(view, partition, entry, offset);
  return { ok: true, fromOffset: offset, toOffset: entry.endOffset, lost };
}

/** Accepted records from `offset` on that are lost with an entry. */
function lostWith(
  { meta, pending }: StepView,
  partition: Partition,
  entry: PendingEntry,
  offset: number,
): number {
  const records = entry.endOffset - offset;
  if (!entry.isMissing) return entry.isCounted ? records : 0;
  // Nobody can count what is gone: it is what the equation misses.
  const { accepted, processed, deadLettered, rolledBack } = meta.partitions[partition]!;
  const missing = accepted - processed - pending[partition]!.counted - deadLettered - rolledBack;
  return Math.max(0, Math.min(records, missing));
}
