/** What a device may read about itself over HTTP: its shadow, and the time. */
import { z } from "@hono/zod-openapi";
import type { Clock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import { INITIAL_STATE, shadowOf } from "../../actors/device/device_state.ts";
import { deviceAddress, type DeviceState } from "../../actors/device/messages.ts";
import { faultResponse } from "./device_faults.ts";
import type { DevicePoster } from "./device_logins.ts";
import { readQuery } from "./request_input.ts";
import { answer } from "./responses.ts";
import { wholeNumber } from "./schemas.ts";

export interface ReadPorts {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Committed state of a device's actor. */
  peekState(address: string): Promise<DeviceState | undefined>;
}

export const TIME_QUERY = z.strictObject({
  sent: wholeNumber(
    { min: 0, max: 8.64e15 },
    "Sent back as it is: time of the device's clock when it asked, in milliseconds.",
    1_700_000_000_000,
  ).optional(),
});
const NOTHING = z.strictObject({});

export class DeviceReads {
  readonly #ports: ReadPorts;

  constructor(ports: ReadPorts) {
    this.#ports = ports;
  }

  /** Never rejects. */
  async read(
    kind: "shadow" | "time",
    request: Request,
    { product, device }: DevicePoster,
    instance: string,
  ): Promise<Response> {
    const { clock, logger } = this.#ports;
    const received = clock.nowMs();
    try {
      const url = new URL(request.url);
      if (kind === "time") {
        const { sent } = readQuery(TIME_QUERY, url);
        return answer(200, { sent, received, replied: clock.nowMs() });
      }
      readQuery(NOTHING, url);
      const state = await this.#ports.peekState(deviceAddress(product, device));
      return answer(200, shadowOf(state ?? INITIAL_STATE));
    } catch (fault) {
      return faultResponse(fault, instance, logger);
    }
  }
}
