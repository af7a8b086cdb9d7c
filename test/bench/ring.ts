/**
 * Actors that pass a message around inside their partition, and the batches that set them off: what
 * the engine does per message without log, JSON of devices or stores.
 */
import type { PartitionBatch } from "../../runtime/actor/batch.ts";
import { type Behaviours, createBehaviours, type Message } from "../../runtime/actor/behaviour.ts";
import { type Address, createAddress, type Partition } from "../../runtime/actor/address.ts";
import { partitionOf, type Placement } from "../../runtime/actor/address.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { packRecord } from "../../runtime/log/record.ts";
import { concatBytes } from "./load/wire.ts";

const PLACEMENT: Placement = { group: "things" };
const START_MS = 1_700_000_000_000;
const ENCODER = new TextEncoder();

interface Pass extends Message {
  readonly type: "pass";
  /** Hops still to make. */
  readonly left: number;
}

interface Touch extends Message {
  readonly type: "touch";
}

interface Member {
  readonly touched: number;
}

export interface Ring {
  readonly behaviours: Behaviours;
  /** Actors of each partition that has any. */
  readonly members: ReadonlyMap<Partition, readonly Address[]>;
}

/** `count` actors; each passes a message to the next one of its partition. */
export function createRing(count: number): Ring {
  const members = new Map<Partition, Address[]>();
  const nextOf = new Map<Address, Address>();
  for (let i = 0; i < count; i++) {
    const partition = partitionOf(PLACEMENT, `member-${i}`);
    const list = members.get(partition) ?? [];
    list.push(createAddress("ring", `member-${i}`));
    members.set(partition, list);
  }
  for (const list of members.values()) {
    list.forEach((address, i) => nextOf.set(address, list[(i + 1) % list.length]!));
  }
  const behaviours = createBehaviours([{
    kind: "ring",
    placement: PLACEMENT,
    stateVersion: 1,
    initial: (): Member => ({ touched: 0 }),
    receive(state: Member, message: Pass | Touch, context) {
      if (message.type === "touch") return { touched: state.touched + 1 };
      if (message.left > 0) {
        context.send(
          nextOf.get(context.address)!,
          { type: "pass", left: message.left - 1 } as Pass,
        );
      } else context.record("arrived", null);
      return state;
    },
  }]);
  return { behaviours, members };
}

/** One batch of a partition: these messages, one to each of these actors, from offset `cursor`. */
export function batchOf(
  partition: Partition,
  cursor: number,
  to: readonly Address[],
  message: Pass | Touch,
): PartitionBatch {
  const body = ENCODER.encode(JSON.stringify(message));
  const budget = LIMITS.budgetPerRootRecord;
  return {
    partition,
    cursor,
    segments: [{
      partition,
      class: "ingress",
      epoch: 1,
      firstOffset: cursor,
      count: to.length,
      acceptedAtMs: START_MS,
      bytes: concatBytes(to.map((address) => packRecord({ to: address, budget }, body))),
    }],
    nextCursor: cursor + to.length,
    reminders: [],
  };
}
