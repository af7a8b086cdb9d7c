/**
 * The server's end of a WebSocket (RFC 6455) on the raw bytes of a socket: its payload is passed on as
 * it comes, so that nothing of a frame is kept, whatever length it announces, and a socket that is not
 * read holds its peer back. Without extensions, as none is offered.
 */
import { Buffer } from "node:buffer";
import { hash } from "node:crypto";

const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** Status codes of section 7.4.1 that we send. */
export const STATUS = {
  normal: 1000,
  protocolError: 1002,
  unsupported: 1003,
} as const;

const CONTROL_BYTES_MAX = 125;
/** First two bytes, eight of a length, four of a mask. */
const HEADER_BYTES_MAX = 14;

/** Takes frames apart. Once `fault` or `isEnded` is set, nothing more is taken. */
export class WebSocketReader {
  /** A status to close with; 0: none. */
  fault = 0;
  /** The peer sends no more. */
  isEnded = false;
  readonly #pong: (frame: Uint8Array) => void;
  readonly #header = new Uint8Array(HEADER_BYTES_MAX);
  #headerLength = 0;
  #opcode = 0;
  /** Payload bytes of the frame in hand that have not come; -1: its header has not. */
  #left = -1;
  #maskAt = 0;
  #maskTurn = 0;
  /** A data message has begun and not ended. */
  #isFragmented = false;
  readonly #control: number[] = [];

  /** @param pong Takes a frame that is to be sent at once. */
  constructor(pong: (frame: Uint8Array) => void) {
    this.#pong = pong;
  }

  /**
   * Moves the payload in `chunk` to its start, unmasked: one piece, however many frames it came in.
   * @returns How many bytes that are.
   */
  read(chunk: Uint8Array): number {
    let to = 0;
    let at = 0;
    while (at < chunk.length && this.fault === 0 && !this.isEnded) {
      if (this.#left < 0) {
        this.#header[this.#headerLength++] = chunk[at++]!;
        this.#readHeader();
      } else {
        const count = Math.min(this.#left, chunk.length - at);
        if (this.#opcode >= OPCODE.close) this.#keepControl(chunk, at, count);
        else to = this.#unmask(chunk, at, count, to);
        at += count;
        this.#left -= count;
      }
      if (this.#left === 0) this.#endFrame();
    }
    return to;
  }

  #readHeader(): void {
    const header = this.#header;
    if (this.#headerLength < 2) return;
    const short = header[1]! & 127;
    const lengthBytes = short < 126 ? 0 : short === 126 ? 2 : 8;
    if (this.#headerLength === 2) this.#checkHeader(short);
    if (this.#headerLength < 6 + lengthBytes) return;
    let length = lengthBytes === 0 ? short : 0;
    for (let i = 2; i < 2 + lengthBytes; i++) length = length * 256 + header[i]!;
    if (length > Number.MAX_SAFE_INTEGER) this.fault = STATUS.protocolError;
    this.#maskAt = 2 + lengthBytes;
    this.#maskTurn = 0;
    this.#left = length;
  }

  #checkHeader(short: number): void {
    const [first, second] = this.#header;
    const isFinal = (first! & 128) !== 0;
    const opcode = this.#opcode = first! & 15;
    const isControl = opcode >= OPCODE.close;
    const isKnown = opcode <= OPCODE.binary || (isControl && opcode <= OPCODE.pong);
    const isInOrder = isControl
      ? isFinal && short <= CONTROL_BYTES_MAX
      // A continuation of something, or the first frame of a message.
      : (opcode === OPCODE.continuation) === this.#isFragmented;
    const isMasked = (second! & 128) !== 0;
    const isPlain = (first! & 0x70) === 0; // No extension was agreed on.
    if (!isKnown || !isInOrder || !isMasked || !isPlain) this.fault = STATUS.protocolError;
    else if (opcode === OPCODE.text) this.fault = STATUS.unsupported;
    else if (!isControl) this.#isFragmented = !isFinal;
  }

  #unmask(chunk: Uint8Array, at: number, count: number, to: number): number {
    const { 0: a, 1: b, 2: c, 3: d } = this.#header.subarray(this.#maskAt, this.#maskAt + 4);
    const mask = [a!, b!, c!, d!];
    let turn = this.#maskTurn;
    for (let i = 0; i < count; i++) chunk[to + i] = chunk[at + i]! ^ mask[turn++ & 3]!;
    this.#maskTurn = turn & 3;
    return to + count;
  }

  #keepControl(chunk: Uint8Array, at: number, count: number): void {
    for (let i = 0; i < count; i++) {
      this.#control.push(chunk[at + i]! ^ this.#header[this.#maskAt + (this.#maskTurn++ & 3)]!);
    }
  }

  #endFrame(): void {
    this.#left = -1;
    this.#headerLength = 0;
    const payload = Uint8Array.from(this.#control);
    this.#control.length = 0;
    if (this.#opcode === OPCODE.ping) this.#pong(frameOf(OPCODE.pong, payload));
    if (this.#opcode === OPCODE.close) this.isEnded = true;
  }
}

/** Bytes for the peer in one binary frame. */
export function encodeBinary(bytes: Uint8Array): Uint8Array {
  return frameOf(OPCODE.binary, bytes);
}

/** The last frame. */
export function encodeClose(status: number): Uint8Array {
  return frameOf(OPCODE.close, Uint8Array.of(status >> 8, status));
}

function frameOf(opcode: number, payload: Uint8Array): Uint8Array {
  const { length } = payload;
  const start = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const frame = Buffer.allocUnsafe(start + length);
  frame[0] = 128 | opcode;
  frame[1] = start === 2 ? length : start === 4 ? 126 : 127;
  if (start === 4) frame.writeUInt16BE(length, 2);
  if (start === 10) frame.writeBigUInt64BE(BigInt(length), 2);
  frame.set(payload, start);
  return frame;
}

export type Upgrade =
  | { readonly ok: true; readonly response: string }
  /** An HTTP response, after which the connection ends. */
  | { readonly ok: false; readonly response: string };

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const LINE_END = "\r\n";

/**
 * The answer to an opening request for `/mqtt` with subprotocol `mqtt` (MQTT 5: 6.0.0-3, 6.0.0-4).
 * @param head The request up to and without its empty line, as Latin-1.
 */
export function upgradeOf(head: string): Upgrade {
  const [requestLine = "", ...lines] = head.split(LINE_END);
  const [method, target = "", version] = requestLine.split(" ");
  if (method !== "GET" || version !== "HTTP/1.1") return refused("400 Bad Request");
  if (target.split("?", 1)[0] !== "/mqtt") return refused("404 Not Found");
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (colon <= 0) return refused("400 Bad Request");
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers.set(name, headers.has(name) ? `${headers.get(name)},${value}` : value);
  }
  const isUpgrade = tokensOf(headers.get("upgrade")).includes("websocket") &&
    tokensOf(headers.get("connection")).includes("upgrade");
  if (!isUpgrade || headers.get("sec-websocket-version") !== "13") {
    return refused("426 Upgrade Required", "Upgrade: websocket", "Sec-WebSocket-Version: 13");
  }
  const key = headers.get("sec-websocket-key") ?? "";
  if (!/^[A-Za-z0-9+/]{22}==$/.test(key)) return refused("400 Bad Request");
  if (!tokensOf(headers.get("sec-websocket-protocol")).includes("mqtt")) {
    return refused("400 Bad Request", "Sec-WebSocket-Protocol: mqtt");
  }
  const accept = hash("sha1", key + GUID, "base64");
  const response = responseOf("101 Switching Protocols", [
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Accept: ${accept}`,
    "Sec-WebSocket-Protocol: mqtt",
  ]);
  return { ok: true, response };
}

function tokensOf(value = ""): string[] {
  return value.split(",").map((token) => token.trim().toLowerCase());
}

function refused(status: string, ...lines: string[]): Upgrade {
  const response = responseOf(status, [...lines, "Content-Length: 0", "Connection: close"]);
  return { ok: false, response };
}

function responseOf(status: string, lines: readonly string[]): string {
  return [`HTTP/1.1 ${status}`, ...lines, "", ""].join(LINE_END);
}
