/** An ingress in memory whose appends become durable when the test says so. */
import { bodyAt, recordEnd, writeRecord } from "../../runtime/log/record.ts";
import type {
  GatewayRow,
  GatewayRowQuery,
  StoredGatewayRow,
} from "../../runtime/log/partition_log.ts";
import type { Ingress, IngressTarget } from "../../runtime/log/ingress.ts";
import { addressAt } from "../../runtime/log/record.ts";

export interface OfferedMessage {
  readonly append: number;
  readonly to: string;
  // deno-lint-ignore no-explicit-any -- whatever JSON the gateway made
  readonly body: any;
}

export class FakeIngress implements Ingress {
  settled = 0;
  offered = 0;
  refusal: string | undefined;
  unacknowledgedBytes = 0;
  /** In order of arrival, durable or not. */
  readonly messages: OfferedMessage[] = [];
  /** Rows as they are after the last `settle`. */
  readonly rows = new Map<string, Uint8Array>();
  /** False: every offer is refused for lack of room. */
  hasRoom = true;
  /** Every offer gets an append of its own: what is not one offer can be parted by a crash. */
  isSealingEach = false;
  /** Settles each append by itself, in a later microtask. */
  isAutomatic: boolean;
  /** How many offers were refused. */
  refusedOffers = 0;
  #open = 1;
  #pendingRows: { readonly append: number; readonly row: GatewayRow }[] = [];
  #settledListeners = new Set<(append: number) => void>();
  #roomListeners = new Set<() => void>();

  constructor(options: { readonly isAutomatic: boolean }) {
    this.isAutomatic = options.isAutomatic;
  }

  offer(target: IngressTarget, parts: readonly Uint8Array[]): number | undefined {
    if (!this.#admit()) return undefined;
    this.#take(target, parts);
    return this.#admitted();
  }

  offerRow(key: string, value: Uint8Array | undefined): number | undefined {
    if (!this.#admit()) return undefined;
    this.#takeRow(value === undefined ? { key } : { key, value });
    return this.#admitted();
  }

  offerWithRows(
    target: IngressTarget,
    parts: readonly Uint8Array[],
    rows: readonly GatewayRow[],
  ): number | undefined {
    if (!this.#admit()) return undefined;
    this.#take(target, parts);
    for (const row of rows) this.#takeRow(row);
    return this.#admitted();
  }

  onSettled(listener: (append: number) => void): () => void {
    this.#settledListeners.add(listener);
    return () => this.#settledListeners.delete(listener);
  }

  onRoom(listener: () => void): () => void {
    this.#roomListeners.add(listener);
    return () => this.#roomListeners.delete(listener);
  }

  flushIfDue(): void {}

  ask(): Promise<unknown> {
    return Promise.reject(new Error("this ingress answers no questions"));
  }

  /** The open append is closed; later offers go into the next one. Returns its number. */
  seal(): number {
    return this.#open++;
  }

  /** Makes everything up to `append` durable (default: all), and says so. */
  settle(append: number = this.seal()): void {
    this.settled = append;
    for (const { append: carrier, row } of this.#pendingRows) {
      if (carrier > append) continue;
      if (row.value === undefined) this.rows.delete(row.key);
      else this.rows.set(row.key, row.value);
    }
    this.#pendingRows = this.#pendingRows.filter((pending) => pending.append > append);
    for (const listener of this.#settledListeners) listener(append);
  }

  /** What a process finds that starts after a crash: whatever was durable with `append`. */
  crashedAt(append: number): FakeIngress {
    const found = new FakeIngress({ isAutomatic: true });
    found.messages.push(...this.messages.filter((message) => message.append <= append));
    for (const [key, value] of this.rows) found.rows.set(key, value);
    for (const { append: carrier, row } of this.#pendingRows) {
      if (carrier <= append) found.#takeRow(row);
    }
    found.settle();
    return found;
  }

  /** There is room again. */
  makeRoom(): void {
    this.hasRoom = true;
    for (const listener of this.#roomListeners) listener();
  }

  readRow(key: string): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.rows.get(key));
  }

  readRows({ prefix, after, limit }: GatewayRowQuery): Promise<StoredGatewayRow[]> {
    const keys = [...this.rows.keys()].filter((key) => key.startsWith(prefix) && key > after);
    const page = keys.sort().slice(0, limit);
    return Promise.resolve(page.map((key) => ({ key, value: this.rows.get(key)! })));
  }

  /** Messages of one type, in order. */
  // deno-lint-ignore no-explicit-any -- whatever JSON the gateway made
  bodies(type: string): any[] {
    return this.messages.filter(({ body }) => body.type === type).map(({ body }) => body);
  }

  #take(target: IngressTarget, parts: readonly Uint8Array[]): void {
    const length = parts.reduce((sum, part) => sum + part.length, target.head.length);
    const packed = new Uint8Array(length);
    const end = writeRecord(packed, 0, target.head, parts);
    const body = JSON.parse(new TextDecoder().decode(bodyAt(packed, 0, recordEnd(packed, 0))));
    this.messages.push({ append: this.#open, to: addressAt(packed, 0), body });
    this.unacknowledgedBytes += end;
  }

  #takeRow(row: GatewayRow): void {
    this.#pendingRows.push({ append: this.#open, row });
  }

  #admit(): boolean {
    if (!this.hasRoom) this.refusedOffers++;
    return this.hasRoom;
  }

  #admitted(): number {
    const append = this.offered = this.isSealingEach ? this.seal() : this.#open;
    if (this.isAutomatic) {
      queueMicrotask(() => {
        if (append === this.#open) this.seal();
        if (append > this.settled) this.settle(append);
      });
    }
    return append;
  }
}
