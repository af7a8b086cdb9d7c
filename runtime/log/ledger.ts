/** The equation that each partition keeps: `accepted = processed + pending + deadLettered + rolledBack`. */
import type { Partition } from "../actor/address.ts";
import type { Ledger, LedgerTerms } from "./partition_log.ts";
import type { PendingIndex } from "./pending_index.ts";
import type { LogMeta } from "./tick_meta.ts";
import type { Stop } from "./tick_reader.ts";

export function isBalanced(terms: LedgerTerms): boolean {
  return terms.accepted ===
    terms.processed + terms.pending + terms.deadLettered + terms.rolledBack;
}

export function ledgerOf(
  meta: LogMeta,
  pending: readonly PendingIndex[],
  stops: ReadonlyMap<Partition, Stop>,
): Ledger {
  const total = { accepted: 0, processed: 0, pending: 0, deadLettered: 0, rolledBack: 0 };
  const partitions = meta.partitions.map((own, partition) => {
    const terms: LedgerTerms = {
      accepted: own.accepted,
      processed: own.processed,
      pending: pending[partition]!.counted,
      deadLettered: own.deadLettered,
      rolledBack: own.rolledBack,
    };
    total.accepted += terms.accepted;
    total.processed += terms.processed;
    total.pending += terms.pending;
    total.deadLettered += terms.deadLettered;
    total.rolledBack += terms.rolledBack;
    const stop = stops.get(partition);
    return {
      partition,
      ...terms,
      isBalanced: isBalanced(terms),
      ...(stop && { corrupt: stop.detail, corruptOffset: stop.offset }),
    };
  });
  return { epoch: meta.epoch, total, partitions };
}
