/**
 * The MQTT gateway: MQTT 3.1.1 and 5 for devices, each under its own prefix. Not a broker (why:
 * `docs/decisions/`): what a device sends becomes a message of its actor, and what it gets comes from
 * there.
 *
 * The caller's duties, in order:
 * 1. `deliver` downlinks only after the commit that asked for them.
 * 2. Dispose the gateway before the `Ingress`: draining waits for acknowledgements.
 */
import type { Partition } from "../../runtime/actor/address.ts";
import { untilDurable } from "../../runtime/log/ingress.ts";
import type { DeviceDownlink } from "../../actors/device/messages.ts";
import { close, fail, forgetDevice } from "./closing.ts";
import { type Connection, PAUSE } from "./connection.ts";
import { deliver } from "./downlink.ts";
import { createFigures, type MqttFigures } from "./figures.ts";
import type { GatewayState, MqttPorts } from "./gateway_state.ts";
import { type Handshake, listen, type Listener, listenTls } from "./listener.ts";
import { LoginThrottle } from "./login_throttle.ts";
import { OwedWrites } from "./owed_writes.ts";
import { acknowledgeSettled, finishTurn, handleHeld } from "./packets.ts";
import { PendingAppends } from "./pending_appends.ts";
import { Retelling } from "./presence.ts";
import { type QuotaLimits, Quotas } from "./quotas.ts";
import { RateHolds } from "./rate_holds.ts";
import { REASON } from "./reason.ts";
import { Retained } from "./retained.ts";
import { SessionSweep } from "./session_sweep.ts";
import { Strangers } from "./strangers.ts";
import { closeStopped } from "./stopped.ts";
import { sweep } from "./sweep.ts";
import { Wills } from "./wills.ts";
import { readTlsFiles, type TlsFiles, TlsReload } from "./tls_files.ts";

export interface MqttGatewayOptions extends MqttPorts {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly tls?: TlsFiles & { readonly port: number } | undefined;
  /** Default: none. */
  readonly limits?: QuotaLimits;
}

export interface MqttGateway extends AsyncDisposable {
  readonly port: number;
  /** Present if TLS is configured. */
  readonly tlsPort: number | undefined;
  /** Where devices reach it by each carrier. */
  urls(host: string): Record<string, string>;
  /** Logged-in connections. */
  readonly connections: number;
  readonly figures: Readonly<MqttFigures>;
  /** @returns False if the device is not connected here or does not want it: nothing was sent. */
  deliver(product: string, device: string, downlink: DeviceDownlink): boolean;
  /**
   * Tells the actors of all connected devices and of those in `untold` how they are, at
   * `mqttRetellsPerSecondMax`: after a restart of the log, when effects of its last commits may be
   * lost. Each device is offered what differs.
   */
  tellAll(): void;
  /** Something was added to `untold`. */
  tellUntold(): void;
  /** Closes the connection of a device, if there is one. `reason` is a constant, for presence. */
  close(product: string, device: string, reason: string): void;
}

/** How often timeouts are looked at, for all connections together. */
const SWEEP_MS = 1_000;
/** How long draining waits for acknowledgements, and then for peers to close. */
const DRAIN_MS_MAX = 2_000;

/** @throws If a port cannot be listened on, or a file of `tls` not be used. */
export async function startMqttGateway(options: MqttGatewayOptions): Promise<MqttGateway> {
  const state = createState(options);
  const listeners = await openListeners(state, options);
  void state.wills.load();
  void state.retained.load();
  const subscriptions = [
    options.ingress.onSettled((settled) => settle(state, settled)),
    options.ingress.onRoom(roomListener(state)),
    options.directory.onRevoked((product, device, reason) => {
      if (reason === "device_deleted") forgetDevice(state, `${product}/${device}`, reason);
      else closeDevice(state, product, device, reason);
    }),
    options.stopped.onStopped((partition) => closePartition(state, partition)),
  ];
  let cancelSweep = () => {};
  const sweepAgain = () => {
    try {
      sweep(state);
    } catch (fault) { // The next one goes on with the others.
      state.logger.error("sweep failed", { fault });
    }
    cancelSweep = state.clock.after(SWEEP_MS, sweepAgain);
  };
  cancelSweep = state.clock.after(SWEEP_MS, sweepAgain);
  const retelling = new Retelling(state);
  const sessionSweep = new SessionSweep(state);
  let drained: Promise<void> | undefined;
  return {
    port: listeners.plain.port,
    tlsPort: listeners.tls?.port,
    urls: (host) => urlsOf(host, listeners),
    figures: state.figures,
    get connections() {
      return state.figures.connections;
    },
    deliver: (product, device, downlink) => deliver(state, product, device, downlink),
    tellAll() {
      for (const key of state.byDevice.keys()) state.untold.add(key);
      retelling.plan();
    },
    tellUntold: () => retelling.plan(),
    close: (product, device, reason) => closeDevice(state, product, device, reason),
    [Symbol.asyncDispose]: () =>
      drained ??= drain(state, listeners).finally(() => {
        state.wills[Symbol.dispose]();
        state.rateHolds[Symbol.dispose]();
        state.retained[Symbol.dispose]();
        cancelSweep();
        listeners.reload?.[Symbol.dispose]();
        retelling[Symbol.dispose]();
        sessionSweep[Symbol.dispose]();
        for (const unsubscribe of subscriptions) unsubscribe();
      }),
  };
}

function createState(ports: MqttGatewayOptions): GatewayState {
  const budget = { bytes: 0 };
  const strangers = new Strangers<Connection | Handshake>();
  const { ingress, clock } = ports;
  // What a gateway before this one handed in: rows that are read earlier may be old.
  const before = untilDurable(ingress, ingress.offered);
  const state: GatewayState = {
    ...ports,
    readRow: (key) => before.then(() => ports.readRow(key)),
    readRows: (query) => before.then(() => ports.readRows(query)),
    figures: createFigures(budget, strangers, () => retained),
    budget,
    strangers,
    throttle: new LoginThrottle(),
    hasClientCa: ports.tls?.clientCa !== undefined,
    quotas: new Quotas(ports.limits ?? {}, clock, ports.directory),
    rateHolds: new RateHolds(clock, (connection) => {
      const isDone = goOn(state, connection);
      if (!isDone && !connection.isRateHeld && connection.isHolding) state.holding.push(connection);
    }),
    owed: new OwedWrites(ingress),
    get wills() {
      return wills;
    },
    get retained() {
      return retained;
    },
    appends: new PendingAppends(),
    sockets: new Set(),
    handshakes: new Set(),
    byDevice: new Map(),
    away: new Map(),
    evicted: undefined,
    holding: [],
    copyBytes: 0,
    isDraining: false,
    nowMs: clock.nowMs(),
  };
  const wills = new Wills(state);
  const retained = new Retained(state);
  return state;
}

interface Listeners {
  readonly plain: Listener;
  readonly tls: Listener | undefined;
  readonly reload: TlsReload | undefined;
}

function urlsOf(host: string, { plain, tls }: Listeners): Record<string, string> {
  const urls = { mqtt: `mqtt://${host}:${plain.port}`, ws: `ws://${host}:${plain.port}/mqtt` };
  if (tls === undefined) return urls;
  return { ...urls, mqtts: `mqtts://${host}:${tls.port}`, wss: `wss://${host}:${tls.port}/mqtt` };
}

async function openListeners(
  state: GatewayState,
  { host, port, tls }: MqttGatewayOptions,
): Promise<Listeners> {
  const material = tls === undefined ? undefined : await readTlsFiles(tls);
  const plain = await listen(state, host, port);
  if (tls === undefined || material === undefined) {
    return { plain, tls: undefined, reload: undefined };
  }
  try {
    const secure = await listenTls(state, host, tls.port, material);
    const reload = new TlsReload(tls, material, state, (next) => secure.use(next));
    return { plain, tls: secure, reload };
  } catch (fault) {
    await plain.close();
    throw fault;
  }
}

function settle(state: GatewayState, settled: number): void {
  for (const connections of state.appends.take(settled)) {
    for (const connection of connections) {
      try {
        acknowledgeSettled(state, connection);
      } catch (fault) {
        fail(state, connection, fault);
      }
    }
  }
}

/** Room may be announced from within `offer`; held packets are handled after what is in hand. */
function roomListener(state: GatewayState): () => void {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    state.clock.soon(() => {
      isDue = false;
      handleHolding(state);
    });
  };
}

function handleHolding(state: GatewayState): void {
  if (!state.owed.flush()) return;
  const holding = state.holding;
  let count = 0;
  while (count < holding.length) {
    const connection = holding[count]!;
    const isDue = connection.isOpen && connection.isHolding && !connection.isRateHeld;
    if (isDue && !goOn(state, connection) && !connection.isRateHeld) break;
    count++;
  }
  holding.splice(0, count);
  // The one that found no room again has had its turn.
  if (count > 0 && holding.length > 1) holding.push(holding.shift()!);
}

/** False if it has to wait again. */
function goOn(state: GatewayState, connection: Connection): boolean {
  try {
    const isDone = handleHeld(state, connection);
    finishTurn(state, connection);
    return isDone;
  } catch (fault) {
    fail(state, connection, fault);
    return true;
  }
}

function closeDevice(state: GatewayState, product: string, device: string, reason: string): void {
  const connection = state.byDevice.get(`${product}/${device}`);
  if (connection !== undefined) close(state, connection, REASON.administrative, reason);
}

function closePartition(state: GatewayState, partition: Partition): void {
  for (const connection of state.byDevice.values()) {
    if (connection.identity!.target.partition !== partition) continue;
    try {
      closeStopped(state, connection);
    } catch (fault) {
      fail(state, connection, fault);
    }
  }
}

/** Stops accepting and reading, waits for what is acknowledged soon, and closes all connections. */
async function drain(state: GatewayState, { plain, tls }: Listeners): Promise<void> {
  state.isDraining = true;
  const areClosed = Promise.all([plain.close(), tls?.close()]);
  for (const { socket } of state.handshakes) socket.destroy();
  for (const connection of state.sockets) connection.pause(PAUSE.draining);
  await until(state, () => !state.sockets.values().some((one) => one.acks.length > 0));
  for (const connection of state.sockets) {
    close(state, connection, REASON.shuttingDown, "shutting_down");
  }
  await until(state, () => state.sockets.size === 0);
  for (const connection of state.sockets) connection.socket.destroy();
  await areClosed;
  state.owed.flush();
}

/** Resolves when `isDone`, or after `DRAIN_MS_MAX`. */
function until(state: GatewayState, isDone: () => boolean): Promise<void> {
  const deadlineMs = state.clock.monotonicMs() + DRAIN_MS_MAX;
  return new Promise((resolve) => {
    const look = () => {
      if (isDone() || state.clock.monotonicMs() >= deadlineMs) return resolve();
      state.ingress.flushIfDue();
      state.clock.after(10, look);
    };
    look();
  });
}
