/**
 * Sessions whose devices do not come back: page by page through all rows, an expired one is removed.
 * One without an end (its gateway died with it) ends when it is found. A page reads and writes at
 * most `mqttSessionPageRows` rows; rows of deleted devices are removed with their devices.
 *
 * A row may be older than what the gateway knows: devices that are connected, and sessions in memory
 * that changed since, are left alone, and so is one that left memory while the page was read.
 */
import { messageOf } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { GatewayState } from "./gateway_state.ts";
import { decodeSession, encodeSession, SESSION_PREFIX } from "./session.ts";

/** Between two pages, and from the last page to the next first one. */
const PAGE_MS = 1_000;
const PASS_MS = 60_000;

export class SessionSweep implements Disposable {
  readonly #state: GatewayState;
  /** Key of the last row that was looked at; empty: a pass begins. */
  #after = "";
  #unreadable = 0;
  #isStopped = false;
  #cancel: () => void;

  constructor(state: GatewayState) {
    this.#state = state;
    this.#cancel = state.clock.after(PAGE_MS, () => void this.#run());
  }

  [Symbol.dispose](): void {
    this.#isStopped = true;
    this.#cancel();
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#state;
    let pauseMs = PAGE_MS;
    try {
      if (!await this.#page()) pauseMs = PASS_MS;
    } catch (fault) {
      logger.warn("session rows cannot be read", { fault: messageOf(fault) });
    }
    this.#state.evicted = undefined;
    if (!this.#isStopped) this.#cancel = clock.after(pauseMs, () => void this.#run());
  }

  /** False at the end of a pass. */
  async #page(): Promise<boolean> {
    const state = this.#state;
    // Without room its rows would be kept in memory.
    if (state.isDraining || !state.owed.flush()) return true;
    state.evicted = new Set();
    const limit = LIMITS.mqttSessionPageRows;
    const rows = await state.readRows({ prefix: SESSION_PREFIX, after: this.#after, limit });
    if (this.#isStopped) return false;
    const nowMs = state.clock.nowMs();
    for (const { key, value } of rows) this.#look(key.slice(SESSION_PREFIX.length), value, nowMs);
    this.#after = rows.at(-1)?.key ?? "";
    if (rows.length > 0) return true;
    state.figures.sessionRowsUnreadable = this.#unreadable;
    this.#unreadable = 0;
    return false;
  }

  #look(key: string, value: Uint8Array, nowMs: number): void {
    const { byDevice, away, evicted, owed, ingress, figures } = this.#state;
    if (byDevice.has(key) || evicted!.has(key)) return;
    const known = away.get(key);
    if (known !== undefined && known.rowAppend > ingress.settled) return;
    const session = known ?? decodeSession(value);
    if (session === undefined) {
      this.#unreadable++; // Of a newer version perhaps: not ours to remove.
    } else if (session.endedAtMs === undefined) {
      session.endedAtMs = nowMs;
      owed.row(key, encodeSession(session));
    } else if (session.isExpired(nowMs)) {
      figures.sessionsExpired++;
      away.delete(key);
      owed.row(key, undefined);
    }
  }
}
