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
import { duration } from "../../../text/format.ts";
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

/** Numbers begin anew with each start of the node. */
export function idOf({ id, acceptedAt }: Message): string {
  return `${acceptedAt}/${id}`;
}

export function lookOf(message: Message): Look & { readonly text: string } {
  const { status } = message;
  const text = t(`status_${status}`);
  if (!isPartly(message)) return { ...LOOKS[status], text };
  return { tone: "warning", icon: TriangleAlert, text: t("partly", { status: text }) };
}

/** Some of its values were taken, others were not. */
function isPartly({ status, reason }: Message): boolean {
  return reason !== undefined && status !== "refused" && status !== "deadLettered";
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
  if (at !== null) return duration(Math.max(0, at - acceptedAt));
  return status === "refused" ? t("never") : "";
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
