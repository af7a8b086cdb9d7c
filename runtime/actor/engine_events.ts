/** What engines tell of actors, for log, metrics and the refusal of ingress. */
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
      emit({ type: "suspended", partition, address, deadLetters, isFull });
    } else if (activation.isAnnounced) emit({ type: "resumed", partition, address });
    activation.isAnnounced = traits.isSuspended;
  }
}
