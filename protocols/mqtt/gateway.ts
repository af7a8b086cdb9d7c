/**
 * The MQTT gateway: MQTT 3.1.1 and 5 for devices, each under its own prefix. Not a broker (why:
 * `docs/decisions/`): what a device sends becomes a message of its actor, and what it gets comes from
 * there. TLS and WebSocket will be other listeners in front of the same connections.
 *
 * The caller's duties, in order:
 * 1. `deliver` downlinks only after the commit that asked for them.
 * 2. Dispose the gateway before the `Ingress`: draining waits for acknowledgements.
 */
import type { Buffer } from "node:buffer";
import { createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import type { Partition } from "../../runtime/actor/address.ts";
import { messageOf } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { untilDurable } from "../../runtime/log/ingress.ts";
import { networkOf } from "../../runtime/network_of.ts";
import type { DeviceDownlink } from "../../actors/device/messages.ts";
import { close, countClosed, forgetDevice, leave } from "./closing.ts";
import { Connection, PAUSE } from "./connection.ts";
import { deliver } from "./downlink.ts";
import { createFigures, type MqttFigures } from "./figures.ts";
import type { GatewayState, MqttPorts } from "./gateway_state.ts";
import { LoginThrottle } from "./login_throttle.ts";
import { OwedWrites } from "./owed_writes.ts";
import { acknowledgeSettled, finishTurn, handleHeld, receive } from "./packets.ts";
import { PendingAppends } from "./pending_appends.ts";
import { Retelling } from "./presence.ts";
import { REASON } from "./reason.ts";
import { SessionSweep } from "./session_sweep.ts";
import { Strangers } from "./strangers.ts";
import { closeStopped } from "./stopped.ts";
import { sweep } from "./sweep.ts";

export interface MqttGatewayOptions extends MqttPorts {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
}

export interface MqttGateway extends AsyncDisposable {
  readonly port: number;
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

const OWNER = Symbol("connection");
type OwnedSocket = Socket & { [OWNER]: Connection };

/** @throws If the port cannot be listened on. */
export async function startMqttGateway(options: MqttGatewayOptions): Promise<MqttGateway> {
  const state = createState(options);
  const server = createServer({ allowHalfOpen: true, noDelay: true }, acceptor(state));
  await listen(server, options);
  // A failed accept (no descriptors left) costs that peer only.
  server.on("error", (fault) => state.logger.error("accept failed", { fault: messageOf(fault) }));
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
    sweep(state);
    cancelSweep = state.clock.after(SWEEP_MS, sweepAgain);
  };
  cancelSweep = state.clock.after(SWEEP_MS, sweepAgain);
  const retelling = new Retelling(state);
  const sessionSweep = new SessionSweep(state);
  let drained: Promise<void> | undefined;
  return {
    port: (server.address() as AddressInfo).port,
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
      drained ??= drain(state, server).finally(() => {
        cancelSweep();
        retelling[Symbol.dispose]();
        sessionSweep[Symbol.dispose]();
        for (const unsubscribe of subscriptions) unsubscribe();
      }),
  };
}

function createState(ports: MqttPorts): GatewayState {
  const budget = { bytes: 0 };
  const strangers = new Strangers<Connection>();
  const { ingress, clock } = ports;
  // What a gateway before this one handed in: rows that are read earlier may be old.
  const before = untilDurable(ingress, ingress.offered);
  return {
    ...ports,
    readRow: (key) => before.then(() => ports.readRow(key)),
    readRows: (query) => before.then(() => ports.readRows(query)),
    figures: createFigures(budget, strangers),
    budget,
    strangers,
    throttle: new LoginThrottle(),
    owed: new OwedWrites(ingress),
    appends: new PendingAppends(),
    sockets: new Set(),
    byDevice: new Map(),
    away: new Map(),
    evicted: undefined,
    holding: [],
    isDraining: false,
    nowMs: clock.nowMs(),
  };
}

function listen(server: Server, options: MqttGatewayOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    const { host, port } = options;
    server.listen({ host, port, backlog: LIMITS.mqttBacklogMax }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** One set of listeners for all sockets: a closure for each would cost more than its connection. */
function acceptor(state: GatewayState): (socket: Socket) => void {
  function onData(this: OwnedSocket, chunk: Buffer): void {
    try {
      receive(state, this[OWNER], chunk);
    } catch (fault) {
      fail(state, this[OWNER], fault);
    }
  }
  function onEnd(this: OwnedSocket): void {
    endOfPeer(state, this[OWNER]);
  }
  function onDrain(this: OwnedSocket): void {
    const connection = this[OWNER];
    if (connection.isOpen && !connection.isPeerDone) connection.deadlineMs = 0;
    connection.unpause(PAUSE.unread, state.clock.monotonicMs());
  }
  function onClose(this: OwnedSocket): void {
    const connection = this[OWNER];
    leave(state, connection, "lost");
    connection.partial.clear();
    connection.stage = "closing";
    if (!state.sockets.delete(connection)) return;
    state.figures.sockets--;
    state.strangers.remove(connection);
  }
  return (socket) => {
    // A reset is reported as an error, and 'close' follows: nothing to do but to listen.
    socket.on("error", ignoreReset);
    if (state.isDraining || state.sockets.size >= LIMITS.mqttConnectionsMax) {
      state.figures.socketsRefused++;
      socket.destroy();
      return;
    }
    const network = networkOf(socket.remoteAddress ?? "");
    const nowMs = state.clock.monotonicMs();
    const connection = new Connection(socket, network, state.budget, nowMs);
    const owned = socket as OwnedSocket;
    owned[OWNER] = connection;
    state.sockets.add(connection);
    const oldest = state.strangers.add(connection, nowMs);
    if (oldest !== undefined) {
      countClosed(state, "unauthenticated_sockets");
      oldest.stage = "closing";
      oldest.socket.destroy();
    }
    state.figures.sockets++;
    state.figures.socketsAccepted++;
    owned.on("data", onData).on("end", onEnd).on("drain", onDrain).on("close", onClose);
  };
}

function ignoreReset(): void {}

/** A bug in handling one peer's bytes ends that peer's connection, not the gateway. */
function fail(state: GatewayState, connection: Connection, fault: unknown): void {
  const device = connection.identity?.key;
  state.logger.error("connection failed", { device, fault });
  close(state, connection, REASON.unspecified, "fault");
}

/** The peer sends no more; what it sent is still handled and acknowledged. */
function endOfPeer(state: GatewayState, connection: Connection): void {
  const { stage } = connection;
  if (stage === "new" || stage === "withheld" || stage === "closing") {
    leave(state, connection, "closed");
    connection.socket.destroy();
    return;
  }
  connection.isPeerDone = true;
  connection.deadlineMs = state.clock.monotonicMs() + LIMITS.acknowledgeMsMax;
  finishTurn(state, connection);
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
    if (connection.isOpen && connection.isHolding && !goOn(state, connection)) break;
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
async function drain(state: GatewayState, server: Server): Promise<void> {
  state.isDraining = true;
  const isServerClosed = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const connection of state.sockets) connection.pause(PAUSE.draining);
  await until(state, () => !state.sockets.values().some((one) => one.acks.length > 0));
  for (const connection of state.sockets) {
    close(state, connection, REASON.shuttingDown, "shutting_down");
  }
  await until(state, () => state.sockets.size === 0);
  for (const connection of state.sockets) connection.socket.destroy();
  await isServerClosed;
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
