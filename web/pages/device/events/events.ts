/** Events of a device as the API and the live feed tell of them. */
import { BellRing, Info, type LucideIcon, OctagonAlert } from "@lucide/vue";
import type { Answer } from "../../../api/types.ts";
import type { ModelEvent } from "../../../model/thing_model.ts";
import type { Tone } from "../../../parts/status_tag.vue";

type Told = Answer<
  "/api/v1/devices/{product}/{device}/events",
  "get"
>["items"][number];

export interface EventRow extends Told {
  readonly id: string;
}

export type Weight = NonNullable<ModelEvent["type"]>;

export const WEIGHTS: Readonly<
  Record<Weight, { readonly tone: Tone; readonly icon: LucideIcon }>
> = {
  info: { tone: "info", icon: Info },
  alert: { tone: "warning", icon: BellRing },
  error: { tone: "critical", icon: OctagonAlert },
};

/** The API gives events no id: what is told twice is the same, what stands twice on a page is two. */
export function eventRows(told: readonly Told[]): EventRow[] {
  const seen = new Map<string, number>();
  return told.map((each) => {
    const own = `${each.at}/${each.event}/${JSON.stringify(each.data)}`;
    const times = seen.get(own) ?? 0;
    seen.set(own, times + 1);
    return { ...each, id: times === 0 ? own : `${own}#${times}` };
  });
}
