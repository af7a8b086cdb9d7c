/** Last messages of a device, and how far each has come. */
import {
  CircleCheck,
  CircleDot,
  CircleX,
  Clock,
  type LucideIcon,
  MailX,
  TriangleAlert,
} from "@lucide/vue";
import type { Answer } from "../../../api/types.ts";
import type { Tone } from "../../../parts/status_tag.vue";
import { clockTime, duration, shortDay } from "../../../text/format.ts";
import { nowMs } from "../../../clock.ts";
import { t } from "./text.ts";

export type Message = Answer<
  "/api/v1/devices/{product}/{device}/messages",
  "get"
>["items"][number];

interface Look {
  readonly tone: Tone;
  readonly icon: LucideIcon;
}

const LOOKS: Readonly<Record<Message["status"], Look>> = {
  accepted: { tone: "calm", icon: Clock },
  handled: { tone: "info", icon: CircleDot },
  stored: { tone: "ok", icon: CircleCheck },
  deadLettered: { tone: "critical", icon: MailX },
  refused: { tone: "critical", icon: CircleX },
};

const DAY_MS = 86_400_000;

/** Numbers begin anew with each start of the node. */
export function idOf({ id, acceptedAt }: Message): string {
  return `${acceptedAt}/${id}`;
}

export function lookOf(message: Message): Look & { readonly text: string } {
  const { status } = message;
  if (!isPartly(message)) return { ...LOOKS[status], text: t(`status_${status}`) };
  return { tone: "warning", icon: TriangleAlert, text: t("partly") };
}

/** Some of its values were taken, others were not. */
function isPartly({ status, reason }: Message): boolean {
  return reason !== undefined && status !== "refused" && status !== "deadLettered";
}

/** Of the last day the time, of older ones the day. */
export function timeText({ acceptedAt }: Message): string {
  return nowMs() - acceptedAt < DAY_MS ? clockTime(acceptedAt) : shortDay(acceptedAt);
}

/** From its acceptance to its handling, at most. */
export function handledText(message: Message): string {
  return afterText(message, message.handledAt);
}

/** From its acceptance to the history, at most. */
export function storedText(message: Message): string {
  return afterText(message, message.storedAt);
}

function afterText({ acceptedAt, status }: Message, at: number | null): string {
  if (at !== null) return lengthText(at - acceptedAt);
  return status === "refused" ? t("never") : "";
}

/** Rounded up: it is a bound. */
export function lengthText(ms: number): string {
  return duration(ms < 1_000 ? Math.max(0, ms) : Math.ceil(ms / 1_000) * 1_000);
}

export function reasonText({ reason, detail }: Message): string {
  return [reason, detail].filter((each) => each !== undefined).join(": ");
}

/**
 * Cuts a list, newest first, into what is shown and what waits: a list does not jump while one reads.
 * @param newest Id of the first message shown; if that is not there any more, all is shown.
 */
export function waitingOf(all: readonly Message[], newest: string | undefined): number {
  return Math.max(0, all.findIndex((each) => idOf(each) === newest));
}
