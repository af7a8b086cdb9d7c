/** A device over MQTT 5: one socket, acknowledgements by packet id, pings, downlinks. */
import type { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import type { Clock } from "../../runtime/clock.ts";
import type { DeviceLogin, Link, LinkEvents, LinkTarget } from "./link.ts";
import {
  CONNACK,
  connectPacket,
  DISCONNECT,
  DISCONNECT_BYTES,
  PacketReader,
  PINGREQ_BYTES,
  PUBACK,
  pubackPacket,
  PUBLISH,
  publishPacket,
  type RawPacket,
  readPublish,
  reasonOf,
  subscribePacket,
  text,
} from "./mqtt_bytes.ts";

export interface MqttLinkOptions {
  readonly target: LinkTarget;
  readonly login: DeviceLogin;
  readonly clock: Clock;
  /** Topic filters after the device's prefix. */
  readonly subscriptions?: readonly string[];
  /** A message from the platform; `topic` without the device's prefix. Acknowledged before. */
  readonly onMessage?: (topic: string, payload: Buffer) => void;
}

const KEEP_ALIVE_S = 60;
const HANDSHAKE_MS = 15_000;
/** Reason codes from here on are refusals. */
const FAILURE_MIN = 0x80;
/** Of the only SUBSCRIBE of a connection: beyond those that messages may use. */
const SUBSCRIBE_ID = 65_535;
export const MESSAGE_ID_MAX = SUBSCRIBE_ID - 1;

export class MqttLink implements Link {
  readonly window = 64;
  readonly #options: MqttLinkOptions;
  readonly #events: LinkEvents;
  readonly #socket: Socket;
  readonly #reader = new PacketReader();
  readonly #prefix: string;
  readonly #topics = new Map<string, Buffer>();
  #isOpen = false;
  #isOver = false;
  #isHeard = true;
  #cancelTimer: () => void;

  constructor(options: MqttLinkOptions, events: LinkEvents) {
    this.#options = options;
    this.#events = events;
    const { login: { product, device, secret }, target } = options;
    this.#prefix = `v1/${product}/${device}/`;
    this.#cancelTimer = options.clock.after(HANDSHAKE_MS, () => this.#end(undefined));
    const user = `${product}/${device}`;
    this.#socket = connect({ ...target, noDelay: true });
    this.#socket.on("connect", () => {
      this.#socket.write(connectPacket(user, { user, password: secret }, KEEP_ALIVE_S));
    });
    this.#socket.on("data", (chunk: Buffer) => this.#read(chunk));
    // What went wrong is of no use to a device: it connects again.
    this.#socket.on("error", () => this.#end(undefined));
    this.#socket.on("close", () => this.#end(undefined));
  }

  send(id: number, message: string): void {
    this.publish("properties", id, message);
  }

  /** @param topic After the device's prefix. */
  publish(topic: string, id: number, message: string): void {
    let bytes = this.#topics.get(topic);
    if (bytes === undefined) {
      bytes = text(this.#prefix + topic);
      // Topics with ids in them are used once.
      if (this.#topics.size < 16) this.#topics.set(topic, bytes);
    }
    this.#socket.write(publishPacket(bytes, id, message));
  }

  drop(): void {
    this.#release();
    this.#socket.destroy();
  }

  close(): void {
    if (this.#isOver) return;
    this.#release();
    if (this.#isOpen) this.#socket.end(DISCONNECT_BYTES);
    else this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    if (this.#isOver) return; // What comes until the peer has closed its side, too.
    this.#isHeard = true;
    try {
      for (const packet of this.#reader.read(chunk)) {
        this.#take(packet);
        if (this.#isOver) return;
      }
    } catch {
      this.#end("unreadable");
    }
  }

  #take(packet: RawPacket): void {
    const { type, body } = packet;
    if (type === PUBACK) {
      const reason = reasonOf(body, 2);
      const id = body.readUInt16BE(0);
      if (reason < FAILURE_MIN) this.#events.acknowledged(id);
      else this.#events.refused(id, { reason: codeOf("puback", reason), isCertain: true });
    } else if (type === PUBLISH) {
      const { topic, id, payload } = readPublish(packet);
      if (id !== 0) this.#socket.write(pubackPacket(id));
      if (topic.startsWith(this.#prefix)) {
        this.#options.onMessage?.(topic.slice(this.#prefix.length), payload);
      }
    } else if (type === CONNACK) {
      const reason = reasonOf(body, 1);
      if (reason !== 0) return this.#end(codeOf("connack", reason));
      this.#opened();
    } else if (type === DISCONNECT) this.#end(codeOf("disconnect", reasonOf(body, 0)));
  }

  #opened(): void {
    this.#isOpen = true;
    this.#cancelTimer();
    this.#pingLater();
    const { subscriptions = [] } = this.#options;
    if (subscriptions.length > 0) {
      const filters = subscriptions.map((filter) => this.#prefix + filter);
      this.#socket.write(subscribePacket(SUBSCRIBE_ID, filters));
    }
    this.#events.opened();
  }

  /** A peer that was silent for two turns is gone: a half-open socket says nothing by itself. */
  #pingLater(): void {
    this.#cancelTimer = this.#options.clock.after(KEEP_ALIVE_S * 500, () => {
      if (!this.#isHeard) return this.#end(undefined);
      this.#isHeard = false;
      this.#socket.write(PINGREQ_BYTES);
      this.#pingLater();
    });
  }

  #end(reason: string | undefined): void {
    if (this.#isOver) return;
    this.drop();
    this.#events.closed(reason);
  }

  #release(): void {
    this.#isOver = true;
    this.#cancelTimer();
  }
}

function codeOf(packet: string, reason: number): string {
  return `${packet}_0x${reason.toString(16).padStart(2, "0")}`;
}
