/** Makes the product and the devices of a run through the API, and removes them. */
import { type Clock, waitMs } from "../../runtime/clock.ts";
import { ConflictError, UnavailableError } from "../../runtime/errors.ts";
import type { Random } from "../../runtime/random.ts";
import type { ApiClient } from "./api_client.ts";
import type { DeviceLogin } from "./link.ts";
import { MODEL } from "./signals.ts";

const SECRET_BYTES = 32;
const JOB_MS_MAX = 300_000;
const LOOK_MS = 100;
/** Requests at one time. */
const REMOVERS = 8;
const TAG = "simulated";

interface Job {
  readonly id: string;
  readonly status: string;
  readonly problem?: { readonly detail?: string };
}

export interface FleetSetup {
  readonly product: string;
  readonly logins: readonly DeviceLogin[];
}

/** @throws {ApiRefusal} @throws {ConflictError} Some devices were not made. */
export async function makeFleet(
  api: ApiClient,
  options: {
    readonly product: string;
    readonly devices: number;
    readonly clock: Clock;
    readonly random: Random;
  },
): Promise<FleetSetup> {
  const { clock, random, devices, product } = options;
  const width = String(devices).length;
  const logins = Array.from({ length: devices }, (_, index) => ({
    product,
    device: `d-${String(index + 1).padStart(width, "0")}`,
    secret: secretOf(random),
  }));
  await api.request("POST", "/api/v1/products", {
    key: product,
    name: "Simulated devices",
    mode: "strict",
    model: MODEL,
  });
  try {
    const lines = logins.map(({ device, secret }) =>
      JSON.stringify({ product, device, secret, tags: [TAG] })
    );
    const path = "/api/v1/jobs/device-import";
    await untilDone(api, await api.request<Job>("POST", path, lines.join("\n") + "\n"), clock);
    const { count } = await api.request<{ count?: number }>(
      "GET",
      `/api/v1/devices?product=${product}&count=true&limit=1`,
    );
    if (count !== devices) {
      throw new ConflictError(`Cannot simulate ${devices} devices: ${count} were made`);
    }
  } catch (fault) {
    await removeFleet(api, { product, logins });
    throw fault;
  }
  return { product, logins };
}

/** Twice is harmless. */
export async function removeFleet(api: ApiClient, { product, logins }: FleetSetup): Promise<void> {
  let next = 0;
  const removeSome = async () => {
    for (let at = next++; at < logins.length; at = next++) {
      await api.request("DELETE", `/api/v1/devices/${product}/${logins[at]!.device}`);
    }
  };
  await Promise.all(Array.from({ length: REMOVERS }, removeSome));
  await api.request("DELETE", `/api/v1/products/${product}`);
}

export function secretOf(random: Random): string {
  return random.bytes(SECRET_BYTES).toBase64({ alphabet: "base64url", omitPadding: true });
}

async function untilDone(api: ApiClient, started: Job, clock: Clock): Promise<void> {
  const untilMs = clock.monotonicMs() + JOB_MS_MAX;
  for (let job = started; job.status !== "done";) {
    if (job.status === "failed" || job.status === "cancelled") {
      throw new ConflictError(`Cannot make devices: ${job.problem?.detail ?? job.status}`);
    }
    if (clock.monotonicMs() > untilMs) {
      throw new UnavailableError("jobs", `Cannot make devices: job ${job.id} takes too long`);
    }
    await waitMs(clock, LOOK_MS);
    job = await api.request<Job>("GET", `/api/v1/jobs/${job.id}`);
  }
}
