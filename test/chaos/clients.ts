/**
 * Other people's clients under load: mosquitto_pub and npm `mqtt`. Each counts up in property `seq` of
 * one device and knows which of its messages were acknowledged. Neither lives through the kill: a
 * client that reconnects sends its unanswered messages again, which no server can tell from new ones.
 */
import mqtt from "mqtt";
import { SEQUENCE, SEQUENCE_MIN } from "../bench/load/payload.ts";
import type { DeviceLogin } from "../bench/load/options.ts";
import { linesOf, startProcess } from "../support/process.ts";
import type { TestRoost } from "../support/roost.ts";

/** One client of one device. */
export interface ChaosClient {
  readonly device: DeviceLogin;
  /** Ends it at once. Resolves with the sequence numbers that were acknowledged. */
  stop(): Promise<readonly number[]>;
}

/** Packet ids of one mosquitto_pub must not wrap: they say which line was acknowledged. */
const LINES_MAX = 60_000;
const MQTT_JS_IN_FLIGHT = 8;

/** `mosquitto_pub -l` fed with lines flat out; its debug output tells each PUBACK. */
export function startMosquittoPub(
  roost: TestRoost,
  device: DeviceLogin,
  options: {
    readonly command: string;
    readonly firstSequence: number;
    readonly directory: string;
  },
): ChaosClient {
  const path = `${options.directory}/${device.device}.lines`;
  const lines = Array.from({ length: LINES_MAX }, (_, i) => bodyOf(options.firstSequence + i));
  Deno.writeTextFileSync(path, lines.join("\n") + "\n");
  // stdbuf: a PUBACK that was printed must not be lost in a buffer when the client is killed.
  const process = startProcess("sh", [
    "-c",
    'exec stdbuf -oL "$@" < "$0"',
    path,
    options.command,
    ...["-h", "127.0.0.1", "-p", String(roost.mqttPort), "-i", device.device, "-q", "1", "-d"],
    ...["-u", `${device.product}/${device.device}`, "-P", device.secret],
    ...["-t", topicOf(device), "-l"],
  ]);
  const acknowledged: number[] = [];
  const read = (async () => {
    for await (const line of linesOf(process.stdout)) {
      const id = /received PUBACK \(Mid: (\d+), RC:0\)/.exec(line)?.[1];
      if (id !== undefined) acknowledged.push(options.firstSequence + Number(id) - 1);
    }
  })();
  return {
    device,
    stop: async () => {
      await process[Symbol.asyncDispose]();
      await read;
      return acknowledged;
    },
  };
}

/** npm `mqtt`, v5, eight unanswered messages at a time. Resolves when it is connected. */
export async function startMqttJs(
  roost: TestRoost,
  device: DeviceLogin,
  options: { readonly firstSequence: number },
): Promise<ChaosClient> {
  const client = mqtt.connect(`mqtt://127.0.0.1:${roost.mqttPort}`, {
    protocolVersion: 5,
    clientId: device.device,
    username: `${device.product}/${device.device}`,
    password: device.secret,
    reconnectPeriod: 0,
  });
  await new Promise<void>((resolve, reject) => {
    client.once("connect", () => resolve());
    client.once("error", reject);
  });
  client.on("error", () => {}); // The kill breaks it, which is what it is here for.
  const acknowledged: number[] = [];
  let next = options.firstSequence;
  let isStopped = false;
  const sendOne = () => {
    if (isStopped || !client.connected) return;
    const sequence = next++;
    client.publish(topicOf(device), bodyOf(sequence), { qos: 1 }, (fault) => {
      if (fault) return;
      acknowledged.push(sequence);
      sendOne();
    });
  };
  for (let i = 0; i < MQTT_JS_IN_FLIGHT; i++) sendOne();
  return {
    device,
    stop: async () => {
      isStopped = true;
      await client.endAsync(true);
      return acknowledged;
    },
  };
}

/** First sequence number of a round: far enough apart that rounds never meet. */
export function firstSequenceOf(round: number): number {
  return SEQUENCE_MIN + round * 10_000_000;
}

function topicOf(device: DeviceLogin): string {
  return `v1/${device.product}/${device.device}/properties`;
}

function bodyOf(sequence: number): string {
  return `{"${SEQUENCE}":${sequence}}`;
}
