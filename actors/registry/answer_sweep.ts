/** Removes kept answers that have expired, once a minute, in small steps. */
import type { Clock } from "../../runtime/clock.ts";
import { messageOf } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { KeptAnswers } from "./kept_answers.ts";

export interface AnswerSweepOptions {
  readonly answers: Pick<KeptAnswers, "sweep">;
  readonly clock: Clock;
  readonly logger: Logger;
}

const EVERY_MS = 60_000;

export function startAnswerSweep(options: AnswerSweepOptions): AsyncDisposable {
  const { answers, clock, logger } = options;
  let isStopping = false;
  let running: Promise<void> = Promise.resolve();
  const run = async () => {
    try {
      while (!isStopping && await answers.sweep()) {
        await new Promise<void>((resolve) => clock.soon(resolve));
      }
    } catch (fault) {
      logger.warn("expired answers could not be removed", { fault: messageOf(fault) });
    }
    if (!isStopping) cancel = clock.after(EVERY_MS, start);
  };
  const start = () => {
    running = run();
  };
  let cancel = clock.after(EVERY_MS, start);
  return {
    async [Symbol.asyncDispose]() {
      isStopping = true;
      cancel();
      await running;
    },
  };
}
