/**
 * Peers that send as fast as their socket takes it and wait for no answer. What was acknowledged is
 * known, since acknowledgements come in order: the n-th is of the n-th message of its connection.
 */
import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { generate } from "mqtt-packet";
import { systemClock } from "../../runtime/clock.ts";
import type { DeviceLogin } from "../bench/load/options.ts";
import { SEQUENCE, SEQUENCE_MIN } from "../bench/load/payload.ts";

export interface FloodOptions {
  readonly port: number;
  readonly device: DeviceLogin;
  readonly version: 4 | 5;
  /** Length of a message's body. */
  readonly bodyBytes: number;
}

/** Bytes written at once; the next go out once the kernel has taken them. */
const BURST_BYTES = 64 * 1024;
const PUBACK = 0x40;

/** All flooders of a run, in a thread of their own so that the test's measures are of the server. */
export interface FloodStart {
  readonly mqtt: readonly FloodOptions[];
  readonly http: { readonly url: string; readonly devices: readonly DeviceLogin[] };
}

export interface FloodReport {
  readonly claims: readonly FloodClaim[];
  /** MQTT connections that the server has ended. */
  readonly closed: number;
  /** HTTP answers that were no 202. */
  readonly refused: number;
}

export interface FloodClaim {
  readonly device: DeviceLogin;
  readonly acknowledged: readonly number[];
}

export interface RunningFlood extends Disposable {
  /** Ends all flooders. */
  stop(): Promise<FloodReport>;
}

/** Resolves when its thread has begun to send. */
export async function startFlood(start: FloodStart): Promise<RunningFlood> {
  const worker = new Worker(import.meta.resolve("./flood_worker_main.ts"), { type: "module" });
  await new Promise<void>((resolve, reject) => {
    worker.onmessage = () => resolve();
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(start);
  });
  return {
    stop: () =>
      new Promise((resolve, reject) => {
        worker.onmessage = ({ data }: MessageEvent<FloodReport>) => resolve(data);
        worker.onerror = (event) => reject(new Error(event.message));
        worker.postMessage("stop");
      }),
    [Symbol.dispose]: () => worker.terminate(),
  };
}

/** One connection of MQTT, made again whenever the server ends it. */
export class MqttFlood {
  readonly device: DeviceLogin;
  /** Connections that the server has ended. */
  closed = 0;
  readonly #options: FloodOptions;
  readonly #acknowledged: number[] = [];
  #socket!: Socket;
  #isStopped = false;
  #sequence = SEQUENCE_MIN;
  /** Sequence of the oldest unanswered message of this connection. */
  #oldest = SEQUENCE_MIN;
  #rest: Buffer = Buffer.alloc(0);

  constructor(options: FloodOptions) {
    this.#options = options;
    this.device = options.device;
    this.#connect();
  }

  /** Ends it at once. Returns what was acknowledged. */
  stop(): readonly number[] {
    this.#isStopped = true;
    this.#socket.destroy();
    return this.#acknowledged;
  }

  #connect(): void {
    const { port, device, version } = this.#options;
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.#socket = socket;
    this.#oldest = this.#sequence;
    this.#rest = Buffer.alloc(0);
    socket.on("connect", () => {
      socket.write(generate({
        cmd: "connect",
        protocolId: "MQTT",
        protocolVersion: version,
        clean: true,
        clientId: "flood",
        keepalive: 0,
        username: `${device.product}/${device.device}`,
        password: Buffer.from(device.secret),
      }));
      this.#send();
    });
    socket.on("drain", () => this.#send());
    socket.on("data", (chunk) => this.#receive(chunk as Buffer));
    socket.on("error", () => {}); // It is closed, which is what happens to those who flood.
    socket.on("close", () => {
      if (this.#isStopped) return;
      this.closed++;
      this.#connect();
    });
  }

  #send(): void {
    if (this.#isStopped) return;
    const { device, version, bodyBytes } = this.#options;
    const packets: Buffer[] = [];
    for (let bytes = 0; bytes < BURST_BYTES;) {
      const sequence = this.#sequence++;
      const packet = generate({
        cmd: "publish",
        topic: `v1/${device.product}/${device.device}/properties`,
        payload: `{"${SEQUENCE}": ${sequence}`.padEnd(bodyBytes - 1) + "}",
        qos: 1,
        messageId: sequence % 65_535 + 1,
        dup: false,
        retain: false,
      }, { protocolVersion: version });
      bytes += packet.length;
      packets.push(packet);
    }
    if (this.#socket.write(Buffer.concat(packets))) systemClock.soon(() => this.#send());
  }

  /** Counts PUBACKs; of the other packets only the length matters, and no server sends long ones. */
  #receive(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (at + 2 <= bytes.length && at + 2 + bytes[at + 1]! <= bytes.length) {
      const isAccepted = bytes[at] === PUBACK && (bytes[at + 1] === 2 || bytes[at + 4] === 0);
      if (bytes[at] === PUBACK) {
        const sequence = this.#oldest++;
        const id = bytes.readUInt16BE(at + 2);
        if (id !== sequence % 65_535 + 1) throw new Error(`PUBACK ${id} is out of order`);
        if (isAccepted) this.#acknowledged.push(sequence);
      }
      at += 2 + bytes[at + 1]!;
    }
    this.#rest = bytes.subarray(at);
  }
}

export interface HttpFlood {
  /** Answers that were no 202. */
  readonly refused: number;
  stop(): Promise<FloodClaim>;
}

/** One device that posts again as soon as it is answered, whatever it is answered. */
export function startHttpFlood(url: string, device: DeviceLogin): HttpFlood {
  const acknowledged: number[] = [];
  const login = btoa(`${device.product}/${device.device}:${device.secret}`);
  let refused = 0;
  let isStopped = false;
  const run = async () => {
    for (let sequence = SEQUENCE_MIN; !isStopped; sequence++) {
      const response = await fetch(
        `${url}/ingest/v1/${device.product}/${device.device}/properties`,
        {
          method: "POST",
          headers: { Authorization: `Basic ${login}`, "Content-Type": "application/json" },
          body: `{"${SEQUENCE}": ${sequence}}`,
        },
      );
      await response.body?.cancel();
      if (response.status === 202) acknowledged.push(sequence);
      else refused++;
    }
  };
  const done = run();
  return {
    get refused() {
      return refused;
    },
    async stop() {
      isStopped = true;
      await done;
      return { device, acknowledged };
    },
  };
}
