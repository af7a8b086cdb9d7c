/** An MQTT peer on a raw socket: sends any bytes, and tells packets as they come. */
import { Buffer } from "node:buffer";
import { connect as connectSocket, type Socket } from "node:net";
import { generate, type IConnectPacket, type Packet, parser } from "mqtt-packet";
import { waitFor } from "./wait.ts";

const WITHIN_MS = 5_000;

export interface RawOptions {
  readonly version?: 4 | 5;
}

export class RawMqtt implements Disposable {
  readonly socket: Socket;
  readonly version: 4 | 5;
  /** All that was received and not taken by `next`, in order. */
  readonly packets: Packet[] = [];
  /** Chunks received, as they came. */
  readonly chunks: Buffer[] = [];
  isClosed = false;

  private constructor(socket: Socket, version: 4 | 5) {
    this.socket = socket;
    this.version = version;
    const decoder = parser({ protocolVersion: version });
    decoder.on("packet", (packet) => this.packets.push(packet));
    decoder.on("error", (fault) => {
      throw fault;
    });
    socket.on("data", (chunk: Buffer) => {
      this.chunks.push(Buffer.from(chunk));
      decoder.parse(chunk);
    });
    socket.on("error", () => this.isClosed = true);
    socket.on("end", () => this.isClosed = true);
    socket.on("close", () => this.isClosed = true);
  }

  static async open(port: number, options: RawOptions = {}): Promise<RawMqtt> {
    const socket = connectSocket({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
    const peer = new RawMqtt(socket, options.version ?? 4);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", () => resolve());
      socket.once("error", reject);
    });
    return peer;
  }

  bytesOf(packet: Packet): Buffer {
    return generate(packet, { protocolVersion: this.version });
  }

  sendBytes(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  send(...packets: Packet[]): void {
    this.sendBytes(Buffer.concat(packets.map((packet) => this.bytesOf(packet))));
  }

  /** CONNECT of device `p/{device}` with its secret. Resolves with the CONNACK. */
  async login(device: string, more: Partial<IConnectPacket> = {}): Promise<Packet> {
    this.send(this.connectPacket(device, more));
    return await this.next("connack");
  }

  connectPacket(device: string, more: Partial<IConnectPacket> = {}): IConnectPacket {
    return {
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion: this.version,
      clean: true,
      clientId: "any",
      keepalive: 60,
      username: `p/${device}`,
      password: Buffer.from(`secret-of-${device}`),
      ...more,
    };
  }

  publish(topic: string, payload: string | Uint8Array, qos: 0 | 1 | 2, messageId = 0): Buffer {
    return this.bytesOf({
      cmd: "publish",
      topic,
      payload: typeof payload === "string" ? payload : Buffer.from(payload),
      qos,
      dup: false,
      retain: false,
      ...(qos === 0 ? {} : { messageId }),
    });
  }

  /** Takes the next packet, which must be of this kind. */
  // deno-lint-ignore no-explicit-any -- tests look at the fields of their kind
  async next(cmd: Packet["cmd"]): Promise<any> {
    const packet = await waitFor(() => this.packets.shift(), {
      what: `a ${cmd}`,
      withinMs: WITHIN_MS,
      everyMs: 1,
      actual: () => this.isClosed ? "closed" : "nothing",
    });
    if (packet.cmd !== cmd) {
      throw new Error(`expected ${cmd}, got ${JSON.stringify(packet)}`);
    }
    return packet;
  }

  /** Waits until the gateway has handled all that was sent: it answers a PINGREQ. */
  async roundTrip(): Promise<void> {
    this.send({ cmd: "pingreq" });
    const seen = this.packets.length;
    const index = await waitFor(() => {
      const at = this.packets.findIndex((packet, i) => i >= seen && packet.cmd === "pingresp");
      return at < 0 ? undefined : { at };
    }, { what: "a pingresp", withinMs: WITHIN_MS, everyMs: 1 });
    this.packets.splice(index.at, 1);
  }

  async closed(): Promise<void> {
    await waitFor(() => this.isClosed, { what: "the socket to be closed", withinMs: WITHIN_MS });
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}
