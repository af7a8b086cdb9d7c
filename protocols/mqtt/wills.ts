/**
 * Wills: what a device asks to be published for it if its connection ends without a DISCONNECT. Each
 * is a gateway row from before its CONNACK until it is published or dropped, so that it outlives its
 * node, and is published in one append with the removal of its row: once. It is handled as a message of
 * the device, but says nothing of when the device was heard of.
 *
 * The caller's duties, in order:
 * 1. `load` at the start; no session is opened before `isLoaded`.
 * 2. `settle` for each connection that opens, before anything else is told of it.
 * 3. `lost` or `drop` for each connection that had a will and ends.
 */
import { LIMITS } from "../../runtime/limits.ts";
import { untilDurable } from "../../runtime/log/ingress.ts";
import type { GatewayRow } from "../../runtime/log/partition_log.ts";
import { type Carried, withCarried } from "../../actors/device/carried.ts";
import { factsOf } from "../../actors/device/message_traces.ts";
import { type DecodedUplink, detailOf } from "../../actors/device/uplink.ts";
import { countRefusal, type GatewayState, isSuspended, targetOf } from "./gateway_state.ts";
import { carriedOf, NO_PROPERTIES } from "./publish_properties.ts";
import { decodeTopic, isOwnTopic } from "./routing.ts";
import { RowLoading } from "./row_loading.ts";
import { decodeWill, encodeWill, type Will, WILL_PREFIX, willKey } from "./will_row.ts";

const SUSPENDED = {
  reason: "suspended",
  detail: "Cannot accept messages: the device has too many dead letters",
};

interface PendingWill {
  readonly will: Will;
  /** Epoch milliseconds. */
  readonly dueAtMs: number;
}

export class Wills implements Disposable {
  readonly #state: GatewayState;
  readonly #loading: RowLoading;
  /** Of devices whose connection is gone, by `{product}/{device}`. */
  readonly #pending = new Map<string, PendingWill>();
  /** Whose row it is, if one is written or on its way: a connection may end behind its successor. */
  readonly #owners = new Map<string, Will>();
  /** Of all in `#owners`. */
  #bytes = 0;

  constructor(state: GatewayState) {
    this.#state = state;
    this.#loading = new RowLoading(state, "wills");
  }

  get isLoaded(): boolean {
    return this.#loading.isLoaded;
  }

  /** Resolves when all rows of gateways before this one are known. */
  get loaded(): Promise<void> {
    return this.#loading.loaded;
  }

  /** Wills of absent devices that wait for their time. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Of one more: whether it would pass the bound of all wills in memory. */
  isFull(will: Will): boolean {
    return this.#bytes + sizeOf(will) > LIMITS.mqttWillBytesMax;
  }

  [Symbol.dispose](): void {
    this.#loading[Symbol.dispose]();
  }

  /** Reads what gateways before this one left: the connections of all of it are gone. */
  async load(): Promise<void> {
    await this.#loading.run((after) => this.#loadPage(after));
  }

  /**
   * Makes a will durable, of a connection that is not told yet that it is accepted.
   * @param expirySeconds Of its session: if its node dies, nobody else knows it.
   */
  store(key: string, will: Will, expirySeconds: number): Promise<void> {
    const { owed, ingress } = this.#state;
    const delaySeconds = Math.min(will.delaySeconds, expirySeconds);
    this.#own(key, will);
    return new Promise((resolve) =>
      owed.put(
        key,
        willKey(key),
        encodeWill({ ...will, delaySeconds }),
        (append) => resolve(untilDurable(ingress, append)),
      )
    );
  }

  /** The device said goodbye, or was never told that it is connected. */
  drop(key: string, will: Will): void {
    if (this.#release(key, will)) this.#state.owed.put(key, willKey(key), undefined);
  }

  /** The connection ended in any other way. @param expirySeconds Of its session. */
  lost(key: string, will: Will, expirySeconds: number): void {
    const { clock, isDraining, owed } = this.#state;
    // A session that ends publishes its will, whatever delay it has (5: 3.1.3.2.2).
    const delaySeconds = Math.min(will.delaySeconds, expirySeconds);
    const dueAtMs = clock.nowMs() + delaySeconds * 1_000;
    if (delaySeconds === 0 && !isDraining) return this.#publish(key, will);
    // A gateway that ends leaves it to the next one, as 3.1.2.5 allows.
    this.#pending.set(key, { will, dueAtMs });
    owed.put(key, willKey(key), encodeWill(will, dueAtMs));
  }

  /** A connection opens: the will of the one before is due, or over (5: 3.1.3-9). */
  settle(key: string, isResumed: boolean): void {
    const pending = this.#pending.get(key);
    if (pending === undefined) return;
    this.#pending.delete(key);
    const isOver = isResumed && this.#state.clock.nowMs() < pending.dueAtMs;
    if (isOver) this.drop(key, pending.will);
    else this.#publish(key, pending.will);
  }

  /** Publishes what is due, at a bounded rate: a node that died leaves many at once. */
  publishDue(): void {
    const { owed, clock, isDraining, retained } = this.#state;
    const isHeld = isDraining || !retained.isLoaded; // It may be retained.
    if (isHeld || this.#pending.size === 0 || !owed.flush()) return;
    const nowMs = clock.nowMs();
    let left: number = LIMITS.mqttWillsPerSecondMax;
    for (const [key, { will, dueAtMs }] of this.#pending) {
      if (left === 0) break;
      if (dueAtMs > nowMs) continue;
      left--;
      this.#pending.delete(key);
      this.#publish(key, will);
    }
  }

  /** The device was deleted; its row goes with it. @param will Of its connection, if it has one. */
  forget(key: string, will: Will | undefined): void {
    const known = will ?? this.#owners.get(key);
    this.#pending.delete(key);
    if (known !== undefined) this.#release(key, known);
  }

  /** In place of one whose connection was never told that it is accepted. */
  #own(key: string, will: Will): void {
    const before = this.#owners.get(key);
    if (before !== undefined) this.#bytes -= sizeOf(before);
    this.#bytes += sizeOf(will);
    this.#owners.set(key, will);
  }

  /** @returns False if another one has its row. */
  #release(key: string, will: Will): boolean {
    if (this.#owners.get(key) !== will) return false;
    this.#bytes -= sizeOf(will);
    return this.#owners.delete(key);
  }

  #publish(key: string, will: Will): void {
    const state = this.#state;
    if (!this.#release(key, will)) return;
    const [product, device] = key.split("/") as [string, string];
    const nowMs = state.clock.nowMs();
    if (will.isRetained && will.payload.length === 0 && !isOwnTopic(will.suffix)) {
      state.figures.willsPublished++;
      state.owed.put(key, willKey(key), undefined);
      for (const { key: rowKey, value } of this.#retain(key, will)) {
        state.owed.put(key, rowKey, value);
      }
      return;
    }
    const origin = { key, target: targetOf(product, device) };
    const { suffix, payload: { length } } = will;
    const decoded = this.#decode(key, will, nowMs);
    const refusal = decoded.ok ? (isSuspended(state, key) ? SUSPENDED : undefined) : {
      reason: decoded.code,
      detail: decoded.refused.length === 0 ? decoded.detail : detailOf(decoded.refused),
    };
    if (!decoded.ok || refusal !== undefined) {
      countRefusal(state, refusal!.reason);
      state.traces.refuse(origin, "mqtt", suffix, length, nowMs, { ...refusal, isWill: true });
      state.owed.put(key, willKey(key), undefined);
      return;
    }
    for (const { rule } of decoded.refused) state.refuse(`point_${rule}`);
    state.figures.pointsRefused += decoded.refused.length;
    state.figures.willsPublished++;
    const carried = carriedOf(will.passedOn) as Carried | undefined; // It was checked at its CONNECT.
    const parts = withCarried(decoded.parts, { isWill: true, ...carried });
    const rows = [{ key: willKey(key) }, ...will.isRetained ? this.#retain(key, will) : []];
    const facts = { ...factsOf(decoded.refused, carried), isWill: true } as const;
    state.owed.message(origin, parts, rows, (append) => {
      state.traces.accept(origin, "mqtt", suffix, length, nowMs, append, facts);
    });
  }

  /** A bug in it costs this will only, not what is under way: a close, or the start of a node. */
  #decode(key: string, { suffix, payload }: Will, nowMs: number): DecodedUplink {
    const { directory, logger } = this.#state;
    try {
      return decodeTopic(suffix, payload, directory, key.slice(0, key.indexOf("/")), nowMs);
    } catch (fault) {
      logger.error("will failed", { device: key, fault });
      return { ok: false, code: "malformed", detail: "Cannot read the will: a fault", refused: [] };
    }
  }

  /** @returns The row to be written with it. One that finds no room is published all the same. */
  #retain(key: string, { suffix, payload, qos, passedOn, expirySeconds }: Will): GatewayRow[] {
    const { retained, clock } = this.#state;
    const expiresAtMs = expirySeconds < 0 ? Infinity : clock.nowMs() + expirySeconds * 1_000;
    const message = { suffix, payload, qos, passedOn, expiresAtMs };
    let change = retained.plan(key, message);
    if (change === "full") {
      countRefusal(this.#state, "retained_full");
      change = retained.plan(key, { ...message, payload: NO_PROPERTIES });
    }
    if (change === undefined || change === "full") return [];
    change.commit();
    return [change.row];
  }

  /** @returns Key of the last row; undefined at the end. */
  async #loadPage(after: string): Promise<string | undefined> {
    const { readRows, clock, figures } = this.#state;
    const limit = LIMITS.mqttWillPageRows;
    const rows = await readRows({ prefix: WILL_PREFIX, after, limit });
    const nowMs = clock.nowMs();
    for (const { key, value } of rows) {
      const stored = decodeWill(value);
      if (stored === undefined) {
        figures.willRowsUnreadable++; // Of a newer version perhaps: not ours to remove.
        continue;
      }
      const { will, dueAtMs = nowMs + will.delaySeconds * 1_000 } = stored;
      const device = key.slice(WILL_PREFIX.length);
      this.#own(device, will);
      this.#pending.set(device, { will, dueAtMs });
    }
    return rows.at(-1)?.key;
  }
}

/** What a will takes in memory, roughly. */
function sizeOf(will: Will): number {
  return will.payload.length + will.passedOn.length + will.suffix.length + 200;
}
