/**
 * Store and reader in a Worker of their own, and the client that asks it from the main thread.
 *
 * Order of messages: `start` (with a port to the log) → `started`; then any number of `ask` →
 * `answer`; `stop` → `stopped`. `failed` instead of any of them: the Worker is of no use any more,
 * its supervisor starts another. Answers may come in another order than the questions.
 */
import type { Clock } from "../../runtime/clock.ts";
import { InvalidError, type Issue, messageOf, UnavailableError } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { MessageEndpoint } from "../../runtime/log/port_calls.ts";
import { connectReaderPort } from "../../runtime/log/reader_port.ts";
import { type ReaderFigures, startTelemetryReader } from "./reader.ts";
import type { RetentionPlan } from "./retention_plan.ts";
import { SqliteTelemetryStore } from "./sqlite_store.ts";
import type { StoreFigures, TelemetryStore } from "./store.ts";
import type { OnStep } from "./transaction.ts";

/** What may be asked of history from another thread. */
export type TelemetryQueries = Pick<
  TelemetryStore,
  "range" | "buckets" | "thin" | "events" | "latest"
>;

/** What imports of history write from another thread. */
export type TelemetryImports = Pick<TelemetryStore, "importSamples">;

export interface TelemetryStart {
  /** Of `telemetry.db`. */
  readonly path: string;
  readonly retention?: RetentionPlan;
  /** See `SqliteTelemetryOptions`. */
  readonly compactAtRows?: number;
  readonly compactAfterMs?: number;
}

export interface TelemetryFigures {
  readonly store: StoreFigures;
  readonly reader: ReaderFigures;
}

export interface TelemetryClient extends TelemetryQueries, TelemetryImports, AsyncDisposable {
  figures(): Promise<TelemetryFigures>;
  /** From now on history is kept so. */
  setRetention(plan: RetentionPlan): Promise<void>;
  /** Compacts everything that is stored. For tests and benchmarks: the reader does it by itself. */
  compactAll(): Promise<void>;
  /** Ends the Worker at once, as a crash would; what was asked is rejected. */
  kill(): void;
  /** Resolves when the Worker was stopped, rejects with `UnavailableError` when it failed. */
  readonly done: Promise<void>;
}

/** The slice of `DedicatedWorkerGlobalScope` that is used. */
export interface WorkerScope {
  postMessage(message: unknown): void;
  onmessage: ((event: MessageEvent) => void) | null;
  close(): void;
}

/** The slice of `Worker` that is used. */
export interface WorkerHandle {
  postMessage(message: unknown, transfer: Transferable[]): void;
  onmessage: ((event: MessageEvent) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  terminate(): void;
}

export interface TelemetryWorkerOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** For fail points of test builds; see `SqliteTelemetryOptions`. */
  readonly onStep?: OnStep;
}

type Question =
  | keyof (TelemetryQueries & TelemetryImports)
  | "figures"
  | "setRetention"
  | "compactAll";

type ToWorker =
  | { readonly type: "start"; readonly start: TelemetryStart; readonly port: MessagePort }
  | {
    readonly type: "ask";
    readonly id: number;
    readonly question: Question;
    readonly input: unknown;
  }
  | { readonly type: "stop" };

type FromWorker =
  | { readonly type: "started" | "stopped" }
  | { readonly type: "failed"; readonly message: string }
  | { readonly type: "answer"; readonly id: number; readonly ok: true; readonly value: unknown }
  | {
    readonly type: "answer";
    readonly id: number;
    readonly ok: false;
    readonly message: string;
    /** Present: the query was refused. */
    readonly issues?: readonly Issue[];
  };

/** Called once by the Worker's root module; everything else comes by message. */
export function startTelemetryWorker(scope: WorkerScope, options: TelemetryWorkerOptions): void {
  const post = (message: FromWorker) => scope.postMessage(message);
  let running: Running | undefined;
  scope.onmessage = async (event) => {
    const message = event.data as ToWorker;
    try {
      if (message.type === "start") {
        running = startStoreAndReader(message.start, message.port, options);
        running.reader.done.catch((fault) => post({ type: "failed", message: messageOf(fault) }));
        post({ type: "started" });
      } else if (message.type === "stop") {
        await running?.stop();
        post({ type: "stopped" });
        scope.close();
      } else {
        post(await answerOf(running!, message.id, message.question, message.input, options.clock));
      }
    } catch (fault) {
      options.logger.error("telemetry worker failed", { fault });
      post({ type: "failed", message: messageOf(fault) });
    }
  };
}

type Running = ReturnType<typeof startStoreAndReader>;

function startStoreAndReader(
  start: TelemetryStart,
  port: MessageEndpoint,
  options: TelemetryWorkerOptions,
) {
  const { retention, ...storeOptions } = start;
  const store = new SqliteTelemetryStore({ ...storeOptions, ...options });
  const source = connectReaderPort(port);
  const reader = startTelemetryReader({
    source,
    store,
    ...options,
    ...(retention === undefined ? undefined : { retention }),
  });
  return {
    store,
    reader,
    async stop() {
      await reader[Symbol.asyncDispose]();
      source[Symbol.dispose]();
      await store[Symbol.asyncDispose]();
    },
  };
}

async function answerOf(
  running: Running,
  id: number,
  question: Question,
  input: unknown,
  clock: Clock,
): Promise<FromWorker> {
  try {
    return { type: "answer", id, ok: true, value: await valueOf(running, question, input, clock) };
  } catch (fault) { // Handed to whoever asked.
    const message = messageOf(fault);
    if (!(fault instanceof InvalidError)) return { type: "answer", id, ok: false, message };
    return { type: "answer", id, ok: false, message, issues: fault.issues };
  }
}

async function valueOf(
  { store, reader }: Running,
  question: Question,
  input: unknown,
  clock: Clock,
): Promise<unknown> {
  switch (question) {
    case "range":
      return await store.range(input as Parameters<TelemetryQueries["range"]>[0]);
    case "buckets":
      return await store.buckets(input as Parameters<TelemetryQueries["buckets"]>[0]);
    case "thin":
      return await store.thin(input as Parameters<TelemetryQueries["thin"]>[0]);
    case "events":
      return await store.events(input as Parameters<TelemetryQueries["events"]>[0]);
    case "latest":
      return await store.latest(input as string);
    case "importSamples":
      return await store.importSamples(input as Parameters<TelemetryStore["importSamples"]>[0]);
    case "figures":
      return { store: store.figures(), reader: reader.figures() };
    case "setRetention":
      return reader.setRetention(input as RetentionPlan);
    case "compactAll":
      while (await store.compact(true)) {
        await new Promise<void>((resolve) => clock.soon(resolve));
      }
  }
}

/**
 * Starts store and reader in `worker` and resolves when they run. Owns the Worker from then on:
 * disposing stops it.
 * @param port The reader's end; the log's end is served by `serveReaderPort`.
 * @throws {UnavailableError} If the store cannot be opened.
 */
export async function createTelemetryClient(
  worker: WorkerHandle,
  start: TelemetryStart,
  port: MessagePort,
): Promise<TelemetryClient> {
  const line = new WorkerLine(worker);
  const message: ToWorker = { type: "start", start, port };
  worker.postMessage(message, [port]);
  try {
    await line.started;
  } catch (fault) {
    worker.terminate();
    throw fault;
  }
  return {
    range: (query) => line.ask("range", query),
    buckets: (query) => line.ask("buckets", query),
    thin: (query) => line.ask("thin", query),
    events: (query) => line.ask("events", query),
    latest: (device) => line.ask("latest", device),
    importSamples: (samples) => line.ask("importSamples", samples),
    figures: () => line.ask("figures"),
    setRetention: (plan) => line.ask("setRetention", plan),
    compactAll: () => line.ask("compactAll"),
    kill: () => line.kill(),
    done: line.stopped,
    [Symbol.asyncDispose]: () => line.stop(),
  };
}

/** The main thread's end. */
class WorkerLine {
  readonly started: Promise<void>;
  readonly stopped: Promise<void>;
  readonly #worker: WorkerHandle;
  readonly #pending = new Map<
    number,
    { resolve(value: unknown): void; reject(fault: Error): void }
  >();
  #lastId = 0;
  #isStopping = false;
  #fault: UnavailableError | undefined;
  #start!: { resolve(): void; reject(fault: Error): void };
  #stop!: { resolve(): void; reject(fault: Error): void };

  constructor(worker: WorkerHandle) {
    this.#worker = worker;
    this.started = new Promise((resolve, reject) => this.#start = { resolve, reject });
    this.stopped = new Promise((resolve, reject) => this.#stop = { resolve, reject });
    this.stopped.catch(() => {}); // `done` is watched by a supervisor, or by nobody.
    worker.onmessage = (event) => this.#take(event.data as FromWorker);
    worker.onerror = (event) => {
      event.preventDefault(); // Else the fault would end the whole process.
      this.#fail(event.message);
    };
  }

  ask<T>(question: Question, input?: unknown): Promise<T> {
    if (this.#fault !== undefined) return Promise.reject(this.#fault);
    if (this.#isStopping) return Promise.reject(unavailable("it is stopped"));
    const id = ++this.#lastId;
    return new Promise<T>((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve as (value: unknown) => void, reject });
      const message: ToWorker = { type: "ask", id, question, input };
      this.#worker.postMessage(message, []);
    });
  }

  async stop(): Promise<void> {
    if (!this.#isStopping && this.#fault === undefined) {
      this.#isStopping = true;
      const message: ToWorker = { type: "stop" };
      this.#worker.postMessage(message, []);
    }
    await this.stopped.catch(() => {}); // Failed or stopped, it is over.
    this.#worker.terminate();
  }

  kill(): void {
    this.#worker.terminate();
    this.#fail("it was killed");
  }

  #take(message: FromWorker): void {
    if (message.type === "answer") {
      const asked = this.#pending.get(message.id);
      this.#pending.delete(message.id);
      if (message.ok) asked?.resolve(message.value);
      else if (message.issues === undefined) asked?.reject(unavailable(message.message));
      else asked?.reject(new InvalidError(message.message, message.issues));
    } else if (message.type === "failed") {
      this.#fail(message.message);
    } else if (message.type === "started") {
      this.#start.resolve();
    } else {
      this.#rejectAll(unavailable("it is stopped"));
      this.#stop.resolve();
    }
  }

  #fail(detail: string): void {
    this.#fault ??= unavailable(detail);
    this.#start.reject(this.#fault);
    this.#stop.reject(this.#fault);
    this.#rejectAll(this.#fault);
  }

  #rejectAll(fault: Error): void {
    for (const asked of this.#pending.values()) asked.reject(fault);
    this.#pending.clear();
  }
}

function unavailable(detail: string): UnavailableError {
  return new UnavailableError("telemetry", `Cannot ask telemetry: ${detail}`);
}
