/**
 * The main thread's side of the log worker. It outlives workers: while there is none, calls reject
 * with `UnavailableError` and the ingress sends the same append again to the next one.
 */
import type { LaneId, LaneStatus, RunnerEvent } from "../actor/runner.ts";
import type { Address, Partition } from "../actor/address.ts";
import type { EngineEvent } from "../actor/engine_events.ts";
import type { TransientEffect } from "../actor/batch.ts";
import { UnavailableError } from "../errors.ts";
import type { LogMethod, LogWorkerEvent, LogWorkerStart } from "./log_worker.ts";
import type { AppendTrace } from "./append_times.ts";
import type {
  Append,
  AppendOutcome,
  DeadLetterQuery,
  GatewayRowQuery,
  Ledger,
  ListedDeadLetter,
  PendingPage,
  SkipOutcome,
  StateQuery,
  StoredActivity,
  StoredGatewayRow,
  StoredState,
} from "./partition_log.ts";

export interface LogClientListeners {
  readonly onEffects: (effects: readonly TransientEffect[]) => void;
  readonly onActivities: () => void;
  readonly onRunner: (event: RunnerEvent) => void;
  /** All partitions that damage has stopped: at each start of the log, and when they change. */
  readonly onStops: (partitions: readonly Partition[]) => void;
  /** Of durable commits. */
  readonly onLifecycle: (events: readonly EngineEvent[]) => void;
}

export interface StartedLog {
  /** Resolves if the log fails after its start. */
  readonly ended: Promise<string>;
  readonly epoch: number;
  /** Fencing token: rises with each start of the log. */
  readonly token: number;
}

interface Call {
  readonly resolve: (value: never) => void;
  readonly reject: (fault: Error) => void;
}

export class LogClient {
  readonly #listeners: LogClientListeners;
  readonly #calls = new Map<number, Call>();
  #worker: Worker | undefined;
  #callId = 0;

  constructor(listeners: LogClientListeners) {
    this.#listeners = listeners;
  }

  /** Starts the worker's log. Rejects if it cannot be opened. */
  start(worker: Worker, start: LogWorkerStart): Promise<StartedLog> {
    return new Promise((resolve, reject) => {
      let end!: (how: string) => void;
      const ended = new Promise<string>((resolveEnded) => end = resolveEnded);
      worker.onmessage = ({ data }: MessageEvent<LogWorkerEvent>) => {
        if (data.type === "started") {
          this.#worker = worker;
          resolve({ ended, epoch: data.epoch, token: data.token });
        } else if (data.type === "failed") {
          reject(new UnavailableError("log", data.message));
          end(data.message);
        } else this.#take(data);
      };
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new UnavailableError("log", event.message));
        end(event.message);
      };
      worker.postMessage(start);
    });
  }

  /** A port on which a reader (in another worker) reads the log. */
  openReader(name: string): MessagePort {
    if (this.#worker === undefined) throw unavailable();
    const { port1, port2 } = new MessageChannel();
    this.#worker.postMessage({ type: "reader", name, port: port2 }, [port2]);
    return port1;
  }

  /** A port on which the live feed follows the log. */
  openTail(): MessagePort {
    if (this.#worker === undefined) throw unavailable();
    const { port1, port2 } = new MessageChannel();
    this.#worker.postMessage({ type: "tail", port: port2 }, [port2]);
    return port1;
  }

  /** Rejects what waits; their outcome is unknown. */
  detach(): void {
    this.#worker = undefined;
    for (const call of this.#calls.values()) call.reject(unavailable());
    this.#calls.clear();
  }

  append(append: Append): Promise<AppendOutcome> {
    return this.#call("append", append);
  }
  /** Committed state of an actor, encoded; undefined if it has none. */
  peek(address: Address): Promise<Uint8Array | undefined> {
    return this.#call("peek", address);
  }
  /** The same of many, at most `statesPageMax`. */
  peekAll(addresses: readonly Address[]): Promise<readonly (Uint8Array | undefined)[]> {
    return this.#call("peekAll", addresses);
  }
  statesAfter(query: StateQuery): Promise<readonly StoredState[]> {
    return this.#call("statesAfter", query);
  }
  gatewayRow(key: string): Promise<Uint8Array | undefined> {
    return this.#call("gatewayRow", key);
  }
  gatewayRows(query: GatewayRowQuery): Promise<readonly StoredGatewayRow[]> {
    return this.#call("gatewayRows", query);
  }
  ledger(): Promise<Ledger> {
    return this.#call("ledger");
  }
  head(): Promise<{ tick: number; logBytes: number; pendingRecords: number; epoch: number }> {
    return this.#call("head");
  }
  deadLetters(query: DeadLetterQuery): Promise<ListedDeadLetter[]> {
    return this.#call("deadLetters", query);
  }
  countDeadLetters(address?: string): Promise<number | null> {
    return this.#call("countDeadLetters", address);
  }
  replayDeadLetters(ids: readonly number[]): Promise<number> {
    return this.#call("replayDeadLetters", ids);
  }
  discardDeadLetters(ids: readonly number[]): Promise<number> {
    return this.#call("discardDeadLetters", ids);
  }
  peekPending(partition: Partition, offset: number, limit: number): Promise<PendingPage> {
    return this.#call("peekPending", partition, offset, limit);
  }
  skipDamage(partition: Partition, offset: number): Promise<SkipOutcome> {
    return this.#call("skipDamage", partition, offset);
  }
  activities(limit: number): Promise<StoredActivity[]> {
    return this.#call("activities", limit);
  }
  finishActivity(id: string): Promise<void> {
    return this.#call("finishActivity", id);
  }
  lanes(): Promise<LaneStatus[]> {
    return this.#call("lanes");
  }
  killLane(lane: LaneId): Promise<boolean> {
    return this.#call("killLane", lane);
  }
  readerCursors(names: readonly string[]): Promise<number[]> {
    return this.#call("readerCursors", names);
  }
  /** What became of appends of this process, in one partition. */
  appendTimes(partition: Partition, appends: readonly number[]): Promise<AppendTrace[]> {
    return this.#call("appendTimes", partition, appends);
  }

  #call<T>(method: LogMethod, ...args: readonly unknown[]): Promise<T> {
    const worker = this.#worker;
    if (worker === undefined) return Promise.reject(unavailable());
    const id = ++this.#callId;
    return new Promise<T>((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      worker.postMessage({ type: "call", id, method, args });
    });
  }

  #take(event: LogWorkerEvent): void {
    if (event.type === "effects") this.#listeners.onEffects(event.effects);
    else if (event.type === "activities") this.#listeners.onActivities();
    else if (event.type === "runner") this.#listeners.onRunner(event.event);
    else if (event.type === "stops") this.#listeners.onStops(event.partitions);
    else if (event.type === "lifecycle") this.#listeners.onLifecycle(event.events);
    else if (event.type === "answer" || event.type === "fault") {
      const call = this.#calls.get(event.id);
      this.#calls.delete(event.id);
      if (event.type === "answer") call?.resolve(event.value as never);
      else call?.reject(new UnavailableError("log", event.message));
    }
  }
}

function unavailable(): UnavailableError {
  return new UnavailableError("log", "The log is restarting: the outcome is unknown");
}
