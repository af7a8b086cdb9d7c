/** Something read from the API and kept fresh: what a view needs to show every state of it. */
import { computed, onScopeDispose, type Ref, shallowRef, watch, type WatchSource } from "vue";
import { after, nowMs } from "../clock.ts";
import { live } from "./live.ts";
import { ApiError } from "./problem.ts";

export interface Resource<T> {
  readonly value: Ref<T | undefined>;
  /** Of the last read. */
  readonly error: Ref<ApiError | undefined>;
  /** The first read is under way. */
  readonly isFirst: Ref<boolean>;
  readonly isReading: Ref<boolean>;
  /** When `value` was true for the last time; epoch milliseconds. */
  readonly readAt: Ref<number>;
  /** What is shown may be old: the last read failed, or the live feed is lost. */
  readonly isStale: Ref<boolean>;
  reload(): Promise<void>;
}

export interface ResourceOptions {
  /** Read again when it changes; the value is dropped first. */
  readonly on?: WatchSource<unknown>;
  /** Read again and again, where no live feed tells of changes. */
  readonly pollMs?: number;
  /** Also while the live feed works. */
  readonly isAlwaysPolled?: boolean;
}

export function useResource<T>(
  read: (signal: AbortSignal) => Promise<T>,
  options: ResourceOptions = {},
): Resource<T> {
  const value = shallowRef<T>();
  const error = shallowRef<ApiError>();
  const isReading = shallowRef(false);
  const readAt = shallowRef(0);
  let own = new AbortController();
  let cancelPoll = () => {};

  const reload = async () => {
    own.abort();
    const mine = own = new AbortController();
    cancelPoll();
    isReading.value = true;
    try {
      const found = await read(mine.signal);
      if (mine.signal.aborted) return;
      value.value = found;
      error.value = undefined;
      readAt.value = nowMs();
    } catch (fault) {
      if (mine.signal.aborted) return;
      if (!(fault instanceof ApiError)) throw fault;
      error.value = fault;
    } finally {
      if (!mine.signal.aborted) isReading.value = false;
    }
    pollLater();
  };
  const pollLater = () => {
    const { pollMs, isAlwaysPolled } = options;
    if (pollMs === undefined || own.signal.aborted) return;
    cancelPoll = after(pollMs, () => {
      const isTold = live.status === "live" && !isAlwaysPolled &&
        error.value === undefined;
      if (document.hidden || isTold) pollLater();
      else void reload();
    });
  };
  if (options.on !== undefined) {
    watch(options.on, () => {
      value.value = undefined;
      error.value = undefined;
      void reload();
    });
  }
  onScopeDispose(() => {
    own.abort();
    cancelPoll();
  });
  void reload();
  return {
    value,
    error,
    isReading,
    readAt,
    isFirst: computed(() => value.value === undefined && error.value === undefined),
    isStale: computed(() =>
      value.value !== undefined &&
      (error.value !== undefined || live.status === "lost")
    ),
    reload,
  };
}
