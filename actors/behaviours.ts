/** The kinds of actors that a node knows. Every composition root takes them from here. */
import {
  type Address,
  idOf,
  kindOf,
  type Partition,
  partitionOf,
} from "../runtime/actor/address.ts";
import { type Behaviours, createBehaviours } from "../runtime/actor/behaviour.ts";
import { NotFoundError } from "../runtime/errors.ts";
import { commandBehaviour } from "./command/command_behaviour.ts";
import { deviceBehaviour } from "./device/device_behaviour.ts";

export const BEHAVIOURS: Behaviours = createBehaviours([deviceBehaviour, commandBehaviour]);

/**
 * Where an actor lives.
 * @throws {NotFoundError} No behaviour has its kind.
 */
export function partitionOfActor(address: Address, behaviours = BEHAVIOURS): Partition {
  const behaviour = behaviours.get(kindOf(address));
  if (behaviour === undefined) throw new NotFoundError(`Cannot place ${address}: unknown kind`);
  return partitionOf(behaviour.placement, idOf(address));
}
