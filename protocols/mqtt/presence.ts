/**
 * What the actor of a device is told of its connection, and told again where it may have missed it.
 * A repeat changes nothing: actors know a session by its id and its epoch.
 */
import { LIMITS } from "../../runtime/limits.ts";
import type { Connection } from "./connection.ts";
import { encodeMessage, type GatewayState } from "./gateway_state.ts";

const STEP_MS = 100;
const PER_STEP = LIMITS.mqttRetellsPerSecondMax * STEP_MS / 1_000;

export function tellConnected(state: GatewayState, connection: Connection): void {
  const { epoch, remote } = connection;
  const { id } = connection.identity!;
  state.owed.message(
    connection.identity!,
    encodeMessage({ type: "connected", session: id, epoch, wire: "mqtt", remote }),
  );
}

/** Has the actor send the desired properties that differ, if the device subscribed to them. */
export function askDelta(state: GatewayState, connection: Connection): void {
  const { id, prefix } = connection.identity!;
  if (connection.session!.qosOf(prefix, "properties/set") === undefined) return;
  state.owed.message(connection.identity!, encodeMessage({ type: "deliver", session: id }));
}

/** Devices whose actors are to be told again, at a bounded rate. */
export class Retelling implements Disposable {
  readonly #state: GatewayState;
  /** `{product}/{device}`, longest waiting first. */
  readonly #keys = new Set<string>();
  #cancel: (() => void) | undefined;

  constructor(state: GatewayState) {
    this.#state = state;
  }

  add(keys: Iterable<string>): void {
    for (const key of keys) this.#keys.add(key);
    if (this.#keys.size > 0) this.#cancel ??= this.#state.clock.after(STEP_MS, () => this.#step());
  }

  [Symbol.dispose](): void {
    this.#keys.clear();
    this.#cancel?.();
  }

  #step(): void {
    this.#cancel = undefined;
    const { owed, byDevice } = this.#state;
    // Without room it waits here: nothing more is owed on its account.
    let left = owed.flush() ? PER_STEP : 0;
    for (const key of this.#keys) {
      if (left-- <= 0) break;
      this.#keys.delete(key);
      const connection = byDevice.get(key);
      if (connection?.isOpen !== true) continue; // Its end was told, as its return will be.
      tellConnected(this.#state, connection);
      askDelta(this.#state, connection);
    }
    this.add([]);
  }
}
