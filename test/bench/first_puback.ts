/** A device that tries until the server takes its message: for the time of a start. */
import { systemClock, waitMs } from "../../runtime/clock.ts";
import { concatBytes } from "./load/wire.ts";
import { mqttWire } from "./load/mqtt_wire.ts";
import { SEQUENCE_MIN } from "./load/payload.ts";
import type { DeviceLogin } from "./load/options.ts";

const RETRY_MS = 5;

/** Monotonic time of the first PUBACK. Throws when `withinMs` passed. */
export async function firstPuback(
  port: number,
  login: DeviceLogin,
  withinMs: number,
): Promise<number> {
  const untilMs = systemClock.monotonicMs() + withinMs;
  const template = mqttWire.template(login);
  mqttWire.stamp(template.bytes, 0, template, SEQUENCE_MIN);
  const packets = concatBytes([mqttWire.greeting!(login), template.bytes]);
  while (systemClock.monotonicMs() < untilMs) {
    if (await isAcknowledged(port, packets)) return systemClock.monotonicMs();
    await waitMs(systemClock, RETRY_MS);
  }
  throw new Error(`No PUBACK from port ${port} within ${withinMs} ms`);
}

/** CONNECT and PUBLISH in one write, as the standard allows; false if there is no server yet. */
async function isAcknowledged(port: number, packets: Uint8Array): Promise<boolean> {
  try {
    using socket = await Deno.connect({ hostname: "127.0.0.1", port });
    await socket.write(packets);
    return await readsPuback(socket);
  } catch (fault) {
    const isEarly = fault instanceof Deno.errors.ConnectionRefused ||
      fault instanceof Deno.errors.ConnectionReset;
    if (isEarly) return false;
    throw fault;
  }
}

async function readsPuback(socket: Deno.TcpConn): Promise<boolean> {
  let isDone = false;
  const sink = {
    opened: () => {},
    refused: (code: string) => {
      throw new Error(`Refused: ${code}`);
    },
    acknowledged: () => void (isDone = true),
    rejected: () => {},
  };
  const bytes = new Uint8Array(4_096);
  let length = 0;
  while (!isDone) {
    const read = await socket.read(bytes.subarray(length));
    if (read === null) return false;
    length += read;
    const used = mqttWire.read(bytes, length, sink);
    bytes.copyWithin(0, used, length);
    length -= used;
  }
  return true;
}
