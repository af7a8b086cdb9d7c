/**
 * The sockets of a gateway: plain and TLS, and on both MQTT or WebSocket, by the first byte. Bounded
 * before their login: all of them together, those of one network, and what each may make us keep.
 */
import { Buffer } from "node:buffer";
import { createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { LIMITS } from "../../runtime/limits.ts";
import { networkOf } from "../../runtime/network_of.ts";
import { close, countClosed, fail, leave } from "./closing.ts";
import { Connection, PAUSE } from "./connection.ts";
import type { GatewayState } from "./gateway_state.ts";
import { finishTurn, receive } from "./packets.ts";
import type { TlsMaterial } from "./tls_files.ts";
import { upgradeOf, WebSocketReader } from "./web_socket.ts";

export interface Listener {
  readonly port: number;
  /** Accepts no more; resolves when the sockets it accepted are closed. */
  close(): Promise<void>;
}

export interface TlsListener extends Listener {
  /** For handshakes from now on. */
  use(material: TlsMaterial): void;
}

/** An accepted socket whose TLS handshake is not done. */
export interface Handshake {
  readonly socket: Socket;
  readonly network: string;
  /** Monotonic milliseconds. */
  readonly deadlineMs: number;
}

const OWNER = Symbol("connection");
type OwnedSocket = Socket & { [OWNER]: Connection };

const HEAD_END = "\r\n\r\n";
/** `G` of `GET`; an MQTT connection begins with 0x10. */
const GET = 0x47;

/** @throws If the port cannot be listened on. */
export async function listen(state: GatewayState, host: string, port: number): Promise<Listener> {
  const accept = acceptor(state);
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    if (hasRoom(state, socket)) accept(socket);
  });
  return await listening(state, server, host, port);
}

/** @throws If the port cannot be listened on. */
export async function listenTls(
  state: GatewayState,
  host: string,
  port: number,
  material: TlsMaterial,
): Promise<TlsListener> {
  const options = (material: TlsMaterial) => ({
    ...material,
    minVersion: "TLSv1.2" as const,
    // A login decides what a certificate is worth: most devices have none.
    requestCert: true,
    rejectUnauthorized: false,
  });
  const server = createTlsServer({
    ...options(material),
    allowHalfOpen: true,
    noDelay: true,
    handshakeTimeout: 2 * LIMITS.mqttConnectMsMax, // The sweep is sooner, and closes the socket.
  });
  const accept = acceptor(state);
  /** By address and port of the peer, all that both sides of a handshake have in common. */
  const handshakes = new Map<string, Handshake>();
  server.on("connection", (socket: Socket) => {
    if (hasRoom(state, socket)) beginHandshake(state, socket, handshakes);
  });
  server.on("secureConnection", (socket: TLSSocket) => {
    const handshake = handshakes.get(peerOf(socket));
    if (handshake === undefined) return void socket.destroy(); // It gave way meanwhile.
    endHandshake(state, handshakes, handshake);
    accept(socket);
  });
  server.on("tlsClientError", () => state.refuse("tls_handshake"));
  const listener = await listening(state, server, host, port);
  return { ...listener, use: (next) => server.setSecureContext(options(next)) };
}

async function listening(
  state: GatewayState,
  server: Server,
  host: string,
  port: number,
): Promise<Listener> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog: LIMITS.mqttBacklogMax }, () => {
      server.off("error", reject);
      resolve();
    });
  });
  // A failed accept (no descriptors left) costs that peer only.
  server.on("error", (fault) => state.logger.error("accept failed", { fault }));
  return {
    port: (server.address() as AddressInfo).port,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** False: the socket is closed at once. */
function hasRoom(state: GatewayState, socket: Socket): boolean {
  // A reset is reported as an error, and 'close' follows: nothing to do but to listen.
  socket.on("error", ignoreReset);
  const { sockets, handshakes } = state;
  if (!state.isDraining && sockets.size + handshakes.size < LIMITS.mqttConnectionsMax) return true;
  state.figures.socketsRefused++;
  socket.destroy();
  return false;
}

function beginHandshake(
  state: GatewayState,
  socket: Socket,
  handshakes: Map<string, Handshake>,
): void {
  const nowMs = state.clock.monotonicMs();
  const network = networkOf(socket.remoteAddress ?? "");
  const handshake = { socket, network, deadlineMs: nowMs + LIMITS.mqttConnectMsMax };
  const peer = peerOf(socket);
  handshakes.set(peer, handshake);
  state.handshakes.add(handshake);
  addStranger(state, handshake, nowMs);
  socket.on("close", () => {
    if (handshakes.get(peer) === handshake) endHandshake(state, handshakes, handshake);
  });
}

function endHandshake(
  state: GatewayState,
  handshakes: Map<string, Handshake>,
  handshake: Handshake,
): void {
  handshakes.delete(peerOf(handshake.socket));
  state.handshakes.delete(handshake);
  state.strangers.remove(handshake);
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

function addStranger(
  state: GatewayState,
  stranger: Connection | Handshake,
  nowMs: number,
): void {
  const oldest = state.strangers.add(stranger, nowMs);
  if (oldest === undefined) return;
  countClosed(state, "unauthenticated_sockets");
  if (oldest instanceof Connection) oldest.stage = "closing";
  oldest.socket.destroy();
}

/** One set of listeners for all sockets: a closure for each would cost more than its connection. */
function acceptor(state: GatewayState): (socket: Socket) => void {
  function onData(this: OwnedSocket, chunk: Buffer): void {
    const connection = this[OWNER];
    try {
      if (connection.webSocket !== undefined) receiveFrames(state, connection, chunk);
      else if (isUpgrading(connection, chunk)) upgrade(state, connection, chunk);
      else receive(state, connection, chunk);
    } catch (fault) {
      fail(state, connection, fault);
    }
  }
  function onEnd(this: OwnedSocket): void {
    const connection = this[OWNER];
    try {
      endOfPeer(state, connection);
    } catch (fault) {
      fail(state, connection, fault);
    }
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
    const nowMs = state.clock.monotonicMs();
    const network = networkOf(socket.remoteAddress ?? "");
    const connection = new Connection(socket, network, state.budget, nowMs);
    const owned = socket as OwnedSocket;
    owned[OWNER] = connection;
    state.sockets.add(connection);
    addStranger(state, connection, nowMs);
    state.figures.sockets++;
    state.figures.socketsAccepted++;
    owned.on("error", ignoreReset).on("data", onData).on("end", onEnd).on("drain", onDrain)
      .on("close", onClose);
  };
}

function ignoreReset(): void {}

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

function isUpgrading({ stage, partial }: Connection, chunk: Uint8Array): boolean {
  if (stage !== "new") return false;
  return (partial.length > 0 ? partial.view()[0] : chunk[0]) === GET;
}

/** Answers the opening request of a WebSocket once it has come. */
function upgrade(state: GatewayState, connection: Connection, chunk: Buffer): void {
  const { partial } = connection;
  const known = partial.length;
  partial.append(chunk);
  const text = Buffer.from(partial.view()).toString("latin1");
  const end = text.indexOf(HEAD_END, Math.max(0, known - HEAD_END.length));
  if (end < 0 && partial.length <= LIMITS.mqttConnectBytesMax) return;
  const answer = end < 0 ? undefined : upgradeOf(text.slice(0, end));
  partial.clear();
  if (answer !== undefined) connection.send(Buffer.from(answer.response, "latin1"));
  if (answer?.ok !== true) return close(state, connection, 0, "bad_upgrade");
  connection.webSocket = new WebSocketReader((pong) => connection.sendRaw(pong));
  const rest = chunk.subarray(end + HEAD_END.length - known);
  if (rest.length > 0) receiveFrames(state, connection, rest);
}

function receiveFrames(state: GatewayState, connection: Connection, chunk: Buffer): void {
  const reader = connection.webSocket!;
  const length = reader.read(chunk);
  if (length > 0) receive(state, connection, chunk.subarray(0, length));
  if (reader.fault !== 0) close(state, connection, 0, "bad_frame");
  else if (reader.isEnded) endOfPeer(state, connection);
}
