/**
 * After a crash the devices that were connected still count as online: their sessions died with the
 * process. The sweep tells each such actor that its session ended, at a bounded rate: a partition's
 * once it has handled what was pending at the start, since a login among it comes online only then.
 * A partition that damage stops gets nothing before it is back in service.
 */
import { type Clock, waitMs } from "../../runtime/clock.ts";
import { messageOf } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";
import { type DeviceMessage, NODE_RESTARTED } from "./messages.ts";
import type { OnlineDevice, Views } from "./views.ts";

export interface PresenceSweepOptions {
  /** Of this process: sessions of others are dead. */
  readonly incarnation: string;
  /** The views, once they have started. */
  readonly views: () => Views | undefined;
  readonly partitions: number;
  readonly partitionOf: (address: string) => number;
  /**
   * Of `partitions` those that have handled all that was pending at the start and are in service.
   * Resolves when the views have seen what came of it.
   */
  readonly handled: () => Promise<ReadonlySet<number>>;
  /** Resolves when the message is durable. */
  readonly send: (address: string, body: Uint8Array) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface PresenceSweep extends AsyncDisposable {
  /** Resolves when no device of another incarnation is online. */
  readonly done: Promise<void>;
}

/** Devices told in one go, and the pause between: 5,000 a second at most. */
const PAGE = 500;
const PAUSE_MS = 100;
/** Between two looks at partitions that are late. */
const LOOK_MS_MAX = 5_000;
const ENCODER = new TextEncoder();

export function startPresenceSweep(options: PresenceSweepOptions): PresenceSweep {
  let isStopping = false;
  const done = run(options, () => isStopping);
  return {
    done,
    async [Symbol.asyncDispose]() {
      isStopping = true;
      await done;
    },
  };
}

async function run(options: PresenceSweepOptions, isStopping: () => boolean): Promise<void> {
  const { clock, logger } = options;
  const swept = new Set<number>();
  let told = 0;
  let lookMs = PAUSE_MS;
  while (!isStopping() && swept.size < options.partitions) {
    try {
      const views = options.views();
      const handled = views === undefined ? undefined : await options.handled();
      const due = new Set([...handled ?? []].filter((partition) => !swept.has(partition)));
      if (due.size > 0) {
        lookMs = PAUSE_MS;
        told += await sweepPartitions(options, views!, due, isStopping);
        for (const partition of due) swept.add(partition);
        continue;
      }
    } catch (fault) {
      logger.warn("presence sweep waits", { fault: messageOf(fault) });
    }
    await waitMs(clock, lookMs);
    lookMs = Math.min(lookMs * 1.5, LOOK_MS_MAX);
  }
  if (told > 0) logger.info("dead sessions were closed", { swept: told });
}

/** Tells each session of these partitions once; resolves with their number. */
async function sweepPartitions(
  options: PresenceSweepOptions,
  views: Views,
  partitions: ReadonlySet<number>,
  isStopping: () => boolean,
): Promise<number> {
  let told = 0;
  let after = "";
  while (!isStopping()) {
    const page = await views.onlineWithOtherIncarnation(options.incarnation, PAGE, after);
    const due = page.filter(({ key }) => partitions.has(options.partitionOf(`device/${key}`)));
    await Promise.all(due.map((device) => tell(options, device)));
    told += due.length;
    if (page.length < PAGE) break;
    after = page.at(-1)!.session;
    await waitMs(options.clock, PAUSE_MS);
  }
  return told;
}

function tell(options: PresenceSweepOptions, { key, session }: OnlineDevice): Promise<void> {
  const message: DeviceMessage = { type: "disconnected", session, reason: NODE_RESTARTED };
  return options.send(`device/${key}`, ENCODER.encode(JSON.stringify(message)));
}
