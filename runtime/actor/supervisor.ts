/**
 * Supervisors as in OTP, for volatile children that own resources: listeners, processes, Workers,
 * readers. A child that ends is restarted as its spec and the strategy say, after a backoff; too
 * many restarts within the intensity's window stop all children, and the fault goes to the parent.
 * Unlike OTP, a fault that no restart can cure blocks its child (and under `rest_for_one` and
 * `one_for_all` those that depend on it) until `retry`, and counts for nothing.
 */
import { assert, UnavailableError } from "../errors.ts";
import { faultText, type LifecycleEvents } from "./lifecycle_events.ts";
import type { Clock } from "../clock.ts";
import type { Random } from "../random.ts";
import { type ChildEnd, SupervisedChild } from "./supervised_child.ts";
import {
  BACKOFF_DEFAULT,
  type ChildPath,
  type ChildSpec,
  isBlocking,
  type Restart,
  type Running,
  type SupervisionStatus,
  type SupervisionTree,
  type SupervisorSpec,
} from "./supervision.ts";

export interface SupervisorOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly events: LifecycleEvents;
  /** Of the supervisor itself; empty for the root. */
  readonly path?: ChildPath;
  /** Gives up a start that is under way. */
  readonly signal?: AbortSignal;
  /** For the root: all children have stopped, nothing is left but to exit non-zero. */
  readonly onEscalated?: (fault: unknown) => void;
}

export interface Supervisor extends Running {
  /** The supervisor itself with all below. */
  live(): SupervisionTree;
  tree(): readonly SupervisionTree[];
  /** Ends a child abnormally, as a crash would; the strategy acts. False: no such running child. */
  kill(path: ChildPath): boolean;
  /** Starts a child that is blocked, has ended or waits for its backoff. False: no such child. */
  retry(path: ChildPath): boolean;
  /** Stops the children in reverse order, each within its `shutdownMs`. Twice is harmless. */
  stop(): Promise<void>;
}

/**
 * Starts the children in order and resolves when each runs, is blocked, or has ended for good.
 * @param id Name of the root in the live tree; a nested supervisor's is its child spec's.
 * @throws {UnavailableError} If it gave up before, or `signal` aborted. Nothing is left running.
 */
export async function startSupervisor(
  id: string,
  spec: SupervisorSpec,
  options: SupervisorOptions,
): Promise<Supervisor> {
  const supervisor = new TreeSupervisor(id, spec, options);
  await supervisor.startChildren();
  return supervisor;
}

/** A supervisor as a child of another. Its `shutdownMs` must hold those of its children. */
export function supervisorChild(
  id: string,
  spec: SupervisorSpec,
  options: { readonly restart?: Restart; readonly shutdownMs: number },
): ChildSpec {
  return {
    id,
    start: (context) => startSupervisor(id, spec, context),
    restart: options.restart ?? "permanent",
    shutdownMs: options.shutdownMs,
  };
}

/** Steps of one or more children, one after the other. */
class Lane {
  #tail: Promise<void> = Promise.resolve();
  run(step: () => Promise<void>): Promise<void> {
    this.#tail = this.#tail.then(step);
    return this.#tail;
  }
}

const SHUTDOWN: ChildEnd = { reason: "shutdown", fault: undefined };

class TreeSupervisor implements Supervisor {
  readonly done: Promise<void | { readonly fault: unknown }>;
  readonly #id: string;
  readonly #spec: SupervisorSpec;
  readonly #options: SupervisorOptions;
  readonly #children: readonly SupervisedChild[];
  /** `one_for_one`: a lane a child, so that a slow start delays no sibling. Else all share one. */
  readonly #lanes: readonly Lane[];
  readonly #ready = Promise.withResolvers<void>();
  readonly #end = Promise.withResolvers<void | { readonly fault: unknown }>();
  /** Monotonic times of restarts within the window, oldest first. */
  #restartsAtMs: number[] = [];
  #status: SupervisionStatus = "starting";
  #fault: unknown;
  #closing: Promise<void> | undefined;

  constructor(id: string, spec: SupervisorSpec, options: SupervisorOptions) {
    const ids = new Set(spec.children.map((child) => child.id));
    assert(ids.size === spec.children.length, `children of ${id} must have unique ids`);
    this.#id = id;
    this.#spec = spec;
    this.#options = options;
    const { clock, random, events, path = [] } = options;
    this.#children = spec.children.map((child) =>
      new SupervisedChild(child, { clock, random, events, path })
    );
    const shared = new Lane();
    const isAlone = spec.strategy === "one_for_one";
    this.#lanes = spec.children.map(() => isAlone ? new Lane() : shared);
    this.done = this.#end.promise;
  }

  async startChildren(): Promise<void> {
    const { signal } = this.#options;
    const abort = () => void this.stop();
    signal?.addEventListener("abort", abort, { once: true });
    // Observed now: an escalation may reject it while the first children still start.
    const ready = this.#ready.promise.finally(() => signal?.removeEventListener("abort", abort));
    ready.catch(() => {});
    if (signal?.aborted) abort();
    const entries = this.#spec.strategy === "one_for_one" ? this.#children.length : 1;
    for (let index = 0; index < Math.min(entries, this.#children.length); index++) {
      await this.#step(index, () => this.#startFrom(index));
    }
    this.#noteReady();
    await ready;
  }

  live(): SupervisionTree {
    const fault = this.#fault === undefined ? {} : { lastFault: faultText(this.#fault) };
    return { id: this.#id, status: this.#status, restarts: 0, ...fault, children: this.tree() };
  }

  tree(): readonly SupervisionTree[] {
    return this.#children.map((child) => child.tree());
  }

  kill(path: ChildPath): boolean {
    const [id, ...rest] = path;
    if (id === undefined) {
      void this.stop();
      return true;
    }
    const index = this.#children.findIndex((child) => child.spec.id === id);
    const running = this.#children[index]?.running;
    if (running === undefined || this.#closing !== undefined) return false;
    if (rest.length > 0) return running.kill?.(rest) ?? false;
    const fault = new UnavailableError(id, "killed by an operator");
    this.#onEnd(index, this.#child(index).attempt, { reason: "killed", fault });
    return true;
  }

  retry(path: ChildPath): boolean {
    const [id, ...rest] = path;
    const index = this.#children.findIndex((child) => child.spec.id === id);
    const child = this.#children[index];
    if (child === undefined || this.#closing !== undefined) return false;
    if (rest.length > 0) return child.running?.retry?.(rest) ?? false;
    const isBehindBlocked = child.status === "stopped" && child.isDue;
    if (isBehindBlocked || !RETRYABLE_STATUS.has(child.status)) return false;
    void this.#step(index, async () => {
      if (!RETRYABLE_STATUS.has(child.status)) return;
      child.cancelBackoff?.();
      child.isDue = true;
      child.status = "restarting";
      await this.#startFrom(index);
    });
    return true;
  }

  stop(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** A step that throws is a bug here or in a listener of the events: the supervisor gives up. */
  #step(index: number, step: () => Promise<void>): Promise<void> {
    const lane = this.#lanes[index];
    assert(lane !== undefined, "a child has a lane");
    return lane.run(async () => {
      try {
        if (this.#closing === undefined) await step();
      } catch (fault) {
        this.#escalate(fault);
      }
    });
  }

  #child(index: number): SupervisedChild {
    const child = this.#children[index];
    assert(child !== undefined, "index of a child");
    return child;
  }

  /** Starts what is due at and after `index`, unless a child before it has to come first. */
  async #startFrom(index: number): Promise<void> {
    if (this.#spec.strategy === "one_for_one") {
      if (this.#child(index).isDue) await this.#start(index);
      return this.#noteReady();
    }
    const first = this.#spec.strategy === "one_for_all" ? 0 : index;
    const isMissing = (child: SupervisedChild) => child.isDue || child.status === "blocked";
    if (this.#children.slice(0, first).some(isMissing)) return;
    for (let next = first; next < this.#children.length; next++) {
      if (this.#closing !== undefined) return;
      if (this.#child(next).isDue) await this.#start(next);
      if (isMissing(this.#child(next))) break;
    }
    this.#noteReady();
  }

  async #start(index: number): Promise<void> {
    const child = this.#child(index);
    child.cancelBackoff?.();
    const result = await child.start((attempt, end) => this.#onEnd(index, attempt, end));
    if (result.ok || this.#closing !== undefined) return;
    child.ended({ reason: "start", fault: result.fault });
    await this.#decide(index, { reason: "start", fault: result.fault });
  }

  #onEnd(index: number, attempt: number, end: ChildEnd): void {
    void this.#step(index, async () => {
      const child = this.#child(index);
      if (child.running === undefined || child.attempt !== attempt) return;
      await child.stop(end);
      if (this.#closing === undefined) await this.#decide(index, end);
      this.#noteReady();
    });
  }

  async #decide(index: number, end: ChildEnd): Promise<void> {
    const child = this.#child(index);
    const { restart } = child.spec;
    if (restart === "temporary" || (restart === "transient" && end.fault === undefined)) {
      child.status = end.fault === undefined ? "stopped" : "failed";
      return;
    }
    if (isBlocking(end.fault)) {
      child.status = "blocked";
      child.emit({ type: "blocked", fault: faultText(end.fault) });
      return await this.#stopGroup(index, "stopped");
    }
    if (!this.#admitsRestart()) {
      const { restartsMax, withinMs } = this.#spec.intensity;
      const bound = `more than ${restartsMax} restarts within ${withinMs} ms`;
      const message = `Cannot keep ${child.path.join("/")} running: ${bound}`;
      return this.#escalate(new UnavailableError(child.spec.id, message, { cause: end.fault }));
    }
    await this.#stopGroup(index, "restarting");
    this.#restartLater(index);
  }

  #admitsRestart(): boolean {
    const { restartsMax, withinMs } = this.#spec.intensity;
    const nowMs = this.#options.clock.monotonicMs();
    this.#restartsAtMs = this.#restartsAtMs.filter((atMs) => nowMs - atMs < withinMs);
    if (this.#restartsAtMs.length >= restartsMax) return false;
    this.#restartsAtMs.push(nowMs);
    return true;
  }

  /** Stops, in reverse, what the strategy ties to a child; what may start again is due. */
  async #stopGroup(index: number, then: "restarting" | "stopped"): Promise<void> {
    if (this.#spec.strategy === "one_for_one") return;
    const first = this.#spec.strategy === "one_for_all" ? 0 : index + 1;
    for (let next = this.#children.length - 1; next >= first; next--) {
      if (next === index) continue;
      const child = this.#child(next);
      child.cancelBackoff?.();
      const hadEnded = child.running === undefined && !child.isDue;
      await child.stop(SHUTDOWN);
      if (this.#closing !== undefined) return;
      if (child.spec.restart === "temporary" && (hadEnded || child.attempt > 0)) continue;
      child.isDue = true;
      child.status = then;
    }
  }

  #restartLater(index: number): void {
    const child = this.#child(index);
    if (this.#closing !== undefined) return;
    const { firstMs, maxMs } = this.#spec.backoff ?? BACKOFF_DEFAULT;
    const inRow = child.countFailure(this.#spec.intensity.withinMs);
    const longestMs = Math.min(maxMs, firstMs * 2 ** (inRow - 1));
    const delayMs = longestMs * (0.5 + 0.5 * this.#options.random.fraction());
    child.isDue = true;
    child.status = "restarting";
    const cancel = this.#options.clock.after(delayMs, () => {
      child.cancelBackoff = undefined;
      void this.#step(index, () => this.#startFrom(index));
    });
    child.cancelBackoff = () => {
      child.cancelBackoff = undefined;
      cancel();
    };
  }

  #noteReady(): void {
    const isComing = (child: SupervisedChild) =>
      child.status === "starting" || child.status === "restarting";
    if (this.#closing !== undefined || this.#children.some(isComing)) return;
    this.#status = "running";
    this.#ready.resolve();
  }

  #escalate(fault: unknown): void {
    if (this.#closing !== undefined) return;
    this.#fault = fault;
    const { clock, events, path = [] } = this.#options;
    events.emit({ atMs: clock.nowMs(), path, type: "escalated", fault: faultText(fault) });
    void this.stop();
  }

  async #close(): Promise<void> {
    this.#status = "stopping";
    for (const child of this.#children) {
      child.cancelBackoff?.();
      child.abortStart();
    }
    for (let index = this.#children.length - 1; index >= 0; index--) {
      const child = this.#child(index);
      await this.#lanes[index]?.run(async () => await child.stop(SHUTDOWN));
      child.isDue = false;
      if (child.status !== "failed" && child.status !== "blocked") child.status = "stopped";
    }
    const fault = this.#fault;
    this.#status = fault === undefined ? "stopped" : "failed";
    this.#ready.reject(fault ?? new UnavailableError(this.#id, `${this.#id} was stopped`));
    this.#end.resolve(fault === undefined ? undefined : { fault });
    if (fault !== undefined) this.#options.onEscalated?.(fault);
  }
}

const RETRYABLE_STATUS: ReadonlySet<SupervisionStatus> = new Set([
  "blocked",
  "failed",
  "restarting",
  "stopped",
]);
