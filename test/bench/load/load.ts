/**
 * The generator's loop: one thread, epoll, messages of a connection in one send.
 * Phases: connecting (all open), sending (`durationMs`), draining (until answered or 10 s), closed.
 */
import { type Clock } from "../../../runtime/clock.ts";
import { type AcknowledgedWriter } from "./acknowledged.ts";
import { CLOSED, CONNECTING, Connection, GREETING, OPEN } from "./connection.ts";
import { httpWire } from "./http_wire.ts";
import { MQTT_DISCONNECT, mqttWire } from "./mqtt_wire.ts";
import type { DeviceLogin, LoadOptions } from "./options.ts";
import { SEQUENCE_MIN } from "./payload.ts";
import { Sockets } from "./sockets.ts";
import { Tally } from "./tally.ts";
import type { Wire } from "./wire.ts";

const SEND_BYTES = 256 * 1_024;
const RECEIVE_BYTES = 64 * 1_024;
/** Handshakes at one time: a storm would measure the listen backlog. */
const HANDSHAKES_MAX = 128;
const RETRY_MS = 100;
const DRAIN_MS = 10_000;
const SYNC_MS = 50;
/** How often the event loop gets a turn, for signals. */
const TURN_MS = 20;

export class Load implements Disposable {
  readonly tally: Tally;
  readonly connections: readonly Connection[];
  readonly #options: LoadOptions;
  readonly #clock: Clock;
  readonly #wire: Wire;
  readonly #writer: AcknowledgedWriter | undefined;
  readonly #sockets = new Sockets();
  readonly #send = new Uint8Array(SEND_BYTES);
  readonly #receive = new Uint8Array(RECEIVE_BYTES);
  #handshakes = 0;
  #closed: number;
  #isSending = false;
  #isStopped = false;
  #paceFromMs = 0;
  #paced = 0;
  #turnAtMs = 0;
  #syncAtMs = 0;

  constructor(
    options: LoadOptions,
    devices: readonly DeviceLogin[],
    clock: Clock,
    writer: AcknowledgedWriter | undefined,
  ) {
    this.#options = options;
    this.#clock = clock;
    this.#writer = writer;
    this.#wire = options.wire === "mqtt" ? mqttWire : httpWire;
    this.tally = new Tally(writer);
    const first = options.firstSequence ?? SEQUENCE_MIN;
    this.connections = devices.map((device, index) =>
      new Connection(index, device, this.#wire, options.inFlight, first, this.tally)
    );
    this.#closed = this.connections.length;
  }

  /** Ends the sending phase; what is unanswered is still waited for. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Opens every connection. Throws if one is refused, or breaks when not reconnecting. */
  async connect(): Promise<void> {
    while (this.tally.opened < this.connections.length && !this.#isStopped) await this.#step(10);
  }

  /** Sends for `durationMs`, then waits for what is unanswered. */
  async run(): Promise<void> {
    const options = this.#options;
    const startedMs = this.#clock.monotonicMs();
    this.tally.startedMs = this.tally.nowMs = this.#paceFromMs = startedMs;
    this.tally.measureFromMs = startedMs + (options.warmUpMs ?? 0);
    const untilMs = startedMs + options.durationMs;
    this.tally.measureUntilMs = untilMs;
    this.#isSending = true;
    if (options.ratePerSecond === undefined) {
      for (const one of this.connections) {
        this.#fill(one);
      }
    }
    while (this.tally.nowMs < untilMs && !this.#isStopped && !this.#isDone()) {
      if (options.ratePerSecond !== undefined) this.#pace(options.ratePerSecond);
      await this.#step(options.ratePerSecond === undefined ? 10 : 1);
    }
    this.tally.measureUntilMs = Math.min(untilMs, this.tally.nowMs);
    this.#isSending = false;
    await this.#drain();
  }

  [Symbol.dispose](): void {
    for (const connection of this.connections) {
      if (connection.socket < 0) continue;
      if (this.#options.wire === "mqtt") this.#sockets.send(connection.socket, MQTT_DISCONNECT, 2);
      this.#sockets.close(connection.socket);
    }
    this.#sockets[Symbol.dispose]();
  }

  async #drain(): Promise<void> {
    const untilMs = this.#clock.monotonicMs() + DRAIN_MS;
    while (this.tally.nowMs < untilMs && this.connections.some((one) => one.inFlight > 0)) {
      await this.#step(10);
    }
    for (const one of this.connections) {
      this.tally.abandoned += one.inFlight;
      one.inFlight = 0;
    }
    this.#writer?.sync();
  }

  #isDone(): boolean {
    const max = this.#options.messagesPerDevice;
    return max !== undefined && this.tally.sent >= max * this.connections.length;
  }

  /** One round: events, handshakes, ledger; now and then a turn of the event loop. */
  async #step(timeoutMs: number): Promise<void> {
    const count = this.#sockets.wait(timeoutMs);
    this.tally.nowMs = this.#clock.monotonicMs();
    for (let i = 0; i < count; i++) this.#handle(i);
    if (this.#closed > 0 && this.#handshakes < HANDSHAKES_MAX) this.#reconnect();
    if (this.tally.nowMs >= this.#syncAtMs) {
      this.#writer?.sync();
      this.#syncAtMs = this.tally.nowMs + SYNC_MS;
    }
    if (this.tally.nowMs < this.#turnAtMs) return;
    this.#turnAtMs = this.tally.nowMs + TURN_MS;
    await new Promise<void>((resolve) => this.#clock.soon(resolve));
  }

  #handle(event: number): void {
    const connection = this.connections[this.#sockets.tagOf(event)]!;
    if (connection.socket < 0) return;
    if (this.#sockets.isWritable(event) && !this.#sockets.isBroken(event)) {
      if (connection.status === CONNECTING) this.#greet(connection);
      else this.#flush(connection);
    }
    if (this.#sockets.isReadable(event)) {
      this.#read(connection);
    } else if (this.#sockets.isBroken(event)) {
      this.#broke(connection);
    }
  }

  #read(connection: Connection): void {
    const length = this.#sockets.receive(connection.socket, this.#receive);
    if (length <= 0) { // Readable and nothing there: the end, or an error.
      this.#broke(connection);
      return;
    }
    const wasOpen = connection.status === OPEN;
    if (connection.rest === undefined) {
      const used = this.#wire.read(this.#receive, length, connection);
      if (used < length) connection.rest = this.#receive.slice(used, length);
    } else {
      const joined = new Uint8Array(connection.rest.length + length);
      joined.set(connection.rest);
      joined.set(this.#receive.subarray(0, length), connection.rest.length);
      const used = this.#wire.read(joined, joined.length, connection);
      connection.rest = used < joined.length ? joined.subarray(used) : undefined;
    }
    if (!wasOpen && connection.status === OPEN) this.#handshakes--;
    if (connection.isRefused) this.#refused(connection);
    else if (this.#isSending) this.#fill(connection);
  }

  /** Sends as many messages as the window allows, in one write. */
  #fill(connection: Connection): void {
    if (connection.status !== OPEN || connection.unsent !== undefined) return;
    const isPaced = this.#options.ratePerSecond !== undefined;
    const left = (this.#options.messagesPerDevice ?? Infinity) - connection.sentCount;
    const room = SEND_BYTES - connection.template.bytes.length;
    let length = 0;
    for (let i = 0; i < left && connection.hasRoom && length <= room; i++) {
      if (isPaced && connection.waiting === 0) break;
      const dueMs = isPaced ? connection.takeWaiting() : this.tally.nowMs;
      length = connection.write(this.#wire, this.#send, length, dueMs);
    }
    if (length > 0) this.#write(connection, this.#send, length);
  }

  #write(connection: Connection, bytes: Uint8Array<ArrayBuffer>, length: number): void {
    const sent = this.#sockets.send(connection.socket, bytes, length);
    if (sent === length) return;
    connection.unsent = bytes.slice(sent, length);
    this.#sockets.watchWritable(connection.socket, connection.index, true);
  }

  #flush(connection: Connection): void {
    const unsent = connection.unsent;
    connection.unsent = undefined;
    if (unsent !== undefined) this.#write(connection, unsent, unsent.length);
    if (connection.unsent !== undefined) return;
    this.#sockets.watchWritable(connection.socket, connection.index, false);
    if (this.#isSending) this.#fill(connection);
  }

  #greet(connection: Connection): void {
    const greeting = this.#wire.greeting?.(connection.device);
    connection.status = GREETING;
    this.#sockets.watchWritable(connection.socket, connection.index, false);
    if (greeting !== undefined) {
      this.#write(connection, greeting, greeting.length);
      return;
    }
    connection.opened();
    this.#handshakes--;
    if (this.#isSending) this.#fill(connection);
  }

  /** Messages due since the last tick, dealt to the connections in turn. */
  #pace(ratePerSecond: number): void {
    const tickMs = Math.floor(this.#clock.monotonicMs() - this.#paceFromMs);
    const due = Math.floor(tickMs * ratePerSecond / 1_000);
    for (; this.#paced < due; this.#paced++) {
      const connection = this.connections[this.#paced % this.connections.length]!;
      // Rounded up to its tick: the generator's own granularity is not the server's latency.
      const dueMs = this.#paceFromMs + Math.ceil((this.#paced + 1) * 1_000 / ratePerSecond);
      if (!connection.enqueue(dueMs)) this.tally.skipped++;
      this.#fill(connection);
    }
  }

  #reconnect(): void {
    for (const connection of this.connections) {
      if (connection.status !== CLOSED || this.tally.nowMs < connection.retryAtMs) continue;
      const { host, port } = this.#options;
      connection.socket = this.#sockets.connect(host, port, connection.index);
      connection.status = CONNECTING;
      this.#closed--;
      if (++this.#handshakes >= HANDSHAKES_MAX) return;
    }
  }

  #refused(connection: Connection): void {
    if (!this.#options.isReconnecting) {
      throw new Error(`Refused: ${JSON.stringify(this.tally.rejectedByCode)}`);
    }
    connection.isRefused = false;
    this.#broke(connection);
  }

  #broke(connection: Connection): void {
    const { status, inFlight } = connection;
    this.#sockets.close(connection.socket);
    if (status !== OPEN) this.#handshakes--;
    connection.broke();
    connection.retryAtMs = this.tally.nowMs + RETRY_MS;
    this.#closed++;
    this.tally.reconnects++;
    if (!this.#options.isReconnecting) {
      throw new Error(
        `Connection of ${connection.device.device} broke, ${inFlight} unanswered, after ` +
          `${this.tally.acknowledgedCount} acknowledged: ${
            JSON.stringify(this.tally.rejectedByCode)
          }`,
      );
    }
  }
}
