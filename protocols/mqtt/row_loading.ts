/** Reads at the start what gateways before this one left in rows, page by page, until it is all read. */
import { messageOf } from "../../runtime/errors.ts";
import type { GatewayState } from "./gateway_state.ts";

/** Wait after rows could not be read. */
const RETRY_MS = 500;

export class RowLoading implements Disposable {
  isLoaded = false;
  /** Resolves when all rows are known; never, if it is disposed before. */
  readonly loaded: Promise<void>;
  readonly #state: Pick<GatewayState, "clock" | "logger">;
  readonly #what: string;
  #finish: () => void;
  #cancelRetry = () => {};
  #isStopped = false;

  /** @param what The rows hold, for the log. */
  constructor(state: Pick<GatewayState, "clock" | "logger">, what: string) {
    this.#state = state;
    this.#what = what;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.loaded = promise;
    this.#finish = resolve;
  }

  /** @param readPage Takes the rows behind a key; returns the last one's, undefined: there was none. */
  async run(readPage: (after: string) => Promise<string | undefined>): Promise<void> {
    const { clock, logger } = this.#state;
    let after = "";
    while (!this.#isStopped) {
      try {
        const next = await readPage(after);
        if (next === undefined) break;
        after = next;
      } catch (fault) {
        const fields = { fault: messageOf(fault) };
        logger.warn(`${this.#what} cannot be read, trying again`, fields);
        await new Promise<void>((resolve) => this.#cancelRetry = clock.after(RETRY_MS, resolve));
      }
    }
    if (this.#isStopped) return;
    this.isLoaded = true;
    this.#finish();
  }

  [Symbol.dispose](): void {
    this.#isStopped = true;
    this.#cancelRetry();
  }
}
