/** Devices as the API tells of them. */
import type { Answer } from "./types.ts";

export type Device = Answer<"/api/v1/devices", "get">["items"][number];
export const STATUSES = [
  "online",
  "offline",
  "never",
  "disabled",
] as const satisfies readonly Device["status"][];
export type NewDevice = Answer<"/api/v1/devices", "post">;

export interface DeviceName {
  readonly product: string;
  readonly device: string;
}

export function keyOf({ product, device }: DeviceName): string {
  return `${product}/${device}`;
}

/** What the live feed tells of a device's presence. */
export interface PresenceChange extends DeviceName {
  readonly status: Device["status"] | "removed";
  readonly lastSeenAt: number | null;
}
