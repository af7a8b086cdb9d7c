/**
 * One child of a supervisor: starts it, watches it, and stops it within its bound. What follows
 * from an end is the supervisor's decision.
 */
import type { Clock } from "../clock.ts";
import { TimeoutError } from "../errors.ts";
import { type ExitReason, faultText, type LifecycleEvent } from "./lifecycle_events.ts";
import type {
  ChildPath,
  ChildSpec,
  Running,
  StartContext,
  SupervisionStatus,
  SupervisionTree,
} from "./supervision.ts";

export type Surroundings = Omit<StartContext, "signal">;

export interface ChildEnd {
  readonly reason: ExitReason;
  /** Undefined after a normal end. */
  readonly fault: unknown;
}

type StartResult = { readonly ok: true } | { readonly ok: false; readonly fault: unknown };

export class SupervisedChild {
  readonly spec: ChildSpec;
  status: SupervisionStatus = "starting";
  /** Shall be started when its turn comes. */
  isDue = true;
  /** Counts starts; tells a late end of an earlier start from one of this. */
  attempt = 0;
  running: Running | undefined;
  /** Ends the wait for its restart. */
  cancelBackoff: (() => void) | undefined;
  readonly #around: Surroundings;
  #failuresInRow = 0;
  /** Monotonic; undefined when the last start failed. */
  #runningSinceMs: number | undefined;
  #startedAtMs: number | undefined;
  #lastFault: string | undefined;
  #start: AbortController | undefined;

  constructor(spec: ChildSpec, around: Surroundings) {
    this.spec = spec;
    this.#around = { ...around, path: [...around.path, spec.id] };
  }

  get path(): ChildPath {
    return this.#around.path;
  }

  get restarts(): number {
    return Math.max(0, this.attempt - 1);
  }

  /** @param onEnd Called at most once, when what this start began ends by itself. */
  async start(onEnd: (attempt: number, end: ChildEnd) => void): Promise<StartResult> {
    const attempt = ++this.attempt;
    this.isDue = false;
    this.status = "starting";
    this.#runningSinceMs = undefined;
    this.#start = new AbortController();
    try {
      this.running = await this.#startWithin(this.#start.signal);
    } catch (fault) {
      return { ok: false, fault };
    } finally {
      this.#start = undefined;
    }
    this.running.done.then(
      (end) => onEnd(attempt, end === undefined ? NORMAL_END : endByFault(end.fault)),
      (fault) => onEnd(attempt, endByFault(fault)),
    );
    this.status = "running";
    this.#startedAtMs = this.#around.clock.nowMs();
    this.#runningSinceMs = this.#around.clock.monotonicMs();
    this.emit(
      this.restarts === 0 ? { type: "started" } : { type: "restarted", restarts: this.restarts },
    );
    return { ok: true };
  }

  /** Gives up a start that is under way. */
  abortStart(): void {
    this.#start?.abort();
  }

  /** Releases what runs, within `shutdownMs`; says how it ended. No-op when nothing runs. */
  async stop(end: ChildEnd): Promise<void> {
    const running = this.running;
    if (running === undefined) return;
    this.running = undefined;
    this.status = "stopping";
    const fault = await this.#release(running, end.reason === "killed");
    this.ended({ reason: end.reason, fault: end.fault ?? fault });
  }

  ended(end: ChildEnd): void {
    this.status = "stopped";
    if (end.fault === undefined) return this.emit({ type: "exited", reason: end.reason });
    this.#lastFault = faultText(end.fault);
    this.emit({ type: "exited", reason: end.reason, fault: this.#lastFault });
  }

  /** Failures in a row, this one included; a run of at least `calmMs` begins a new row. */
  countFailure(calmMs: number): number {
    const sinceMs = this.#runningSinceMs;
    const isCalm = sinceMs !== undefined && this.#around.clock.monotonicMs() - sinceMs >= calmMs;
    this.#failuresInRow = isCalm ? 1 : this.#failuresInRow + 1;
    return this.#failuresInRow;
  }

  tree(): SupervisionTree {
    return {
      id: this.spec.id,
      status: this.status,
      restarts: this.restarts,
      ...(this.#startedAtMs === undefined ? {} : { startedAtMs: this.#startedAtMs }),
      ...(this.#lastFault === undefined ? {} : { lastFault: this.#lastFault }),
      children: this.running?.tree?.() ?? [],
    };
  }

  emit(event: EventBody): void {
    this.#around.events.emit({ atMs: this.#around.clock.nowMs(), path: this.path, ...event });
  }

  /** A start that comes up after its abort is released, even if nobody waits for it any more. */
  async #startWithin(signal: AbortSignal): Promise<Running> {
    const starting = (async () => await this.spec.start({ ...this.#around, signal }))();
    const aborted = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => aborted.resolve(), { once: true });
    await Promise.race([starting, aborted.promise]);
    if (!signal.aborted) return await starting;
    const released = starting.then((late) => this.#release(late, false), () => undefined);
    await settlesWithin(this.#around.clock, released, this.spec.shutdownMs);
    throw new TimeoutError(`start of ${this.path.join("/")} before it was stopped`, 0);
  }

  /** @returns The fault of a dispose that threw, or took too long and was cut short by a kill. */
  async #release(running: Running, isKilled: boolean): Promise<unknown> {
    try {
      if (isKilled) running.kill?.([]);
      const disposing = (async () => await running[Symbol.asyncDispose]())();
      if (await settlesWithin(this.#around.clock, disposing, this.spec.shutdownMs)) {
        return undefined;
      }
      running.kill?.([]);
      return new TimeoutError(`stop of ${this.path.join("/")}`, this.spec.shutdownMs);
    } catch (fault) {
      return fault ?? new Error("a fault without a value");
    }
  }
}

const NORMAL_END: ChildEnd = { reason: "normal", fault: undefined };

function endByFault(fault: unknown): ChildEnd {
  return { reason: "fault", fault: fault ?? new Error("a fault without a value") };
}

type WithoutPlace<T> = T extends unknown ? Omit<T, "atMs" | "path"> : never;
type EventBody = WithoutPlace<LifecycleEvent>;

/** Whether `work` settles within `withinMs`. Rejects as it does. */
async function settlesWithin(
  clock: Clock,
  work: Promise<unknown>,
  withinMs: number,
): Promise<boolean> {
  const late = Promise.withResolvers<boolean>();
  const cancel = clock.after(withinMs, () => late.resolve(false));
  try {
    return await Promise.race([work.then(() => true), late.promise]);
  } finally {
    cancel();
  }
}
