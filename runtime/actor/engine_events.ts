/** What engines tell of actors, for log, metrics and the refusal of ingress. */
import type { Logger } from "../logger.ts";
import type { Activation } from "./activation.ts";
import type { Address, Partition } from "./address.ts";
import type { DeadLetter } from "./batch.ts";

/** Said when a batch is handled: whoever shows it waits until its commit is durable. */
export type EngineEvent =
  /** A dead letter of any reason but `suspended`. */
  | {
    readonly type: "parked";
    readonly partition: Partition;
    readonly address: Address;
    readonly recordId: string;
    readonly reason: string;
    readonly detail: string;
  }
  /** Said again with each commit that adds to its dead letters, so also after a restart. */
  | {
    readonly type: "suspended";
    readonly partition: Partition;
    readonly address: Address;
    readonly deadLetters: number;
    /** `deadLettersPerActorMax` is reached: its ingress is to be refused. */
    readonly isFull: boolean;
    /** False: it was suspended before. */
    readonly isNew: boolean;
  }
  | { readonly type: "resumed"; readonly partition: Partition; readonly address: Address };

export function emitEvents(
  emit: (event: EngineEvent) => void,
  partition: Partition,
  letters: readonly DeadLetter[],
  changed: readonly Activation[],
  deadLettersPerActorMax: number,
): void {
  for (const { to, recordId, reason, detail } of letters) {
    if (reason === "suspended") continue;
    emit({ type: "parked", partition, address: to, recordId, reason, detail });
  }
  for (const activation of changed) {
    const { address, traits } = activation;
    if (traits.isSuspended) {
      const deadLetters = traits.suspendedLetters;
      const isFull = deadLetters >= deadLettersPerActorMax;
      const isNew = !activation.isAnnounced;
      emit({ type: "suspended", partition, address, deadLetters, isFull, isNew });
    } else if (activation.isAnnounced) emit({ type: "resumed", partition, address });
    activation.isAnnounced = traits.isSuspended;
  }
}

/** What an operator may have to act on. `hasChanged`: its messages are refused from now. */
export function logEngineEvent(event: EngineEvent, hasChanged: boolean, logger: Logger): void {
  const { type, address } = event;
  if (type === "parked") {
    const { reason, recordId } = event;
    logger.warn("record parked", { address, reason, recordId });
  } else if (type === "resumed") logger.info("actor resumed", { address });
  else if (hasChanged || event.isNew) {
    const { deadLetters, isFull } = event;
    logger.warn("actor suspended", { address, deadLetters, isFull });
  }
}
