/**
 * Non-blocking TCP sockets and epoll straight from libc. The generator shares two cores with what it
 * measures, so its own cost is part of every figure: this is about a third of what `node:net` takes.
 * Linux only, as the rest of the bench (memory comes from /proc). IPv4 only.
 *
 * No call looks at errno: with level-triggered epoll a broken socket says so by its flags, and every
 * other -1 is "not now".
 */
const SYMBOLS = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  send: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  recv: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  epoll_create1: { parameters: ["i32"], result: "i32" },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const AF_INET = 2;
const SOCK_STREAM_NONBLOCK = 1 | 0o4000;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const MSG_NOSIGNAL = 0x4000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_MOD = 3;
const EPOLLIN = 0x001;
const EPOLLOUT = 0x004;
const EPOLLERR = 0x008;
const EPOLLHUP = 0x010;
const EVENTS_MAX = 1_024;
/** `struct epoll_event` is packed on x86-64 only. */
const EVENT_BYTES = Deno.build.arch === "x86_64" ? 12 : 16;
const TAG_AT = EVENT_BYTES - 8;

export class Sockets implements Disposable {
  readonly #libc = Deno.dlopen("libc.so.6", SYMBOLS);
  readonly #call = this.#libc.symbols;
  readonly #epoll = this.#call.epoll_create1(0);
  readonly #events = new Uint8Array(EVENTS_MAX * EVENT_BYTES);
  readonly #view = new DataView(this.#events.buffer);
  readonly #control = new Uint8Array(EVENT_BYTES);
  readonly #controlView = new DataView(this.#control.buffer);

  /** Begins a connection; its first event says `isWritable`, or `isBroken`. Returns the socket. */
  connect(host: string, port: number, tag: number): number {
    const socket = this.#call.socket(AF_INET, SOCK_STREAM_NONBLOCK, 0);
    if (socket < 0) throw new Error("Cannot open a socket: is `ulimit -n` above the connections?");
    this.#call.setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, Uint8Array.of(1, 0, 0, 0), 4);
    this.#call.connect(socket, addressOf(host, port), 16);
    this.#watch(EPOLL_CTL_ADD, socket, tag, EPOLLIN | EPOLLOUT);
    return socket;
  }

  /** Whether the socket's events include `isWritable`: only while there is something to send. */
  watchWritable(socket: number, tag: number, isWanted: boolean): void {
    this.#watch(EPOLL_CTL_MOD, socket, tag, isWanted ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }

  /** Bytes taken, 0 if the socket has no room (or is broken, which its next event says). */
  send(socket: number, bytes: Uint8Array<ArrayBuffer>, length: number): number {
    const sent = this.#call.send(socket, bytes, length, MSG_NOSIGNAL);
    return sent < 0 ? 0 : sent;
  }

  /** Bytes read into `bytes`, 0 at the end of the stream, -1 if there is nothing now. */
  receive(socket: number, bytes: Uint8Array<ArrayBuffer>): number {
    return this.#call.recv(socket, bytes, bytes.length, 0);
  }

  close(socket: number): void {
    this.#call.close(socket);
  }

  /** Blocks this process until a socket is ready or `timeoutMs` (whole ones) passed. */
  wait(timeoutMs: number): number {
    const count = this.#call.epoll_wait(this.#epoll, this.#events, EVENTS_MAX, timeoutMs);
    return count < 0 ? 0 : count;
  }

  tagOf(index: number): number {
    return this.#view.getUint32(index * EVENT_BYTES + TAG_AT, true);
  }

  isReadable(index: number): boolean {
    return (this.#view.getUint32(index * EVENT_BYTES, true) & EPOLLIN) !== 0;
  }

  isWritable(index: number): boolean {
    return (this.#view.getUint32(index * EVENT_BYTES, true) & EPOLLOUT) !== 0;
  }

  isBroken(index: number): boolean {
    return (this.#view.getUint32(index * EVENT_BYTES, true) & (EPOLLERR | EPOLLHUP)) !== 0;
  }

  [Symbol.dispose](): void {
    this.#call.close(this.#epoll);
    this.#libc.close();
  }

  #watch(operation: number, socket: number, tag: number, events: number): void {
    this.#controlView.setUint32(0, events, true);
    this.#controlView.setUint32(TAG_AT, tag, true);
    this.#call.epoll_ctl(this.#epoll, operation, socket, this.#control);
  }
}

/** `struct sockaddr_in`. */
function addressOf(host: string, port: number): Uint8Array<ArrayBuffer> {
  const octets = (host === "localhost" ? "127.0.0.1" : host).split(".").map(Number);
  if (octets.length !== 4 || octets.some((octet) => !(octet >= 0 && octet <= 255))) {
    throw new Error(`Cannot connect to "${host}": an IPv4 address is needed`);
  }
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint16(0, AF_INET, true);
  new DataView(bytes.buffer).setUint16(2, port);
  bytes.set(octets, 4);
  return bytes;
}
