/**
 * How many connections and how much of them an operator allows a device, an address and a project.
 * All are off unless configured; nothing is done per message then.
 */
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { DeviceDirectory } from "../../actors/device/directory.ts";
import { AwayRates } from "./away_rates.ts";
import type { Connection, Identity } from "./connection.ts";
import { MinuteCounts } from "./minute_counts.ts";
import { Bucket, type DeviceRates, RateMeter } from "./rate_meter.ts";
import { REASON } from "./reason.ts";

/** As configured (`mqttLimits`); absent: no limit. */
export interface QuotaLimits {
  readonly connectionPacketsPerSecond?: number | undefined;
  readonly deviceMessagesPerSecond?: number | undefined;
  readonly deviceBytesPerSecond?: number | undefined;
  readonly deviceConnectsPerMinute?: number | undefined;
  readonly deviceSubscriptions?: number | undefined;
  readonly addressConnections?: number | undefined;
  readonly addressConnectsPerMinute?: number | undefined;
  readonly projectConnections?: number | undefined;
  readonly projectMessagesPerSecond?: number | undefined;
}

/** A refused CONNECT: `REASON` for MQTT 5, and a constant for figures. */
export interface QuotaRefusal {
  readonly code: number;
  readonly reason: string;
}

/** A burst of packets that is no flood: what a client has queued while it was away. */
const PACKETS_BURST_SECONDS = 10;

export class Quotas {
  readonly #limits: QuotaLimits;
  readonly #clock: Clock;
  readonly #directory: DeviceDirectory;
  readonly #connectsOfAddress = new MinuteCounts();
  readonly #connectsOfDevice = new MinuteCounts();
  /** Logged-in connections; by network, and by project. */
  readonly #ofAddress = new Map<string, number>();
  readonly #ofProject = new Map<string, number>();
  readonly #messagesOfProject = new Map<string, Bucket>();
  readonly #awayRates = new AwayRates();

  constructor(limits: QuotaLimits, clock: Clock, directory: DeviceDirectory) {
    this.#limits = limits;
    this.#clock = clock;
    this.#directory = directory;
  }

  get subscriptionsMax(): number {
    return Math.min(
      this.#limits.deviceSubscriptions ?? Infinity,
      LIMITS.mqttSubscriptionsMax,
    );
  }

  /** A CONNECT of an address has come, whoever it is. */
  refusalOfConnect(network: string): QuotaRefusal | undefined {
    const max = this.#limits.addressConnectsPerMinute;
    if (max === undefined) return undefined;
    const nowMs = this.#clock.monotonicMs();
    if (this.#connectsOfAddress.of(network, nowMs) >= max) return ADDRESS_CONNECTS;
    this.#connectsOfAddress.add(network, nowMs);
    return undefined;
  }

  /** A login was right. @param old The connection that it takes over, which is counted no more then. */
  refusalOfLogin(
    network: string,
    { key, product }: Identity,
    old: Connection | undefined,
  ): QuotaRefusal | undefined {
    const { deviceConnectsPerMinute, addressConnections, projectConnections } = this.#limits;
    if (deviceConnectsPerMinute !== undefined) {
      const nowMs = this.#clock.monotonicMs();
      if (this.#connectsOfDevice.of(key, nowMs) >= deviceConnectsPerMinute) return DEVICE_CONNECTS;
      this.#connectsOfDevice.add(key, nowMs);
    }
    if (addressConnections !== undefined) {
      const others = (this.#ofAddress.get(network) ?? 0) - Number(old?.network === network);
      if (others >= addressConnections) return ADDRESS_CONNECTIONS;
    }
    if (projectConnections !== undefined && old === undefined) {
      const others = this.#ofProject.get(this.#projectOf(product)) ?? 0;
      if (others >= projectConnections) return PROJECT_CONNECTIONS;
    }
    return undefined;
  }

  /** It is logged in. */
  entered(connection: Connection): void {
    this.#count(connection, 1);
    connection.meter = this.#meterOf(connection.identity!);
  }

  /** It is no more; once for each that entered. */
  left(connection: Connection): void {
    this.#count(connection, -1);
    const { identity, meter } = connection;
    if (meter === undefined) return;
    this.#awayRates.keep(identity!.key, meter.device, this.#clock.monotonicMs());
  }

  #count({ network, identity }: Connection, change: number): void {
    const { addressConnections, projectConnections } = this.#limits;
    if (addressConnections !== undefined) add(this.#ofAddress, network, change);
    if (projectConnections !== undefined) {
      add(this.#ofProject, this.#projectOf(identity!.product), change);
    }
  }

  #meterOf({ key, product }: Identity): RateMeter | undefined {
    const { connectionPacketsPerSecond, deviceMessagesPerSecond, deviceBytesPerSecond } =
      this.#limits;
    const nowMs = this.#clock.monotonicMs();
    const bucket = (perSecond: number | undefined, seconds: number) =>
      perSecond === undefined ? undefined : new Bucket(perSecond, perSecond * seconds, nowMs);
    const packets = bucket(connectionPacketsPerSecond, PACKETS_BURST_SECONDS);
    const device: DeviceRates = this.#awayRates.take(key) ??
      { messages: bucket(deviceMessagesPerSecond, 1), bytes: bucket(deviceBytesPerSecond, 1) };
    const project = this.#bucketOfProject(product, nowMs);
    const all = [packets, device.messages, device.bytes, project];
    const isMetered = all.some((bucket) => bucket !== undefined);
    return isMetered ? new RateMeter({ packets, device, project }) : undefined;
  }

  /** As many as there are projects with a device that connected. */
  #bucketOfProject(product: string, nowMs: number): Bucket | undefined {
    const perSecond = this.#limits.projectMessagesPerSecond;
    if (perSecond === undefined) return undefined;
    const project = this.#projectOf(product);
    const known = this.#messagesOfProject.get(project) ?? new Bucket(perSecond, perSecond, nowMs);
    this.#messagesOfProject.set(project, known);
    return known;
  }

  #projectOf(product: string): string {
    return this.#directory.projectOf(product) ?? "";
  }
}

const ADDRESS_CONNECTS: QuotaRefusal = { code: REASON.rateExceeded, reason: "address_connects" };
const DEVICE_CONNECTS: QuotaRefusal = { code: REASON.rateExceeded, reason: "device_connects" };
const ADDRESS_CONNECTIONS = { code: REASON.quotaExceeded, reason: "address_connections" };
const PROJECT_CONNECTIONS = { code: REASON.quotaExceeded, reason: "project_connections" };

function add(counts: Map<string, number>, key: string, change: number): void {
  const count = (counts.get(key) ?? 0) + change;
  if (count <= 0) counts.delete(key);
  else counts.set(key, count);
}
