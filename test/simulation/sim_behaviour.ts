/** The actor of the simulations: it writes down all that happens to it, so that it can be checked. */
import type { Behaviour } from "../../runtime/actor/behaviour.ts";

export type SimMessage =
  /** `seq` rises per client and actor. What it asks for is in its flags. */
  | {
    type: "work";
    seq: number;
    forwardTo?: string;
    remindInMs?: number;
    cancels?: boolean;
    throws?: boolean;
    notes?: boolean;
    tells?: boolean;
  }
  | { type: "forwarded"; from: string; seq: number }
  | { type: "rang"; seq: number; dueAtMs: number };

export interface SimState {
  /** Sequence numbers handled, in order. */
  readonly seen: readonly number[];
  /** `{from}#{seq}` of forwarded messages, in order. */
  readonly forwarded: readonly string[];
  /** Reminders set, cancelled and fired: `[seq, dueAtMs, firedAtMs]`. */
  readonly set: readonly number[];
  readonly cancelled: readonly number[];
  readonly rang: readonly (readonly [seq: number, dueAtMs: number, firedAtMs: number])[];
  /** Time of the record handled last: never falls. */
  readonly lastMs: number;
  readonly fellBack: boolean;
}

const EMPTY: SimState = {
  seen: [],
  forwarded: [],
  set: [],
  cancelled: [],
  rang: [],
  lastMs: 0,
  fellBack: false,
};

export const simBehaviour: Behaviour<SimState, SimMessage> = {
  kind: "sim",
  // The key is the part before the dot: actors of one key share a partition.
  placement: { group: "things", keyOf: (id) => id.split(".")[0]! },
  stateVersion: 1,
  initial: () => EMPTY,
  receive(state, message, context) {
    const next = {
      ...state,
      lastMs: context.nowMs,
      fellBack: state.fellBack || context.nowMs < state.lastMs,
    };
    switch (message.type) {
      case "work": {
        if (message.throws) {
          context.downlink({ type: "never" });
          throw new Error("planted");
        }
        const seq = message.seq;
        if (message.forwardTo !== undefined) {
          context.send(message.forwardTo, {
            type: "forwarded",
            from: context.address,
            seq,
          } as SimMessage);
        }
        const dueAtMs = context.nowMs + (message.remindInMs ?? 0);
        if (message.remindInMs !== undefined) {
          context.remind(`r${seq}`, dueAtMs, { type: "rang", seq, dueAtMs } as SimMessage);
        }
        const open = state.set.filter((id) =>
          !state.cancelled.includes(id) && !state.rang.some(([rang]) => rang === id)
        );
        const cancelled = message.cancels ? open.slice(0, 1) : [];
        for (const id of cancelled) context.cancelReminder(`r${id}`);
        if (message.notes) context.record("note", { from: context.address, seq });
        if (message.tells) context.downlink({ type: "told", seq } as { type: string });
        return {
          ...next,
          seen: [...state.seen, seq],
          set: message.remindInMs === undefined ? state.set : [...state.set, seq],
          cancelled: [...state.cancelled, ...cancelled],
        };
      }
      case "forwarded":
        return { ...next, forwarded: [...state.forwarded, `${message.from}#${message.seq}`] };
      case "rang":
        return {
          ...next,
          rang: [...state.rang, [message.seq, message.dueAtMs, context.nowMs] as const],
        };
    }
  },
};
