/** Views across threads: the store and its reader live in a Worker, the API asks from outside. */
import type { Json } from "../../runtime/actor/behaviour.ts";
import { messageOf, OverloadedError, UnavailableError } from "../../runtime/errors.ts";
import type { CallQuery } from "../command/call_rows.ts";
import type { CallRow } from "../command/messages.ts";
import type { DeviceFilter, DeviceFinder, FinderQuery } from "./device_finder.ts";
import type { PresenceRow } from "./messages.ts";
import {
  type OnlineDevice,
  type RowRepair,
  VIEW_KEYS_MAX,
  type ViewRepairs,
  type Views,
} from "./views.ts";
import type { ViewsReader } from "./views_reader.ts";

/** What both a Worker and its inside have; messages of others on it are left alone. */
export interface ViewsEndpoint {
  postMessage(message: unknown): void;
  addEventListener(type: "message", listener: (event: MessageEvent) => void): void;
  removeEventListener(type: "message", listener: (event: MessageEvent) => void): void;
}

interface ViewsCall {
  readonly type: "views_call";
  readonly id: number;
  readonly method:
    | "rows"
    | "presence"
    | "list"
    | "count"
    | "calls"
    | "reach"
    | "reindex"
    | "repair"
    | "keysAfter"
    | "onlineWithOtherIncarnation";
  readonly parameters: readonly unknown[];
}

type ViewsAnswer =
  | { readonly type: "views_answer"; readonly id: number; readonly value: unknown }
  | { readonly type: "views_answer"; readonly id: number; readonly fault: string };

/** Calls that wait for their answer; a caller beyond is refused. */
const CALLS_MAX = 1_000;

/** Lists of devices, and the index of last values that they use. */
export interface DeviceSearch extends DeviceFinder {
  /** Makes the index right again of all states, in the background. */
  reindex(): Promise<void>;
}

/** Views that know how far they have read the log. */
export type ReadViews = Views & ViewRepairs & DeviceSearch & Pick<ViewsReader, "reach">;

/** Answers calls with `views`, on the inside. Dispose: no call is answered any more. */
export function startViewsWorker(
  scope: ViewsEndpoint,
  views: Views & ViewRepairs,
  reader: Pick<ViewsReader, "reach">,
  search: DeviceSearch,
): Disposable {
  const listener = async ({ data }: MessageEvent) => {
    const call = data as ViewsCall | undefined;
    if (call?.type !== "views_call") return;
    const { id } = call;
    try {
      const value = await answer(views, reader, search, call);
      scope.postMessage({ type: "views_answer", id, value } satisfies ViewsAnswer);
    } catch (fault) {
      scope.postMessage(
        { type: "views_answer", id, fault: messageOf(fault) } satisfies ViewsAnswer,
      );
    }
  };
  scope.addEventListener("message", listener);
  return { [Symbol.dispose]: () => scope.removeEventListener("message", listener) };
}

function answer(
  views: Views & ViewRepairs,
  reader: Pick<ViewsReader, "reach">,
  search: DeviceSearch,
  { method, parameters }: ViewsCall,
): Promise<unknown> {
  const [first, second, third] = parameters;
  switch (method) {
    case "rows":
      return views.rows(first as string, second as string[]);
    case "presence":
      return views.presence(first as string[]);
    case "list":
      return search.list(first as FinderQuery);
    case "count":
      return search.count(first as DeviceFilter);
    case "calls":
      return views.calls(first as CallQuery);
    case "reach":
      return reader.reach(first as number);
    case "reindex":
      return search.reindex();
    case "repair":
      return views.repair(first as RowRepair[]);
    case "keysAfter":
      return views.keysAfter(first as string, second as string, third as number);
    case "onlineWithOtherIncarnation":
      return views.onlineWithOtherIncarnation(first as string, second as number, third as string);
  }
}

/**
 * Asks the views of a Worker, on the outside. Calls reject with `UnavailableError` when it fails or
 * was disposed, with `OverloadedError` if too many wait.
 */
export function createViewsClient(worker: ViewsEndpoint): ReadViews & Disposable {
  const waiting = new Map<number, { resolve(value: unknown): void; reject(fault: Error): void }>();
  let lastId = 0;
  let isOpen = true;
  const listener = ({ data }: MessageEvent) => {
    const reply = data as ViewsAnswer | undefined;
    if (reply?.type !== "views_answer") return;
    const call = waiting.get(reply.id);
    waiting.delete(reply.id);
    if ("fault" in reply) call?.reject(new UnavailableError("views", reply.fault));
    else call?.resolve(reply.value);
  };
  worker.addEventListener("message", listener);
  const ask = <Value>(method: ViewsCall["method"], ...parameters: unknown[]): Promise<Value> => {
    if (!isOpen) return Promise.reject(new UnavailableError("views", "The views are closed"));
    if (waiting.size >= CALLS_MAX) {
      return Promise.reject(new OverloadedError("Cannot ask the views: too many wait", 1_000));
    }
    const id = ++lastId;
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      worker.postMessage({ type: "views_call", id, method, parameters } satisfies ViewsCall);
    });
  };
  return {
    rows: async (view, keys) => await ask<ReadonlyMap<string, Json>>("rows", view, bounded(keys)),
    presence: async (keys) =>
      await ask<ReadonlyMap<string, PresenceRow>>("presence", bounded(keys)),
    list: (query) => ask("list", query),
    count: (filter) => ask("count", filter),
    calls: (query) => ask<readonly CallRow[]>("calls", query),
    reach: (tick) => ask<void>("reach", tick),
    reindex: () => ask("reindex"),
    repair: (rows) => ask("repair", rows),
    keysAfter: (view, after, limit) => ask<readonly string[]>("keysAfter", view, after, limit),
    onlineWithOtherIncarnation: (incarnation, limit, after) =>
      ask<readonly OnlineDevice[]>("onlineWithOtherIncarnation", incarnation, limit, after),
    [Symbol.dispose]() {
      isOpen = false;
      worker.removeEventListener("message", listener);
      for (const { reject } of waiting.values()) {
        reject(new UnavailableError("views", "The views are closed"));
      }
      waiting.clear();
    },
  };
}

function bounded(keys: readonly string[]): readonly string[] {
  if (keys.length <= VIEW_KEYS_MAX) return keys;
  throw new RangeError(`Cannot look up ${keys.length} keys: VIEW_KEYS_MAX is ${VIEW_KEYS_MAX}`);
}
