/** Which devices a caller may know of, and what is shown of them. */
import { NotFoundError } from "../../../runtime/errors.ts";
import { deviceAddress } from "../../../actors/device/messages.ts";
import type { Device } from "../../../actors/device/registry.ts";
import { DEFAULT_PROJECT } from "../../../actors/registry/registry_store.ts";
import type { Caller, HttpPorts } from "../ports.ts";

export interface DeviceName {
  readonly product: string;
  readonly device: string;
}

export type DeviceStatus = "online" | "offline" | "never" | "disabled";

export interface DeviceView extends Device {
  readonly status: DeviceStatus;
  readonly lastSeenAt: number | null;
}

/** @throws {NotFoundError} For another project's things, in the words of what does not exist. */
export async function findDevice(
  ports: HttpPorts,
  caller: Caller | undefined,
  { product, device }: DeviceName,
): Promise<Device> {
  const found = isOwn(ports, caller, product)
    ? await ports.devices.get(product, device)
    : undefined;
  if (found === undefined) throw new NotFoundError(`Cannot find device "${product}/${device}"`);
  return found;
}

/** @returns `{product}/{device}` of a device that the caller may know of. */
export async function requireDevice(
  ports: HttpPorts,
  caller: Caller | undefined,
  name: DeviceName,
): Promise<string> {
  await findDevice(ports, caller, name);
  return `${name.product}/${name.device}`;
}

/** Whether the product, and so each of its devices, is of the caller's project. */
export function isOwn(
  ports: Pick<HttpPorts, "directory">,
  caller: Caller | undefined,
  product: string,
): boolean {
  return caller !== undefined && ports.directory.projectOf(product) === caller.project;
}

/** Whether an actor is of the caller's project; what is of no product is of `default`. */
export function isOwnActor(
  { directory }: Pick<HttpPorts, "directory">,
  caller: Caller | undefined,
  address: string,
): boolean {
  const [kind, product] = address.split("/", 2);
  const isOfDevice = kind === "device" || kind === "command";
  const project = isOfDevice ? directory.projectOf(product ?? "") : undefined;
  return (project ?? DEFAULT_PROJECT) === caller?.project;
}

export async function viewDevice(ports: HttpPorts, device: Device): Promise<DeviceView> {
  const state = await ports.peekState(deviceAddress(device.product, device.device));
  return viewOf(device, state?.link !== undefined, state?.lastSeenAtMs);
}

/** A device that was made just now: nothing came from it. */
export function viewNewDevice(device: Device): DeviceView {
  return viewOf(device, false, undefined);
}

/** By the view `presence`, which has a row of each device that was ever heard of. */
export async function viewDevices(
  ports: HttpPorts,
  devices: readonly Device[],
): Promise<DeviceView[]> {
  const rows = await ports.presence(devices.map((each) => `${each.product}/${each.device}`));
  return devices.map((device) => {
    const row = rows.get(`${device.product}/${device.device}`);
    return viewOf(device, row?.online === true, row?.atMs);
  });
}

function viewOf(device: Device, isOnline: boolean, lastSeenAtMs: number | undefined): DeviceView {
  const lastSeenAt = lastSeenAtMs ?? null;
  const connection = isOnline ? "online" : lastSeenAt === null ? "never" : "offline";
  return { ...device, status: device.enabled ? connection : "disabled", lastSeenAt };
}
