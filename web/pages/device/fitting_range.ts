/** The range that a device's data fill, where a person has chosen none: chosen once, and kept. */
import { onScopeDispose, type Ref, shallowRef, watch } from "vue";
import { api } from "../../api/client.ts";
import type { DeviceName } from "../../api/devices.ts";
import { ApiError } from "../../api/problem.ts";
import { nowMs } from "../../clock.ts";
import { type RangeId, rangeOfAge, RANGES } from "./ranges.ts";

export interface Newest {
  readonly keys: readonly string[];
  /** Of the newest value; epoch milliseconds. */
  readonly at: number;
}

const HOUR_MS = RANGES["1h"];
/** What is older than this share of an hour does not make the range longer than one. */
const HOUR_SHARE = 0.8;
const STEP_MS = 60_000;

/**
 * A device that sends now is shown since its first value of the last hour, one that is silent back to
 * its last value. Undefined until that is known.
 * @param newest Undefined: there is nothing to draw yet.
 */
export function useFittingRange(
  { product, device }: DeviceName,
  newest: () => Newest | undefined,
): Ref<RangeId | undefined> {
  const found = shallowRef<RangeId>();
  const own = new AbortController();
  const choose = async ({ keys, at }: Newest) => {
    const toMs = nowMs();
    if (toMs - at >= HOUR_MS) return rangeOfAge(toMs - at);
    const { series } = await api.get("/api/v1/devices/{product}/{device}/telemetry", {
      params: { product, device },
      query: {
        keys: keys.join(","),
        from: toMs - HOUR_MS,
        to: toMs,
        bucketMs: STEP_MS,
        agg: "count",
      },
      signal: own.signal,
    });
    const buckets = Object.values(series).flat() as unknown as readonly { readonly at: number }[];
    const firstMs = Math.min(at, ...buckets.map((bucket) => bucket.at));
    return rangeOfAge(Math.min(toMs - firstMs, HOUR_MS * HOUR_SHARE));
  };
  const stop = watch(newest, async (given) => {
    if (given === undefined || found.value !== undefined) return;
    try {
      found.value = await choose(given);
      stop();
    } catch (fault) {
      if (own.signal.aborted) return;
      if (!(fault instanceof ApiError)) throw fault;
      found.value = "1h"; // The chart says by itself what is wrong.
    }
  }, { immediate: true });
  onScopeDispose(() => own.abort());
  return found;
}
