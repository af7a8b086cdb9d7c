/** Records of the log as live events: what of them there is to tell, to which topics. */
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { TailRecord } from "../../runtime/log/log_tail.ts";
import type { PresenceRow, Sample } from "../device/messages.ts";
import type { DeviceStanding, DeviceStandings } from "../device/device_standing.ts";
import { PRESENCE } from "../device/views.ts";
import { decodeViewWrite } from "../device/views_reader.ts";
import { deviceKey } from "./topics.ts";

export interface LogEventsPorts extends Pick<DeviceStandings, "standing"> {
  publish(key: string, value: Json, atMs: number): void;
  wants(key: string): boolean;
  /** Key of the topic `devices` of a project. */
  devicesKey(project: string): string;
}

export type PresenceStatus = "online" | "offline" | "never" | "disabled" | "removed";

/** View that service calls are projected to; its rows name their device. */
export const CALLS = "calls";

const DECODER = new TextDecoder();

/** Publishes what the record tells; nothing if it tells nothing or cannot be read. */
export function publishRecord(record: TailRecord, ports: LogEventsPorts): void {
  if (record.class === "view") return publishRow(record, ports);
  if (!ports.wants(record.address)) return; // Given up meanwhile.
  const message = parsed(record.body);
  if (message === undefined) return;
  const { acceptedAtMs } = record;
  if (record.class === "ingress" && message.type === "properties") {
    if (!Array.isArray(message.samples)) return;
    const samples = (message.samples as unknown as readonly Sample[])
      .map(({ at = acceptedAtMs, values }) => ({ at, values }));
    ports.publish(record.address, { type: "properties", samples }, acceptedAtMs);
  } else if (record.class === "record" && message.type === "event" && isObject(message.body)) {
    const { event = null, at = null, data = null } = message.body;
    ports.publish(record.address, { type: "event", event, at, data }, acceptedAtMs);
  }
}

function publishRow({ body, acceptedAtMs }: TailRecord, ports: LogEventsPorts): void {
  const write = decodeViewWrite(body);
  if (write === undefined) return; // The reader of views says so in the log.
  if (write.view === PRESENCE) {
    const [product = "", device = ""] = write.key.split("/");
    const row = write.row as unknown as PresenceRow | undefined;
    const at = { product, device, atMs: acceptedAtMs };
    publishPresence(at, row, ports.standing(product, device), ports);
  } else if (write.view === CALLS) {
    const { row } = write;
    if (!isObject(row)) return;
    const key = deviceKey(String(row.product), String(row.device));
    ports.publish(key, { ...row, type: "call" }, acceptedAtMs);
  }
}

export function publishPresence(
  at: { readonly product: string; readonly device: string; readonly atMs: number },
  row: PresenceRow | undefined,
  standing: DeviceStanding | undefined,
  ports: Pick<LogEventsPorts, "publish" | "devicesKey">,
): void {
  const { product, device, atMs } = at;
  const status = statusOf(row, standing);
  const shown = { status, lastSeenAt: row?.atMs ?? null };
  ports.publish(deviceKey(product, device), { type: "presence", ...shown }, atMs);
  // Without a standing it is of no project: who removed it tells that (`registry_source.ts`).
  if (standing === undefined) return;
  ports.publish(ports.devicesKey(standing.project), { product, device, ...shown }, atMs);
}

function statusOf(
  row: PresenceRow | undefined,
  standing: DeviceStanding | undefined,
): PresenceStatus {
  if (standing === undefined) return "removed";
  if (!standing.isEnabled) return "disabled";
  if (row === undefined) return "never";
  return row.online ? "online" : "offline";
}

type JsonObject = { readonly [name: string]: Json | undefined };

/** No gateway and no actor makes another body; if one did, its reader says so in the log. */
function parsed(body: Uint8Array): JsonObject | undefined {
  try {
    const message: Json = JSON.parse(DECODER.decode(body));
    return isObject(message) ? message : undefined;
  } catch {
    return undefined;
  }
}

function isObject(json: Json | undefined): json is JsonObject {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}
