/** The time now, as components show it. */
import { type Ref, ref } from "vue";
import { everyMs, nowMs } from "./clock.ts";

const SECOND_MS = 1_000;

const now = ref(nowMs());
everyMs(SECOND_MS, () => now.value = nowMs());

/** A second at a time; one timer for all. */
export function useNow(): Readonly<Ref<number>> {
  return now;
}
