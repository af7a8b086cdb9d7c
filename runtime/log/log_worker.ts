/**
 * The log's thread: the only writer of `log.db`, and the engine processes' driver. It answers calls
 * of the main thread and tells it the effects of commits; readers (telemetry, views) reach it by
 * ports of their own, so that nothing passes through the thread that has the sockets.
 */
import type { LaneId, LaneStatus, RunnerEvent } from "../actor/runner.ts";
import { EngineRunner } from "../actor/runner.ts";
import { startEngineProcess } from "../actor/engine_process.ts";
import { PARTITIONS } from "../actor/address.ts";
import type { Address, Partition } from "../actor/address.ts";
import type { EngineEvent } from "../actor/engine_events.ts";
import type { TransientEffect } from "../actor/batch.ts";
import { type Clock, systemClock, waitMs } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { createStderrLogger, type Logger, type LogLevel } from "../logger.ts";
import { AppendTimesOfLog } from "./append_times.ts";
import { ChangedStates } from "./changed_states.ts";
import type {
  Append,
  DeadLetterQuery,
  GatewayRowQuery,
  PartitionLog,
  StateQuery,
} from "./partition_log.ts";
import { type LogHooks, openDurableLog } from "./open_log.ts";
import { serveReaderPort } from "./reader_port.ts";
import { serveTailPort } from "./tail_port.ts";

export interface LogWorkerStart {
  readonly type: "start";
  readonly dataDir: string;
  /** Entry module of an engine process, a `file:` URL. */
  readonly engineEntry: string;
  readonly logLevel: LogLevel;
  /** Reader whose store has the history: what traces call stored. */
  readonly historyReader?: string;
  /** Names of all readers: the log is trimmed only behind the cursors of all of them. */
  readonly readers: readonly string[];
}

/** A reader has started (again): it reads by this port. */
export interface LogReaderStart {
  readonly type: "reader";
  readonly name: string;
  readonly port: MessagePort;
}

/** The live feed has started (again): it follows the log by this port. */
export interface LogTailStart {
  readonly type: "tail";
  readonly port: MessagePort;
}

/** Calls of the main thread: a method and its arguments; answered with the same id. */
export interface LogCall {
  readonly type: "call";
  readonly id: number;
  readonly method: LogMethod;
  readonly args: readonly unknown[];
}

export type LogMethod = Exclude<keyof ReturnType<typeof methodsOf>, never>;

export type LogWorkerEvent =
  | { readonly type: "started"; readonly epoch: number; readonly token: number }
  /** All partitions that damage has stopped: before "started", and when that has changed. */
  | { readonly type: "stops"; readonly partitions: readonly Partition[] }
  | { readonly type: "stopped" }
  | { readonly type: "failed"; readonly message: string }
  | { readonly type: "answer"; readonly id: number; readonly value: unknown }
  | { readonly type: "fault"; readonly id: number; readonly message: string }
  | { readonly type: "effects"; readonly effects: readonly TransientEffect[] }
  | { readonly type: "activities" }
  | { readonly type: "runner"; readonly event: RunnerEvent }
  | { readonly type: "lifecycle"; readonly events: readonly EngineEvent[] };

/** What the main thread may ask for. */
function methodsOf(log: PartitionLog, runner: EngineRunner, times: AppendTimesOfLog) {
  return {
    append: async (append: Append) => {
      const outcome = await log.append(append);
      const { tick } = log.head();
      const cursorOf = (partition: Partition) => log.cursor(partition);
      times.appended(append, outcome, cursorOf, tick, systemClock.nowMs());
      return outcome;
    },
    appendTimes: (partition: Partition, appends: readonly number[]) =>
      Promise.resolve(times.of(partition, appends)),
    peek: async (address: string) => (await log.loadStates([address]))[0],
    peekAll: (addresses: readonly string[]) => log.loadStates(addresses),
    statesAfter: (query: StateQuery) => log.statesAfter(query),
    gatewayRow: (key: string) => log.gatewayRow(key),
    gatewayRows: (query: GatewayRowQuery) => log.gatewayRows(query),
    ledger: () => Promise.resolve(log.ledger()),
    head: () => Promise.resolve({ ...log.head(), epoch: log.epoch }),
    deadLetters: (query: DeadLetterQuery) => log.deadLetters(query),
    countDeadLetters: (address?: string) => log.countDeadLetters(address),
    replayDeadLetters: (ids: readonly number[]) => log.replayDeadLetters(ids),
    discardDeadLetters: (ids: readonly number[]) => log.discardDeadLetters(ids),
    peekPending: (partition: Partition, offset: number, limit: number) =>
      log.peekPending(partition, offset, limit),
    skipDamage: (partition: Partition, offset: number) => log.skipDamage(partition, offset),
    activities: (limit: number) => log.activities(limit),
    finishActivity: (id: string) => log.finishActivity(id),
    lanes: (): Promise<LaneStatus[]> => Promise.resolve(runner.lanes()),
    killLane: (lane: LaneId) => Promise.resolve(runner.kill(lane)),
    readerCursors: (names: readonly string[]) =>
      Promise.resolve(names.map((name) => log.readerCursor(name) ?? 0)),
  };
}

type LogWorkerMessage =
  | LogWorkerStart
  | LogReaderStart
  | LogTailStart
  | LogCall
  | { readonly type: "stop" };

/** The part of a worker's global scope that is used. */
export interface WorkerScope {
  onmessage: ((event: MessageEvent) => void) | null;
  postMessage(message: unknown, transfer?: Transferable[]): void;
  close(): void;
}

export interface LogWorkerOptions {
  readonly partitionOf: (address: Address) => Partition;
  readonly hooks?: LogHooks;
}

export function startLogWorker(scope: WorkerScope, options: LogWorkerOptions): void {
  let stop: (() => Promise<void>) | undefined;
  let answer: ((call: LogCall) => void) | undefined;
  let attach: ((reader: LogReaderStart | LogTailStart) => void) | undefined;
  const post = (event: LogWorkerEvent) => scope.postMessage(event);
  scope.onmessage = ({ data }: MessageEvent<LogWorkerMessage>) => {
    if (data.type === "call") answer?.(data);
    else if (data.type === "reader" || data.type === "tail") attach?.(data);
    else if (data.type === "stop") {
      void stop?.().then(() => post({ type: "stopped" }));
    } else {
      run(data, post, options).then(
        (running) => {
          ({ stop, answer, attach } = running);
          post({ type: "started", epoch: running.epoch, token: running.token });
        },
        (fault) => post({ type: "failed", message: messageOf(fault) }),
      );
    }
  };
}

async function run(
  start: LogWorkerStart,
  post: (event: LogWorkerEvent) => void,
  { partitionOf, hooks = {} }: LogWorkerOptions,
) {
  const clock = systemClock;
  const logger = createStderrLogger(clock, start.logLevel).with({ part: "log" });
  const { dataDir, readers } = start;
  const onUnusable = () => post({ type: "failed", message: "the outcome of a write is unknown" });
  const log = openDurableLog({
    dataDir,
    readers,
    partitionOf,
    clock,
    logger,
    hooks,
    onUnusable,
  });
  const tellStops = () => {
    post({ type: "stops", partitions: log.stopped().map(({ partition }) => partition) });
  };
  log.onStopsChanged(tellStops);
  tellStops();
  // Of all readers only the views ask for it.
  const changed = new ChangedStates();
  const times = new AppendTimesOfLog();
  const runner = new EngineRunner({
    log,
    partitions: Array.from({ length: PARTITIONS }, (_, partition) => partition),
    startEngine: (lane) =>
      startEngineProcess({
        entry: start.engineEntry,
        load: (addresses) => log.loadStates(addresses),
        clock,
        logger: logger.with({ lane }),
        isYielding: lane === "quarantine",
      }),
    clock,
    logger,
    onEffects: (effects) => post({ type: "effects", effects }),
    onCommitted: ({ partition, toCursor, states }) => {
      times.handled(partition, toCursor, log.head().tick, clock.nowMs());
      for (const { address } of states) changed.add(address);
    },
    onActivities: () => post({ type: "activities" }),
    onEvent: (event) => post({ type: "runner", event }),
    onLifecycle: (events) => post({ type: "lifecycle", events }),
  });
  runner.done.catch((fault) => post({ type: "failed", message: messageOf(fault) }));
  const token = await runner.acquired;
  const ports = new Map<string, Disposable>();
  const attach = (reader: LogReaderStart | LogTailStart) => {
    const name = reader.type === "tail" ? TAIL : reader.name;
    ports.get(name)?.[Symbol.dispose]();
    const isHistory = name === start.historyReader;
    const onSaved = (tick: number) => isHistory && times.stored(tick, clock.nowMs());
    const served = reader.type === "tail"
      ? serveTailPort(reader.port, log, partitionOf)
      : serveReaderPort(reader.port, log, name, changed, onSaved);
    ports.set(name, served);
  };
  const maintenance = maintain(log, clock, logger);
  const methods = methodsOf(log, runner, times);
  const answer = (call: LogCall) => answerCall(methods, call, post);
  const stop = async () => {
    maintenance.stop();
    for (const port of ports.values()) port[Symbol.dispose]();
    await runner[Symbol.asyncDispose]();
    await log[Symbol.asyncDispose]();
  };
  return { stop, answer, attach, epoch: log.epoch, token };
}

function answerCall(
  methods: ReturnType<typeof methodsOf>,
  call: LogCall,
  post: (event: LogWorkerEvent) => void,
): void {
  const method = methods[call.method] as (...args: readonly unknown[]) => Promise<unknown>;
  method(...call.args).then(
    (value) => post({ type: "answer", id: call.id, value }),
    (fault) => post({ type: "fault", id: call.id, message: messageOf(fault) }),
  );
}

/** No reader has this name. */
const TAIL = "*tail";
const MAINTAIN_IDLE_MS = 200;
const MAINTAIN_BUSY_MS = 10;

/** Trims and checkpoints in small steps, with room between them for appends. */
function maintain(
  log: PartitionLog,
  clock: Clock,
  logger: Logger,
): { stop: () => void } {
  let isStopped = false;
  const loop = async () => {
    while (!isStopped) {
      let hasMore = false;
      try {
        hasMore = await log.maintain();
      } catch (fault) {
        logger.error("log maintenance failed", { fault: messageOf(fault) });
      }
      await waitMs(clock, hasMore ? MAINTAIN_BUSY_MS : MAINTAIN_IDLE_MS);
    }
  };
  void loop();
  return { stop: () => isStopped = true };
}
