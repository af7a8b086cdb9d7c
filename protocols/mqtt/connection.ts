/**
 * One socket of a device: its state as plain fields, and what it writes. No closures and no timers of
 * its own, so that a million of its kind cost little.
 */
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { LIMITS } from "../../runtime/limits.ts";
import { MQTT_LIMITS } from "../../runtime/mqtt_limits.ts";
import type { IngressTarget } from "../../runtime/log/ingress.ts";
import { ACK, AckQueue } from "./ack_queue.ts";
import { type ByteBudget, ByteQueue } from "./byte_queue.ts";
import type { MqttVersion } from "./codec.ts";
import { encodePacket } from "./codec.ts";
import { PACKET } from "./frame.ts";
import type { RateMeter } from "./rate_meter.ts";
import type { Session, Subscription } from "./session.ts";
import type { Will } from "./will_row.ts";
import { encodeBinary, encodeClose, STATUS, type WebSocketReader } from "./web_socket.ts";

/**
 * `new`: no CONNECT yet. `connecting`: logged in, its session is being read. `open`: CONNACK is sent.
 * `withheld`: logged in, and gets no answer. Of it and of `closing` nothing that is sent is looked at.
 */
export type Stage = "new" | "connecting" | "open" | "withheld" | "closing";

/** Why a socket is not read. */
export const PAUSE = { held: 1, unacked: 2, unread: 4, draining: 8 } as const;

/** What a connection knows after a successful login. */
export interface Identity {
  readonly product: string;
  readonly device: string;
  /** `{product}/{device}`. */
  readonly key: string;
  /** `{incarnation}.{n}`, unique for ever. */
  readonly id: string;
  /** `v1/{product}/{device}/`. */
  readonly prefix: string;
  /** UTF-8 of `{prefix}properties`. */
  readonly propertiesTopic: Uint8Array;
  readonly target: IngressTarget;
}

interface EncodedAck {
  readonly bytes: Uint8Array;
  /** Desired properties or calls are wanted after it. */
  readonly isDelivering: boolean;
  /** What is retained is wanted for these. */
  readonly fresh: readonly Subscription[];
}

const PINGRESP = Uint8Array.of(0xd0, 0);

export class Connection {
  readonly socket: Socket;
  readonly remote: string;
  /** `networkOf(remote)`. */
  readonly network: string;
  stage: Stage = "new";
  /** Its bytes are the payload of frames. */
  webSocket: WebSocketReader | undefined;
  version: MqttVersion = 4;
  /** Present from stage `connecting` on. */
  identity: Identity | undefined;
  /** Present in stage `open`. */
  session: Session | undefined;
  /** Topics by their alias, of MQTT 5. */
  aliases: Map<number, string> | undefined;
  /** Kept from the CONNACK on until it is dropped or published. */
  will: Will | undefined;
  /** Of stage `open`: rises with every connection of the installation. */
  epoch = 0;
  readonly acks: AckQueue = new AckQueue();
  /** SUBACKs and UNSUBACKs of the entries `encoded` in `acks`. */
  encoded: EncodedAck[] | undefined;
  /** Subscriptions whose SUBACK was sent, and what is retained for them not yet. */
  fresh: Subscription[] | undefined;
  /** The start of a packet whose end has not arrived. */
  readonly partial: ByteQueue;
  /** Whole packets that wait until the log has room, in order. */
  readonly held: ByteQueue;
  isHolding = false;
  /** What it holds waits for a rate, not for room. */
  isRateHeld = false;
  /** From its login on, if any rate of it is limited. */
  meter: RateMeter | undefined;
  /** Set of `PAUSE` reasons; 0: the socket is read. */
  paused = 0;
  /** Monotonic milliseconds of the last bytes from the peer. */
  readAtMs: number;
  /** When it is destroyed, monotonic; 0: never. Of stage `new`, and of one that is closing. */
  deadlineMs: number;
  /** Of the certificate that it logged in with, epoch milliseconds. */
  certificateEndsAtMs = Infinity;
  /** 0: none. Already times 1.5. */
  keepAliveMs = 0;
  /** QoS 1 and 2 messages that the peer counts against our Receive Maximum. */
  inFlight = 0;
  /** The peer's Receive Maximum, bounded, and Maximum Packet Size. */
  window: number = LIMITS.mqttDownlinksMax;
  packetBytesMax = 0xffffffff;
  /** Highest append number for whose settling this connection is listed. */
  listedAppend = 0;
  pings = 0;
  /** The peer has closed its side; it is closed when nothing waits any more. */
  isPeerDone = false;

  constructor(socket: Socket, network: string, budget: ByteBudget, nowMs: number) {
    this.socket = socket;
    this.remote = socket.remoteAddress ?? "";
    this.network = network;
    this.partial = new ByteQueue(budget);
    this.held = new ByteQueue(budget);
    this.readAtMs = nowMs;
    this.deadlineMs = nowMs + LIMITS.mqttConnectMsMax;
  }

  get isV5(): boolean {
    return this.version === 5;
  }

  get isOpen(): boolean {
    return this.stage === "open";
  }

  pause(why: number): void {
    if (this.paused === 0) this.socket.pause();
    this.paused |= why;
  }

  /** @param nowMs Monotonic: while it was not read it could not show that it is alive. */
  unpause(why: number, nowMs: number): void {
    if ((this.paused & why) === 0) return;
    this.paused &= ~why;
    if (this.paused !== 0) return;
    this.readAtMs = nowMs;
    this.socket.resume();
  }

  send(bytes: Uint8Array): void {
    this.sendRaw(this.webSocket === undefined ? bytes : encodeBinary(bytes));
  }

  /** Bytes as they go over the socket. */
  sendRaw(bytes: Uint8Array): void {
    if (this.socket.destroyed || this.socket.writableEnded) return;
    this.socket.write(bytes);
    // A peer that does not read its answers must not make us keep ever more of them.
    if (this.socket.writableLength > LIMITS.mqttUnreadBytesMax) this.pause(PAUSE.unread);
  }

  sendPings(): void {
    const count = this.pings;
    this.pings = 0;
    if (count === 1) this.send(PINGRESP);
    else if (count > 1) this.send(Buffer.alloc(2 * count, PINGRESP));
  }

  /** Whether the peer's unacknowledged messages and requests are beyond what is read ahead of their commit. */
  get isOverdrawn(): boolean {
    const max = this.isV5 ? MQTT_LIMITS.acksV5Max : LIMITS.mqttUnackedMax;
    return this.acks.bytes > LIMITS.mqttUnackedBytesMax || this.acks.length > max;
  }

  /**
   * Writes all acknowledgements at the head of the queue that are durable, in one write.
   * @param settled Highest durable append number.
   * @returns How many, and whether one was a SUBACK after which desired properties are wanted.
   */
  sendAcknowledgements(settled: number): { count: number; isDelivering: boolean } {
    const count = this.acks.ready(settled);
    if (count === 0) return NOTHING_SENT;
    let size = 0;
    let encodedCount = 0;
    for (let i = 0; i < count; i++) {
      if (this.acks.kindAt(i) === ACK.encoded) size += this.encoded![encodedCount++]!.bytes.length;
      else size += this.acks.reasonAt(i) === 0 ? 4 : 5;
    }
    const bytes = Buffer.allocUnsafe(size);
    const isDelivering = this.#writeAcknowledgements(bytes, count);
    if (encodedCount > 0) this.encoded!.splice(0, encodedCount);
    this.acks.drop(count);
    this.send(bytes);
    return { count, isDelivering };
  }

  #writeAcknowledgements(bytes: Uint8Array, count: number): boolean {
    let at = 0;
    let encodedAt = 0;
    let isDelivering = false;
    for (let i = 0; i < count; i++) {
      const kind = this.acks.kindAt(i);
      if (kind === ACK.encoded) {
        const entry = this.encoded![encodedAt++]!;
        bytes.set(entry.bytes, at);
        at += entry.bytes.length;
        isDelivering ||= entry.isDelivering;
        if (entry.fresh.length > 0) (this.fresh ??= []).push(...entry.fresh);
        continue;
      }
      const reason = this.acks.reasonAt(i);
      const packetId = this.acks.packetIdAt(i);
      const isFinal = kind !== ACK.pubrec || reason >= 0x80;
      if (isFinal && this.inFlight > 0) this.inFlight--;
      bytes[at++] = ACK_TYPES[kind]! << 4;
      bytes[at++] = reason === 0 ? 2 : 3;
      bytes[at++] = packetId >> 8;
      bytes[at++] = packetId;
      if (reason !== 0) bytes[at++] = reason;
    }
    return isDelivering;
  }

  /** Answers no more; MQTT 5 peers are told why (`reason` 0: they are not). */
  end(reason: number): void {
    this.stage = "closing";
    this.partial.clear();
    this.held.clear();
    this.acks.clear();
    this.encoded = this.fresh = undefined;
    if (this.socket.destroyed || this.socket.writableEnded) return;
    if (this.isV5 && reason !== 0) {
      this.send(encodePacket({ cmd: "disconnect", reasonCode: reason }, 5));
    }
    if (this.webSocket === undefined) this.socket.end();
    else this.socket.end(encodeClose(this.webSocket.fault || STATUS.normal));
    // Unread bytes would turn the close into a reset, and the peer may then lose our last words.
    this.paused = 0;
    this.socket.resume();
  }
}

const NOTHING_SENT = { count: 0, isDelivering: false } as const;
const ACK_TYPES: readonly number[] = [PACKET.puback, PACKET.pubrec, PACKET.pubcomp];
