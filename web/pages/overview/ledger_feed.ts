/** The ledger, moving: read as a whole now and then, its sums told live in between. */
import { computed, type ComputedRef, onScopeDispose, shallowRef, watch } from "vue";
import { api } from "../../api/client.ts";
import { live, useLive } from "../../api/live.ts";
import { type Resource, useResource } from "../../api/resource.ts";
import type { Answer } from "../../api/types.ts";
import { everyMs, monotonicMs } from "../../clock.ts";

export type Ledger = Answer<"/api/v1/cluster/ledger", "get">;
export type Terms = Ledger["total"];

/** Messages a second. */
export interface Rates {
  readonly accepted: number;
  readonly processed: number;
}

export interface LedgerFeed {
  readonly resource: Resource<Ledger>;
  readonly total: ComputedRef<Terms | undefined>;
  readonly rates: ComputedRef<Rates | undefined>;
  readonly refusedTotal: ComputedRef<number>;
  /** Newest last; null where nothing was known. */
  readonly history: ComputedRef<readonly (Rates | null)[]>;
}

/** What the live feed tells of topic `ledger`. */
type Told = Terms & {
  readonly refusedTotal: number;
  readonly rates: {
    readonly acceptedPerSecond: number;
    readonly processedPerSecond: number;
  };
};

/** A minute and a half, one point a second. */
export const HISTORY_SLOTS = 90;
const POLL_MS = 1_000;
/** The feed tells of changes twice a second: where it is silent for so long, nothing moves. */
const SILENT_MS = 1_500;
const STILL: Rates = { accepted: 0, processed: 0 };
/** Partitions and reasons are not told live. */
const WHOLE_MS = 3_000;

export function useLedgerFeed(): LedgerFeed {
  const told = shallowRef<Told>();
  const history = shallowRef<readonly (Rates | null)[]>([]);
  const rates = shallowRef<Rates>();
  let last: { readonly terms: Terms; readonly atMs: number } | undefined;
  const pollMs = () => live.status === "live" ? WHOLE_MS : POLL_MS;
  const resource = useResource(
    (signal) => api.get("/api/v1/cluster/ledger", { signal }),
    {
      get pollMs() {
        return pollMs();
      },
      isAlwaysPolled: true,
    },
  );

  const note = (found: Rates) => {
    rates.value = found;
    history.value = [...history.value, found].slice(-HISTORY_SLOTS);
  };
  const take = (terms: Terms, known?: Rates) => {
    const atMs = monotonicMs();
    if (last !== undefined && atMs - last.atMs < POLL_MS * 0.8) return;
    const found = known ?? ratesBetween(last, terms, atMs);
    last = { terms, atMs };
    if (found === undefined) return;
    note(found);
  };
  watch(resource.value, (ledger) => {
    if (ledger !== undefined && live.status !== "live") take(ledger.total);
  });
  watch(resource.error, (error) => {
    if (error === undefined) return;
    last = undefined;
    history.value = [...history.value, null].slice(-HISTORY_SLOTS);
  });
  useLive(() => "ledger", {
    onChange: ({ value }) => {
      const { rates: per } = told.value = value as Told;
      take(told.value, {
        accepted: per.acceptedPerSecond,
        processed: per.processedPerSecond,
      });
    },
    onGap: () => void resource.reload(),
  });
  onScopeDispose(everyMs(POLL_MS, () => {
    if (live.status !== "live" || resource.value.value === undefined) return;
    if (last !== undefined && monotonicMs() - last.atMs < SILENT_MS) return;
    note(STILL);
  }));
  watch(() => live.status, (status) => {
    if (status !== "live") told.value = undefined;
  });
  const refusedOf = (ledger: Ledger | undefined) =>
    Object.values(ledger?.refused ?? {}).reduce((sum, count) => sum + count, 0);
  return {
    resource,
    total: computed(() => told.value ?? resource.value.value?.total),
    rates: computed(() => rates.value),
    refusedTotal: computed(() => told.value?.refusedTotal ?? refusedOf(resource.value.value)),
    history: computed(() => history.value),
  };
}

function ratesBetween(
  before: { readonly terms: Terms; readonly atMs: number } | undefined,
  terms: Terms,
  atMs: number,
): Rates | undefined {
  if (before === undefined) return undefined;
  const seconds = (atMs - before.atMs) / 1_000;
  const per = (term: keyof Terms) => Math.max(0, (terms[term] - before.terms[term]) / seconds);
  return { accepted: per("accepted"), processed: per("processed") };
}
