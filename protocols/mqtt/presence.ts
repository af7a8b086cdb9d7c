/**
 * What the actor of a device is told of its connection, and told again where it may have missed it:
 * by a restart of the log, or since it was suspended and at the bound of its dead letters, when it is
 * told nothing. A repeat changes nothing: actors know a session by its id and its epoch.
 */
import { LIMITS } from "../../runtime/limits.ts";
import type { DeviceMessage } from "../../actors/device/messages.ts";
import type { Connection } from "./connection.ts";
import { encodeMessage, type GatewayState, isSuspended, targetOf } from "./gateway_state.ts";
import { matchesCalls } from "./topic.ts";

const STEP_MS = 100;
const PER_STEP = LIMITS.mqttRetellsPerSecondMax * STEP_MS / 1_000;

export function tellConnected(state: GatewayState, connection: Connection): void {
  const { identity, epoch, remote } = connection;
  tell(state, connection, {
    type: "connected",
    session: identity!.id,
    epoch,
    wire: "mqtt",
    remote,
  });
}

export function tellDisconnected(
  state: GatewayState,
  connection: Connection,
  reason: string,
): void {
  tell(state, connection, { type: "disconnected", session: connection.identity!.id, reason });
}

/** Has the actors send desired properties that differ and open calls, if the device subscribed. */
export function askDelivery(state: GatewayState, connection: Connection): void {
  const { id, prefix } = connection.identity!;
  const session = connection.session!;
  const hasValues = session.qosOf(prefix, "properties/set") !== undefined;
  const hasCalls = session.subscriptions.some(({ filter }) => matchesCalls(filter, prefix));
  if (!hasValues && !hasCalls) return;
  tell(state, connection, {
    type: "deliver",
    session: id,
    ...(hasValues ? undefined : { values: false }),
    ...(hasCalls ? { calls: true } : undefined),
  });
}

function tell(state: GatewayState, { identity }: Connection, message: DeviceMessage): void {
  if (isSuspended(state, identity!.key)) return;
  state.owed.message(identity!, [encodeMessage(message)]);
}

/** Tells the actors of the devices in `untold` how they are, at a bounded rate. */
export class Retelling implements Disposable {
  readonly #state: GatewayState;
  #cancel: (() => void) | undefined;
  #isStopped = false;

  constructor(state: GatewayState) {
    this.#state = state;
    this.plan();
  }

  /** To be called when something was added. */
  plan(): void {
    if (this.#isStopped || this.#state.untold.size === 0) return;
    this.#cancel ??= this.#state.clock.after(STEP_MS, () => this.#step());
  }

  [Symbol.dispose](): void {
    this.#isStopped = true;
    this.#cancel?.();
  }

  #step(): void {
    this.#cancel = undefined;
    const { owed, untold } = this.#state;
    // Without room it waits here: nothing more is owed on its account.
    let left = owed.flush() ? PER_STEP : 0;
    for (const key of untold) {
      if (left-- <= 0) break;
      untold.delete(key);
      this.#tellOne(key);
    }
    this.plan();
  }

  #tellOne(key: string): void {
    const state = this.#state;
    const connection = state.byDevice.get(key);
    if (connection?.isOpen === true) {
      tellConnected(state, connection);
      askDelivery(state, connection);
    } else if (!isSuspended(state, key)) {
      const [product, device] = key.split("/") as [string, string];
      const message = encodeMessage({ type: "absent", epoch: state.nextEpoch() });
      state.owed.message({ key, target: targetOf(product, device) }, [message]);
    }
  }
}
