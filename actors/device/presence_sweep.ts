/**
 * After a crash the devices that were connected still count as online: their sessions died with the
 * process. The sweep tells each such actor that its session ended, at a bounded rate, once the views
 * have caught up with the log; and once more when actors have handled what was pending at the start,
 * since a login among it comes online only then.
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
  /** Whether the views have seen all that was in the log at the start. */
  readonly hasCaughtUp: () => Promise<boolean>;
  /** Whether all that was pending at the start is handled, and the views have seen what came of it. */
  readonly hasHandled: () => Promise<boolean>;
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
  let swept = 0;
  for (const isDue of [options.hasCaughtUp, options.hasHandled]) {
    let after = "";
    while (!isStopping()) {
      try {
        const page = await sweepPage(options, isDue, after);
        swept += page?.length ?? 0;
        after = page?.at(-1)?.session ?? after;
        if (page !== undefined && page.length < PAGE) break;
      } catch (fault) {
        logger.warn("presence sweep waits", { fault: messageOf(fault) });
      }
      await waitMs(clock, PAUSE_MS);
    }
  }
  if (swept > 0) logger.info("dead sessions were closed", { swept });
}

/**
 * Tells each session once, in order. Rows leave the view when their actors have handled it, which a
 * backlog may delay, or damage that stops a partition: they hold up none behind them. Undefined: too
 * early.
 */
async function sweepPage(
  options: PresenceSweepOptions,
  isDue: () => Promise<boolean>,
  after: string,
): Promise<readonly OnlineDevice[] | undefined> {
  const views = options.views();
  if (views === undefined || !await isDue()) return undefined;
  const online = await views.onlineWithOtherIncarnation(options.incarnation, PAGE, after);
  await Promise.all(online.map(({ key, session }) => {
    const message: DeviceMessage = { type: "disconnected", session, reason: NODE_RESTARTED };
    return options.send(`device/${key}`, ENCODER.encode(JSON.stringify(message)));
  }));
  return online;
}
