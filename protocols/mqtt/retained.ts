/**
 * Retained messages: the last one of a topic, kept for who subscribes later. They belong to the device,
 * not to its session, and end with it. All are in memory and in rows; a change is written in the append
 * of its message, so that no crash parts them.
 *
 * The caller's duties, in order:
 * 1. `load` at the start; no session is opened before `isLoaded`.
 * 2. `plan` a change, hand its row to the log, and only when that took it, `commit` it.
 */
import type { GatewayRow } from "../../runtime/log/partition_log.ts";
import { MQTT_LIMITS } from "../../runtime/mqtt_limits.ts";
import type { GatewayState } from "./gateway_state.ts";
import {
  decodeRetained,
  encodeRetained,
  RETAINED_PREFIX,
  retainedKey,
  type RetainedMessage,
  sizeOf,
} from "./retained_row.ts";
import { RowLoading } from "./row_loading.ts";
import { isMatch } from "./topic.ts";

interface OfDevice {
  readonly project: string;
  /** By topic after the prefix. */
  readonly messages: Map<string, RetainedMessage>;
  /** When the first of them is over, epoch milliseconds; `Infinity`: none expires. */
  readonly firstEndMs: number;
}

interface Total {
  count: number;
  bytes: number;
}

/** A change that is not made yet. */
export interface RetainedChange {
  readonly row: GatewayRow;
  commit(): void;
}

export class Retained implements Disposable {
  readonly #state: GatewayState;
  readonly #loading: RowLoading;
  readonly #devices = new Map<string, OfDevice>();
  readonly #projects = new Map<string, Total>();
  readonly #all: Total = { count: 0, bytes: 0 };
  /** Devices with a message that expires. */
  readonly #expiring = new Set<string>();
  /** Deleted while rows are read. */
  readonly #forgotten = new Set<string>();
  #lookedAtMs = 0;

  constructor(state: GatewayState) {
    this.#state = state;
    this.#loading = new RowLoading(state, "retained messages");
  }

  get isLoaded(): boolean {
    return this.#loading.isLoaded;
  }

  /** Resolves when all rows are known. */
  get loaded(): Promise<void> {
    return this.#loading.loaded;
  }

  get count(): number {
    return this.#all.count;
  }

  get bytes(): number {
    return this.#all.bytes;
  }

  [Symbol.dispose](): void {
    this.#loading[Symbol.dispose]();
  }

  async load(): Promise<void> {
    await this.#loading.run((after) => this.#loadPage(after));
    this.#forgotten.clear();
  }

  /**
   * What replaces the retained message of a topic; one with an empty payload deletes it. Undefined:
   * there is nothing to delete. `full`: a bound refuses it, of the device, its project or all.
   * @param key `{product}/{device}`.
   */
  plan(key: string, message: RetainedMessage): RetainedChange | "full" | undefined {
    const nowMs = this.#state.clock.nowMs();
    const device = this.#devices.get(key);
    const isDeleting = message.payload.length === 0;
    if (isDeleting && device?.messages.has(message.suffix) !== true) return undefined;
    const next = new Map(device?.messages);
    for (const [suffix, { expiresAtMs }] of next) if (expiresAtMs <= nowMs) next.delete(suffix);
    next.delete(message.suffix);
    if (!isDeleting) next.set(message.suffix, message);
    const project = device?.project ?? this.#projectOf(key);
    if (!isDeleting && this.#isBeyond(project, totalOf(next), totalOf(device?.messages))) {
      return "full";
    }
    return this.#changeTo(key, project, next);
  }

  /** Those that a new subscription of the device gets, the longest kept first. */
  matching(key: string, prefix: string, filter: string): readonly RetainedMessage[] {
    const device = this.#devices.get(key);
    if (device === undefined) return [];
    const nowMs = this.#state.clock.nowMs();
    return [...device.messages.values()].filter(({ suffix, expiresAtMs }) =>
      expiresAtMs > nowMs && isMatch(filter, prefix + suffix)
    );
  }

  /** The device was deleted; its row goes with it. */
  forget(key: string): void {
    if (!this.isLoaded) this.#forgotten.add(key);
    const device = this.#devices.get(key);
    if (device !== undefined) this.#set(key, device.project, new Map());
  }

  /** Deletes what is over, looked at once in a while, a bounded number of rows at a time. */
  deleteExpired(): void {
    const { clock, owed, isDraining } = this.#state;
    const nowMs = clock.nowMs();
    if (nowMs - this.#lookedAtMs < MQTT_LIMITS.retainedExpiryMs || !this.isLoaded) return;
    this.#lookedAtMs = nowMs;
    if (isDraining || this.#expiring.size === 0 || !owed.flush()) return;
    let left: number = MQTT_LIMITS.retainedExpiryRowsMax;
    for (const key of this.#expiring) {
      const { project, messages, firstEndMs } = this.#devices.get(key)!;
      if (firstEndMs > nowMs) continue;
      if (left-- === 0) break;
      const kept = [...messages].filter(([, { expiresAtMs }]) => expiresAtMs > nowMs);
      const { row, commit } = this.#changeTo(key, project, new Map(kept));
      owed.put(key, row.key, row.value);
      commit();
    }
  }

  #changeTo(key: string, project: string, next: Map<string, RetainedMessage>): RetainedChange {
    const value = encodeRetained(next.values());
    const row = value === undefined ? { key: retainedKey(key) } : { key: retainedKey(key), value };
    return { row, commit: () => this.#set(key, project, next) };
  }

  #isBeyond(project: string, next: Total, before: Total): boolean {
    const bytes = next.bytes - before.bytes;
    const ofProject = this.#projects.get(project) ?? NOTHING;
    return next.count > MQTT_LIMITS.retainedPerDeviceMax ||
      next.bytes > MQTT_LIMITS.retainedBytesPerDeviceMax ||
      ofProject.count + next.count - before.count > MQTT_LIMITS.retainedPerProjectMax ||
      ofProject.bytes + bytes > MQTT_LIMITS.retainedBytesPerProjectMax ||
      this.#all.bytes + bytes > MQTT_LIMITS.retainedBytesMax;
  }

  #set(key: string, project: string, messages: Map<string, RetainedMessage>): void {
    const before = totalOf(this.#devices.get(key)?.messages);
    const next = totalOf(messages);
    const ofProject = this.#projects.get(project) ?? { count: 0, bytes: 0 };
    for (const total of [ofProject, this.#all]) {
      total.count += next.count - before.count;
      total.bytes += next.bytes - before.bytes;
    }
    if (ofProject.count === 0) this.#projects.delete(project);
    else this.#projects.set(project, ofProject);
    let firstEndMs = Infinity;
    for (const { expiresAtMs } of messages.values()) firstEndMs = Math.min(firstEndMs, expiresAtMs);
    if (messages.size === 0) this.#devices.delete(key);
    else this.#devices.set(key, { project, messages, firstEndMs });
    if (firstEndMs !== Infinity) this.#expiring.add(key);
    else this.#expiring.delete(key);
  }

  #projectOf(key: string): string {
    const product = key.slice(0, key.indexOf("/"));
    return this.#state.directory.projectOf(product) ?? "";
  }

  /** @returns Key of the last row; undefined at the end. */
  async #loadPage(after: string): Promise<string | undefined> {
    const { readRows, figures } = this.#state;
    const limit = MQTT_LIMITS.retainedPageRows;
    const rows = await readRows({ prefix: RETAINED_PREFIX, after, limit });
    for (const { key: rowKey, value } of rows) {
      const key = rowKey.slice(RETAINED_PREFIX.length);
      if (this.#forgotten.has(key)) continue;
      const messages = decodeRetained(value);
      if (messages === undefined) {
        figures.retainedRowsUnreadable++; // Of a newer version perhaps: not ours to remove.
        continue;
      }
      const bySuffix = new Map(messages.map((message) => [message.suffix, message]));
      this.#set(key, this.#projectOf(key), bySuffix);
    }
    return rows.at(-1)?.key;
  }
}

const NOTHING: Total = { count: 0, bytes: 0 };

function totalOf(messages: Map<string, RetainedMessage> | undefined): Total {
  if (messages === undefined) return NOTHING;
  let bytes = 0;
  for (const message of messages.values()) bytes += sizeOf(message);
  return { count: messages.size, bytes };
}
