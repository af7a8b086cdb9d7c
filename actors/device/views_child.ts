/** Store and reader of the views in their own thread: start, run, stop. */
import { join } from "node:path";
import { killable } from "../../runtime/actor/resource_child.ts";
import type { ChildSpec } from "../../runtime/actor/supervision.ts";
import type { Clock } from "../../runtime/clock.ts";
import { messageOf, UnavailableError } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";
import { connectReaderPort } from "../../runtime/log/reader_port.ts";
import { StateReader } from "../../runtime/log/state_reader.ts";
import { partitionOfActor } from "../behaviours.ts";
import { openDeviceFinder } from "./device_finder.ts";
import { FINDER_BOUNDS } from "./finder_walk.ts";
import {
  isDamage,
  openPropertyIndex,
  type PropertyIndex,
  removePropertyIndex,
} from "./property_index.ts";
import { openSqliteViews } from "./sqlite_views.ts";
import { startStateIndexer } from "./state_indexer.ts";
import { startViewsReader } from "./views_reader.ts";
import {
  createViewsClient,
  type ReadViews,
  startViewsWorker,
  type ViewsEndpoint,
} from "./views_worker.ts";

interface ViewsStart {
  readonly type: "views_start";
  readonly dataDir: string;
  readonly port: MessagePort;
}

/** Called once by the Worker's root module. */
export function runViewsWorker(scope: ViewsEndpoint, clock: Clock, logger: Logger): void {
  let stop: (() => Promise<void>) | undefined;
  scope.addEventListener("message", async ({ data }) => {
    try {
      if (data?.type === "views_start") {
        stop = startStore(scope, data, clock, logger);
        scope.postMessage({ type: "views_started" });
      } else if (data?.type === "views_stop") {
        await stop?.();
        scope.postMessage({ type: "views_stopped" });
      }
    } catch (fault) {
      scope.postMessage({ type: "views_failed", message: messageOf(fault) });
    }
  });
}

function startStore(scope: ViewsEndpoint, start: ViewsStart, clock: Clock, logger: Logger) {
  const pathOf = (name: string) => join(start.dataDir, name);
  const store = openSqliteViews(pathOf("views.db"));
  const searchPath = pathOf("search.db");
  const index = openPropertyIndex(searchPath, logger);
  let isDamaged = false;
  // This thread has it open: it ends, and the next one makes it anew of the committed states.
  const onSearchFault = (fault: unknown) => {
    if (isDamaged || !isDamage(fault)) return;
    isDamaged = true;
    removePropertyIndex(searchPath);
    const message = `The index of values is damaged: ${messageOf(fault)}`;
    scope.postMessage({ type: "views_failed", message });
  };
  const states = new StateReader(pathOf("log.db"));
  const finder = openDeviceFinder(
    {
      registry: pathOf("registry.db"),
      views: pathOf("views.db"),
      search: searchPath,
    },
    clock,
    FINDER_BOUNDS,
    onSearchFault,
  );
  const port = connectReaderPort(start.port);
  let read = store.cursor;
  const source = {
    readTicks: async (...request: Parameters<typeof port.readTicks>) => {
      const ticks = await port.readTicks(...request);
      read = ticks.cursor;
      return ticks;
    },
    saveCursor: (cursor: number) => port.saveCursor(cursor),
    waitForMore: () => port.waitForMore(read),
  };
  const reader = startViewsReader({ source, store, clock, logger });
  const indexer = startStateIndexer({
    states,
    index: watched(index, onSearchFault),
    partitionOf: partitionOfActor,
    takeChanged: (limit) => port.takeChanged(limit),
    clock,
    logger,
  });
  const search = {
    list: finder.list,
    count: finder.count,
    reindex: () => Promise.resolve(indexer.lookAgain()),
  };
  const answers = startViewsWorker(scope, store, reader, search);
  return async () => {
    answers[Symbol.dispose]();
    port[Symbol.dispose]();
    await indexer[Symbol.asyncDispose]();
    await reader[Symbol.asyncDispose]();
    for (const opened of [finder, states, index]) opened[Symbol.dispose]();
    await store[Symbol.asyncDispose]();
  };
}

/** An index whose faults are told before they are thrown. */
function watched(
  index: PropertyIndex,
  onFault: (fault: unknown) => void,
): Pick<PropertyIndex, "write" | "keysAfter"> {
  const watch = <Value>(work: () => Value): Value => {
    try {
      return work();
    } catch (fault) {
      onFault(fault);
      throw fault;
    }
  };
  return {
    write: (devices) => watch(() => index.write(devices)),
    keysAfter: (key, limit) => watch(() => index.keysAfter(key, limit)),
  };
}

export interface ViewsHandle extends AsyncDisposable {
  readonly views: ReadViews;
  /** Resolves with what ended the Worker, if it was not disposed. */
  readonly failed: Promise<Error>;
  /** Ends the Worker at once, as a crash would. */
  kill(): void;
}

export interface ViewsChildOptions {
  /** Entry module of the Worker. */
  readonly entry: string;
  readonly dataDir: string;
  readonly openReader: () => MessagePort;
  readonly onStarted: (views: ReadViews) => void;
}

/** The views as a supervised child. */
export function viewsChild(
  { entry, dataDir, openReader, onStarted }: ViewsChildOptions,
): ChildSpec {
  return {
    id: "views",
    restart: "permanent",
    shutdownMs: 10_000,
    start: async () => {
      const worker = new Worker(entry, { type: "module", name: "views" });
      const handle = await startViewsChild(worker, dataDir, openReader());
      onStarted(handle.views);
      const done = handle.failed.then((fault) => ({ fault }));
      return killable(handle, done, () => handle.kill());
    },
  };
}

/** @throws {UnavailableError} The store could not be opened. */
export async function startViewsChild(
  worker: Worker,
  dataDir: string,
  port: MessagePort,
): Promise<ViewsHandle> {
  let fail!: (fault: Error) => void;
  const failed = new Promise<Error>((resolve) => fail = resolve);
  const heard = (type: string) =>
    new Promise<void>((resolve) =>
      worker.addEventListener("message", ({ data }) => data?.type === type && resolve())
    );
  worker.addEventListener("message", ({ data }) => {
    if (data?.type === "views_failed") fail(new UnavailableError("views", data.message));
  });
  worker.onerror = (event) => {
    event.preventDefault();
    fail(new UnavailableError("views", event.message));
  };
  const started = heard("views_started");
  worker.postMessage({ type: "views_start", dataDir, port } satisfies ViewsStart, [port]);
  const fault = await Promise.race([started, failed]);
  if (fault !== undefined) {
    worker.terminate();
    throw fault;
  }
  const views = createViewsClient(worker);
  let disposed: Promise<void> | undefined;
  const dispose = async () => {
    views[Symbol.dispose]();
    const stopped = heard("views_stopped");
    worker.postMessage({ type: "views_stop" });
    await Promise.race([stopped, failed]);
    worker.terminate();
  };
  const kill = () => {
    worker.terminate();
    fail(new UnavailableError("views", "The views were killed"));
  };
  return { views, failed, kill, [Symbol.asyncDispose]: () => disposed ??= dispose() };
}
