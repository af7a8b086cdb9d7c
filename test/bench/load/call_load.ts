/**
 * Calls services at a fixed rate and is the devices that answer them, in one thread on epoll: its own
 * cost is part of the figure. A call whose time has come and that finds all connections of callers taken
 * waits for one, and that counts.
 */
import type { Clock } from "../../../runtime/clock.ts";
import { Histogram } from "../../../protocols/simulate/histogram.ts";
import { callOf, readAnswer, readDevice, subscribeOf } from "./call_wire.ts";
import { mqttWire } from "./mqtt_wire.ts";
import type { DeviceLogin } from "./options.ts";
import { Sockets } from "./sockets.ts";
import { concatBytes } from "./wire.ts";

export interface CallLoadOptions {
  /** IPv4 address. */
  readonly host: string;
  readonly mqttPort: number;
  readonly httpPort: number;
  readonly devices: readonly DeviceLogin[];
  /** Values of `Authorization`, used in turn. */
  readonly authorizations: readonly string[];
  readonly clock: Clock;
}

export interface CallReport {
  /** From when a call was due, so that a stall is seen by all that it delays. */
  readonly latency: Histogram;
  /** Calls that were not answered by their device. */
  readonly failed: number;
}

/** Calls under way at a time. */
const CALLERS = 256;
const RECEIVE_BYTES = 64 * 1_024;
/** How often the event loop gets a turn. */
const TURN_MS = 20;
const CONNECT_MS_MAX = 30_000;
const ANSWER_MS_MAX = 60_000;
const PACKET_IDS = 65_535;
const NOTHING = new Uint8Array();

interface Call {
  readonly number: number;
  readonly dueMs: number;
}

class Peer {
  socket = -1;
  isReady = false;
  rest: Uint8Array = NOTHING;
  packetId = 0;
  /** A caller's: under way. */
  call: Call | undefined;

  constructor(readonly device: DeviceLogin | undefined) {}
}

export class CallLoad implements Disposable {
  readonly #options: CallLoadOptions;
  readonly #sockets = new Sockets();
  readonly #bytes = new Uint8Array(RECEIVE_BYTES);
  readonly #peers: readonly Peer[];
  readonly #idle: Peer[] = [];
  readonly #waiting: Call[] = [];
  #turnAtMs = 0;
  #answered = 0;
  #failed = 0;
  #latency = new Histogram();
  #countedFromMs = 0;

  constructor(options: CallLoadOptions) {
    this.#options = options;
    const callers = Array.from({ length: CALLERS }, () => new Peer(undefined));
    this.#peers = [...options.devices.map((device) => new Peer(device)), ...callers];
  }

  /** Resolves when all devices take calls. */
  async connect(): Promise<void> {
    const { host, mqttPort, httpPort, clock } = this.#options;
    this.#peers.forEach((peer, tag) => {
      peer.socket = this.#sockets.connect(host, peer.device ? mqttPort : httpPort, tag);
    });
    const untilMs = clock.monotonicMs() + CONNECT_MS_MAX;
    while (this.#peers.some(({ isReady }) => !isReady)) {
      if (clock.monotonicMs() > untilMs) {
        throw new Error("Not all devices and callers are connected");
      }
      await this.#step(10);
    }
  }

  /** @param warmUpMs Of `durationMs`, at its begin: left out of the latencies. */
  async run(perSecond: number, durationMs: number, warmUpMs: number): Promise<CallReport> {
    const { clock } = this.#options;
    const startedMs = clock.monotonicMs();
    const total = Math.floor(durationMs * perSecond / 1_000);
    const dueOf = (number: number) => startedMs + number * 1_000 / perSecond;
    this.#latency = new Histogram();
    this.#answered = this.#failed = 0;
    this.#countedFromMs = startedMs + warmUpMs;
    for (let made = 0; made < total;) {
      for (; made < total && dueOf(made) <= clock.monotonicMs(); made++) {
        this.#waiting.push({ number: made, dueMs: dueOf(made) });
      }
      this.#sendWaiting();
      await this.#step(Math.max(0, Math.ceil(dueOf(made) - clock.monotonicMs())));
    }
    const untilMs = clock.monotonicMs() + ANSWER_MS_MAX;
    while (this.#answered < total && clock.monotonicMs() < untilMs) await this.#step(10);
    return { latency: this.#latency, failed: this.#failed + total - this.#answered };
  }

  [Symbol.dispose](): void {
    for (const { socket } of this.#peers) if (socket >= 0) this.#sockets.close(socket);
    this.#sockets[Symbol.dispose]();
  }

  #sendWaiting(): void {
    const { devices, authorizations } = this.#options;
    while (this.#waiting.length > 0 && this.#idle.length > 0) {
      const call = this.#waiting.shift()!;
      const { number } = call;
      const caller = this.#idle.pop()!;
      caller.call = call;
      const device = devices[number % devices.length]!;
      this.#send(caller, callOf(device, authorizations[number % authorizations.length]!, number));
    }
  }

  /** One round of events; now and then a turn of the event loop. */
  async #step(timeoutMs: number): Promise<void> {
    const { clock } = this.#options;
    const count = this.#sockets.wait(timeoutMs);
    for (let i = 0; i < count; i++) this.#handle(i);
    this.#sendWaiting();
    const nowMs = clock.monotonicMs();
    if (nowMs < this.#turnAtMs) return;
    this.#turnAtMs = nowMs + TURN_MS;
    await new Promise<void>((resolve) => clock.soon(resolve));
  }

  #handle(event: number): void {
    const tag = this.#sockets.tagOf(event);
    const peer = this.#peers[tag]!;
    if (this.#sockets.isBroken(event)) throw new Error(`Connection ${tag} broke`);
    if (this.#sockets.isWritable(event)) this.#opened(peer, tag);
    if (this.#sockets.isReadable(event)) this.#read(peer, tag);
  }

  #opened(peer: Peer, tag: number): void {
    this.#sockets.watchWritable(peer.socket, tag, false);
    if (peer.device !== undefined) return this.#send(peer, mqttWire.greeting!(peer.device));
    peer.isReady = true;
    this.#idle.push(peer);
  }

  #read(peer: Peer, tag: number): void {
    const length = this.#sockets.receive(peer.socket, this.#bytes);
    if (length <= 0) throw new Error(`Connection ${tag} was closed`);
    const read = this.#bytes.subarray(0, length);
    const bytes = peer.rest.length === 0 ? read : concatBytes([peer.rest, read]);
    const used = peer.device === undefined
      ? this.#takeAnswer(peer, bytes)
      : this.#takePackets(peer, peer.device, bytes);
    peer.rest = used === bytes.length ? NOTHING : bytes.slice(used);
  }

  #takePackets(peer: Peer, device: DeviceLogin, bytes: Uint8Array): number {
    const nextId = () => peer.packetId = peer.packetId % PACKET_IDS + 1;
    const { used, isConnected, isSubscribed, replies } = readDevice(bytes, bytes.length, nextId);
    if (isConnected) this.#send(peer, subscribeOf(device));
    peer.isReady ||= isSubscribed;
    if (replies.length > 0) this.#send(peer, concatBytes(replies));
    return used;
  }

  #takeAnswer(peer: Peer, bytes: Uint8Array): number {
    const isOk = readAnswer(bytes, bytes.length);
    if (isOk === undefined) return 0;
    const { dueMs } = peer.call!;
    if (dueMs >= this.#countedFromMs) {
      this.#latency.add(this.#options.clock.monotonicMs() - dueMs);
    }
    this.#answered++;
    if (!isOk) this.#failed++;
    peer.call = undefined;
    this.#idle.push(peer);
    return bytes.length;
  }

  #send({ socket }: Peer, bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#sockets.send(socket, bytes, bytes.length) === bytes.length) return;
    throw new Error(`A socket did not take ${bytes.length} B`);
  }
}
