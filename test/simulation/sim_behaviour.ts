/** The actor of the simulations: it writes down all that happens to it, so that it can be checked. */
import type { Behaviour } from "../../runtime/actor/behaviour.ts";

export type SimMessage =
  /** `seq` rises per client and actor. What it asks for is in its flags. */
  | {
    type: "properties";
    /** What the reader "telemetry" takes. */
    samples: readonly { readonly values: Readonly<Record<string, number>> }[];
    seq: number;
    forwardTo?: string;
    remindInMs?: number;
    /** The reminder kills the engine. */
    remindKills?: boolean;
    cancels?: boolean;
    throws?: boolean;
    kills?: boolean;
    notes?: boolean;
    tells?: boolean;
    projects?: boolean;
  }
  | { type: "forwarded"; from: string; seq: number }
  | { type: "rang"; seq: number; dueAtMs: number; kills?: boolean };

export interface SimState {
  /** Sequence numbers handled, in order. */
  readonly seen: readonly number[];
  /** `{from}#{seq}` of forwarded messages, in order. */
  readonly forwarded: readonly string[];
  /** Reminders set, cancelled and fired: `[seq, dueAtMs, firedAtMs]`. */
  readonly set: readonly number[];
  readonly cancelled: readonly number[];
  readonly rang: readonly (readonly [seq: number, dueAtMs: number, firedAtMs: number])[];
  /** Rows that it projected; the last one says how many. */
  readonly projected: number;
  /** Time of the record handled last: never falls. */
  readonly lastMs: number;
  readonly fellBack: boolean;
}

export const SIM_VIEW = "sim";
export const SIM_KIND = "device";

const EMPTY: SimState = {
  seen: [],
  forwarded: [],
  set: [],
  cancelled: [],
  rang: [],
  projected: 0,
  lastMs: 0,
  fellBack: false,
};

/** @param kill Ends the engine that calls it, as an endless loop or a crash would. */
export function createSimBehaviour(kill: () => void): Behaviour<SimState, SimMessage> {
  return {
    kind: SIM_KIND,
    // The key is the part before the dot: actors of one key share a partition.
    placement: { group: "things", keyOf: (id) => id.split(".")[0]! },
    stateVersion: 1,
    initial: () => EMPTY,
    receive(state, message, context) {
      if (message.type !== "forwarded" && message.kills) {
        kill();
        throw new Error("killed");
      }
      const isProjecting = message.type !== "properties" || message.projects === true;
      const next = {
        ...state,
        lastMs: context.nowMs,
        fellBack: state.fellBack || context.nowMs < state.lastMs,
        projected: state.projected + (isProjecting ? 1 : 0),
      };
      if (isProjecting) context.project(SIM_VIEW, context.address, { count: next.projected });
      if (message.type === "forwarded") {
        return { ...next, forwarded: [...state.forwarded, `${message.from}#${message.seq}`] };
      }
      if (message.type === "rang") {
        const rang = [message.seq, message.dueAtMs, context.nowMs] as const;
        return { ...next, rang: [...state.rang, rang] };
      }
      if (message.throws) {
        context.downlink({ type: "never" });
        throw new Error("planted");
      }
      return work(state, next, message, context);
    },
  };
}

function work(
  state: SimState,
  next: SimState,
  message: Extract<SimMessage, { type: "properties" }>,
  context: Parameters<Behaviour<SimState, SimMessage>["receive"]>[2],
): SimState {
  const { seq, forwardTo, remindInMs, remindKills } = message;
  const from = context.address;
  if (forwardTo !== undefined) {
    context.send(forwardTo, { type: "forwarded", from, seq } as SimMessage);
  }
  const dueAtMs = context.nowMs + (remindInMs ?? 0);
  if (remindInMs !== undefined) {
    const rang = { type: "rang", seq, dueAtMs, ...(remindKills ? { kills: true } : undefined) };
    context.remind(`r${seq}`, dueAtMs, rang as SimMessage);
  }
  const open = state.set.filter((id) =>
    !state.cancelled.includes(id) && !state.rang.some(([rang]) => rang === id)
  );
  const cancelled = message.cancels ? open.slice(0, 1) : [];
  for (const id of cancelled) context.cancelReminder(`r${id}`);
  if (message.notes) context.record("note", { from, seq });
  if (message.tells) context.downlink({ type: "told", seq } as { type: string });
  return {
    ...next,
    seen: [...state.seen, seq],
    set: remindInMs === undefined ? state.set : [...state.set, seq],
    cancelled: [...state.cancelled, ...cancelled],
  };
}
