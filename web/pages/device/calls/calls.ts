/** Service calls as the API and the live feed tell of them. */
import { Ban, CircleCheck, CircleX, Clock, type LucideIcon, Send, TimerOff } from "@lucide/vue";
import type { Answer } from "../../../api/types.ts";
import type { Tone } from "../../../parts/status_tag.vue";

export type Call = Answer<
  "/api/v1/devices/{product}/{device}/calls",
  "get"
>["items"][number];
export type CallStatus = Call["status"];

export const CALL_LOOKS: Readonly<
  Record<CallStatus, { readonly tone: Tone; readonly icon: LucideIcon }>
> = {
  queued: { tone: "calm", icon: Clock },
  sent: { tone: "info", icon: Send },
  answered: { tone: "ok", icon: CircleCheck },
  failed: { tone: "critical", icon: CircleX },
  expired: { tone: "warning", icon: TimerOff },
  cancelled: { tone: "calm", icon: Ban },
};

export const CALL_STATUSES = Object.keys(CALL_LOOKS) as readonly CallStatus[];

export function isOpen({ status }: Call): boolean {
  return status === "queued" || status === "sent";
}
