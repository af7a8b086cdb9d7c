/**
 * What to do when the store is behind the head: the tail is lost. The epoch rises, offsets and ticks
 * go on above the lost ones so that nothing fresh is taken for a repeat, and the lost records are
 * counted: `accepted` as it was promised, the difference as `rolledBack`.
 */
import type { HeadMark } from "./head_file.ts";
import type { LogMeta, OffsetGap } from "./tick_meta.ts";

export interface Rollback {
  readonly type: "rolled_back";
  /** The new epoch. */
  readonly epoch: number;
  readonly storeTick: number;
  readonly headTick: number;
  /** Accepted records that are gone. */
  readonly lostRecords: number;
}

export function isBehind(meta: LogMeta, head: HeadMark): boolean {
  if (head.epoch !== meta.epoch) return head.epoch > meta.epoch;
  return head.tick > meta.tick ||
    meta.partitions.some(({ nextOffset, accepted }, i) =>
      nextOffset < (head.nextOffsets[i] ?? 0) || accepted < (head.accepted[i] ?? 0)
    );
}

/** The meta to go on with; it has to be written before anything else. */
export function rollForward(meta: LogMeta, head: HeadMark): { meta: LogMeta; fault: Rollback } {
  const gaps: OffsetGap[] = [...meta.gaps];
  let lostRecords = 0;
  const partitions = meta.partitions.map((own, partition) => {
    const nextOffset = Math.max(own.nextOffset, head.nextOffsets[partition] ?? 0);
    const lost = Math.max(0, (head.accepted[partition] ?? 0) - own.accepted);
    lostRecords += lost;
    if (nextOffset > own.nextOffset) gaps.push({ partition, from: own.nextOffset, to: nextOffset });
    return {
      ...own,
      nextOffset,
      pendingFrom: own.pendingFrom === own.nextOffset ? nextOffset : own.pendingFrom,
      accepted: own.accepted + lost,
      rolledBack: own.rolledBack + lost,
    };
  });
  const epoch = Math.max(meta.epoch, head.epoch) + 1;
  const tick = Math.max(meta.tick, head.tick) + 1;
  return {
    meta: { ...meta, epoch, tick, partitions, gaps },
    fault: { type: "rolled_back", epoch, storeTick: meta.tick, headTick: head.tick, lostRecords },
  };
}
