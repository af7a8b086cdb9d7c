/** What all connections of a gateway share, and the ports it was given. */
import { createAddress, partitionOf } from "../../runtime/actor/address.ts";
import type { SuspendedAddresses } from "../../runtime/actor/suspended_actors.ts";
import type { Clock } from "../../runtime/clock.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Ingress, IngressTarget } from "../../runtime/log/ingress.ts";
import type {
  GatewayRow,
  GatewayRowQuery,
  StoredGatewayRow,
} from "../../runtime/log/partition_log.ts";
import { packHead } from "../../runtime/log/record.ts";
import type { StoppedPartitions } from "../../runtime/log/stopped_partitions.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { MessageTraces } from "../../actors/device/message_traces.ts";
import type { DeviceDirectory } from "../../actors/device/directory.ts";
import { deviceAddress, type DeviceMessage } from "../../actors/device/messages.ts";
import type { ByteBudget } from "./byte_queue.ts";
import type { Connection, Identity } from "./connection.ts";
import type { MqttFigures } from "./figures.ts";
import type { Handshake } from "./listener.ts";
import type { LoginThrottle } from "./login_throttle.ts";
import type { OwedWrites } from "./owed_writes.ts";
import type { PendingAppends } from "./pending_appends.ts";
import type { Quotas } from "./quotas.ts";
import type { RateHolds } from "./rate_holds.ts";
import type { Retained } from "./retained.ts";
import { encodeSession, type Session, sessionKey } from "./session.ts";
import type { Strangers } from "./strangers.ts";
import type { Wills } from "./wills.ts";

export interface MqttPorts {
  readonly ingress: Ingress;
  readonly directory: DeviceDirectory;
  /** A durable row that was written through the ingress. */
  readonly readRow: (key: string) => Promise<Uint8Array | undefined>;
  readonly readRows: (query: GatewayRowQuery) => Promise<readonly StoredGatewayRow[]>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Counts a refused message or point by its reason, a constant. */
  readonly refuse: (reason: string) => void;
  /** Actors whose messages are refused until an operator acts. */
  readonly suspended: SuspendedAddresses;
  readonly traces: Pick<MessageTraces, "accept" | "refuse">;
  /** Devices, `{product}/{device}`, whose actors are to be told how they are; outlives a gateway. */
  readonly untold: Set<string>;
  /** Partitions none of whose devices is connected until an operator acts. */
  readonly stopped: StoppedPartitions;
  /** Unique per start of this process. */
  readonly incarnation: string;
  /** Rises with every connection of the installation. */
  readonly nextEpoch: () => number;
}

export interface GatewayState extends MqttPorts {
  readonly figures: MqttFigures;
  readonly budget: ByteBudget;
  readonly throttle: LoginThrottle;
  /** A certificate of a device may be its login. */
  readonly hasClientCa: boolean;
  readonly quotas: Quotas;
  readonly rateHolds: RateHolds;
  readonly strangers: Strangers<Connection | Handshake>;
  readonly owed: OwedWrites;
  readonly wills: Wills;
  readonly retained: Retained;
  readonly appends: PendingAppends;
  readonly sockets: Set<Connection>;
  /** TLS sockets that are not among `sockets` yet. */
  readonly handshakes: Set<Handshake>;
  /** Logged-in connections by `{product}/{device}`. */
  readonly byDevice: Map<string, Connection>;
  /** Lasting sessions of absent devices, oldest first; what is not here is read from its row. */
  readonly away: Map<string, Session>;
  /** Devices whose sessions left memory while a page of rows is read; absent: none is. */
  evicted: Set<string> | undefined;
  /** Connections that wait for room in the log, longest first. */
  holding: Connection[];
  /** Of copies that wait, of all sessions: counted anew by each sweep, until then only added to. */
  copyBytes: number;
  isDraining: boolean;
  /** Epoch milliseconds when the bytes in hand were read: one look at the clock for all of them. */
  nowMs: number;
}

const ENCODER = new TextEncoder();
const PLACEMENT = { group: "things" } as const;

export function targetOf(product: string, device: string): IngressTarget {
  const to = createAddress("device", deviceAddress(product, device).slice("device/".length));
  return {
    partition: partitionOf(PLACEMENT, `${product}/${device}`),
    head: packHead({ to, budget: LIMITS.budgetPerRootRecord }),
  };
}

export function encodeMessage(message: DeviceMessage): Uint8Array {
  return ENCODER.encode(JSON.stringify(message));
}

/**
 * Offers a message of a connection; never before what the gateway itself owes.
 * @param row Written with it, or not at all.
 */
export function offer(
  state: GatewayState,
  target: IngressTarget,
  parts: readonly Uint8Array[],
  row?: GatewayRow,
): number | undefined {
  if (state.owed.length > 0 && !state.owed.flush()) return undefined;
  if (row === undefined) return state.ingress.offer(target, parts);
  return state.ingress.offerWithRows(target, parts, [row]);
}

/**
 * Offers the row of a lasting session; undefined if there is no room.
 * @param parts A message of the device, to be durable in the same step as the row; so are `rows`.
 */
export function offerSession(
  state: GatewayState,
  { key, target }: Identity,
  session: Session,
  parts?: readonly Uint8Array[],
  rows: readonly GatewayRow[] = [],
): number | undefined {
  if (state.owed.length > 0 && !state.owed.flush()) return undefined;
  const row = { key: sessionKey(key), value: encodeSession(session) };
  const append = parts === undefined
    ? state.ingress.offerRow(row.key, row.value)
    : state.ingress.offerWithRows(target, parts, [row, ...rows]);
  if (append === undefined) return undefined;
  session.rowAppend = append;
  session.hasRow = true;
  return append;
}

/** Keeps the session of a device that went away, in place of the oldest whose row is durable. */
export function keepSession(state: GatewayState, key: string, session: Session): void {
  state.away.delete(key);
  state.away.set(key, session);
  if (state.away.size <= LIMITS.mqttAwaySessionsMax) return;
  for (const [oldest, other] of state.away) {
    if (other.rowAppend > state.ingress.settled) continue;
    state.away.delete(oldest);
    state.evicted?.add(oldest);
    return;
  }
}

/** @param key `{product}/{device}`. */
export function isSuspended({ suspended }: GatewayState, key: string): boolean {
  return suspended.size > 0 && suspended.has(`device/${key}`);
}

/** Counts a message refused for good. */
export function countRefusal(state: GatewayState, reason: string): void {
  state.figures.refused++;
  state.refuse(reason);
}
