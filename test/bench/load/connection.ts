/** One device's connection: its window of unanswered messages, in order of sending. */
import type { DeviceLogin } from "./options.ts";
import { Signals } from "./payload.ts";
import type { AnswerSink, MessageTemplate, Wire } from "./wire.ts";
import { packetIdOf } from "./mqtt_wire.ts";
import type { Tally } from "./tally.ts";

export const CLOSED = 0;
export const CONNECTING = 1;
export const GREETING = 2;
export const OPEN = 3;

/** Messages of a paced connection that may wait for room in its window. */
const WAITING_MAX = 4_096;

export class Connection implements AnswerSink {
  socket = -1;
  status = CLOSED;
  isRefused = false;
  retryAtMs = 0;
  /** Bytes of an answer that is not complete, and of messages that the socket did not take. */
  rest: Uint8Array | undefined;
  unsent: Uint8Array<ArrayBuffer> | undefined;
  nextSequence: number;
  sentCount = 0;
  /** Unanswered messages: `0 <= inFlight <= window`; the oldest has `nextSequence - inFlight`. */
  inFlight = 0;
  readonly template: MessageTemplate;
  readonly #window: number;
  readonly #dueTimes: Float64Array;
  readonly #signals: Signals;
  readonly #tally: Tally;
  readonly #hasPacketIds: boolean;
  #first = 0;
  readonly #waiting: number[] = [];

  constructor(
    readonly index: number,
    readonly device: DeviceLogin,
    wire: Wire,
    window: number,
    firstSequence: number,
    tally: Tally,
  ) {
    this.template = wire.template(device);
    this.nextSequence = firstSequence;
    this.#window = window;
    this.#dueTimes = new Float64Array(Math.max(1, window));
    this.#signals = new Signals(index);
    this.#tally = tally;
    this.#hasPacketIds = wire.greeting !== undefined;
  }

  get hasRoom(): boolean {
    return this.inFlight < this.#window;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Paced: a message is due; false if the waiting line is full. */
  enqueue(dueMs: number): boolean {
    if (this.#waiting.length >= WAITING_MAX) return false;
    this.#waiting.push(dueMs);
    return true;
  }

  takeWaiting(): number {
    return this.#waiting.shift()!;
  }

  /** Copies the next message to `at`; returns its end. The caller checks `hasRoom`. */
  write(wire: Wire, target: Uint8Array, at: number, dueMs: number): number {
    const sequence = this.nextSequence++;
    target.set(this.template.bytes, at);
    this.#signals.write(target, at + this.template.bodyAt, sequence);
    wire.stamp(target, at, this.template, sequence);
    this.#dueTimes[(this.#first + this.inFlight) % this.#window] = dueMs;
    this.inFlight++;
    this.sentCount++;
    this.#tally.sent++;
    return at + this.template.bytes.length;
  }

  opened(): void {
    this.status = OPEN;
    this.#tally.opened++;
  }

  refused(code: string): void {
    this.#tally.reject(code);
    this.isRefused = true;
  }

  acknowledged(id: number): void {
    const sequence = this.nextSequence - this.inFlight;
    if (this.inFlight === 0 || (this.#hasPacketIds && id !== packetIdOf(sequence))) {
      this.#tally.outOfOrder++;
      if (this.inFlight === 0) return;
    }
    this.#tally.acknowledge(this.index, sequence, this.#dueTimes[this.#first]!);
    this.#pop();
  }

  rejected(code: string): void {
    this.#tally.reject(code);
    if (this.inFlight > 0) this.#pop();
  }

  /** The connection is gone: what was unanswered is abandoned. */
  broke(): void {
    if (this.status === OPEN) this.#tally.opened--;
    this.#tally.abandoned += this.inFlight;
    this.inFlight = 0;
    this.#first = 0;
    this.rest = undefined;
    this.unsent = undefined;
    this.status = CLOSED;
    this.socket = -1;
  }

  #pop(): void {
    this.#first = (this.#first + 1) % this.#window;
    this.inFlight--;
  }
}
