/** The log worker as a supervised child: its own children are the engine lanes. */
import type { LaneId, LaneStatus } from "../actor/runner.ts";
import type { ChildSpec, Running, SupervisionTree } from "../actor/supervision.ts";
import type { Clock } from "../clock.ts";
import { waitMs } from "../clock.ts";
import { messageOf, UnavailableError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { LogClient, StartedLog } from "./log_client.ts";
import type { LogWorkerStart } from "./log_worker.ts";

export interface LogChildOptions {
  readonly client: LogClient;
  /** Entry module of the worker. */
  readonly workerEntry: URL;
  readonly start: LogWorkerStart;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The log is open, and the engine about to start. */
  readonly onStarted: (started: StartedLog) => void;
}

/** How old the picture of the lanes may be. */
const LANES_MS = 250;

export function logChild(options: LogChildOptions): ChildSpec {
  return {
    id: "log",
    restart: "permanent",
    shutdownMs: 10_000,
    start: async () => {
      const worker = new Worker(options.workerEntry, { type: "module", name: "log" });
      try {
        const started = await options.client.start(worker, options.start);
        options.onStarted(started);
        return new RunningLog(worker, started, options);
      } catch (fault) {
        worker.terminate();
        throw fault;
      }
    },
  };
}

class RunningLog implements Running {
  readonly done: Promise<{ readonly fault: unknown }>;
  #lanes: readonly LaneStatus[] = [];
  #isStopped = false;
  #end!: (fault: unknown) => void;

  constructor(
    readonly worker: Worker,
    started: StartedLog,
    readonly options: LogChildOptions,
  ) {
    const killed = new Promise<unknown>((resolve) => this.#end = resolve);
    const failed = started.ended.then((how) => new UnavailableError("log", how));
    this.done = Promise.race([killed, failed]).then((fault) => {
      this.options.client.detach();
      worker.terminate();
      return { fault };
    });
    void this.#watchLanes();
  }

  tree(): readonly SupervisionTree[] {
    return this.#lanes.map((lane) => ({
      id: lane.id,
      status: lane.status === "stopped" ? "restarting" : lane.status,
      restarts: lane.restarts,
      ...(lane.lastFault === undefined ? undefined : { lastFault: lane.lastFault }),
      children: [],
    }));
  }

  kill(path: readonly string[]): boolean {
    if (path.length === 0) {
      this.#end(new Error("killed"));
      return true;
    }
    const lane = this.#lanes.find((candidate) => candidate.id === path[0]);
    if (lane === undefined || path.length > 1) return false;
    this.options.client.killLane(lane.id as LaneId).catch((fault) =>
      this.options.logger.warn("lane was not killed", { lane: lane.id, fault: messageOf(fault) })
    );
    return true;
  }

  /** Closes the log: what was appended is durable already, so this only saves time at the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    const closed = new Promise<void>((resolve) => {
      this.worker.addEventListener("message", ({ data }) => {
        if (data.type === "stopped") resolve();
      });
    });
    this.worker.postMessage({ type: "stop" });
    await Promise.race([closed, this.done]);
    this.options.client.detach();
    this.worker.terminate();
  }

  /** The tree is read synchronously, the lanes are in another thread: a picture a moment old. */
  async #watchLanes(): Promise<void> {
    const { client, clock, logger } = this.options;
    while (!this.#isStopped) {
      try {
        this.#lanes = await client.lanes();
      } catch (fault) {
        logger.debug("lanes are not known", { fault: messageOf(fault) });
        return;
      }
      await waitMs(clock, LANES_MS);
    }
  }
}
