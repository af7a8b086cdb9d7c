/** A device over HTTP/1.1: one kept connection, one POST at a time. */
import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import type { Clock } from "../../runtime/clock.ts";
import type { DeviceLogin, Link, LinkEvents, LinkTarget } from "./link.ts";

const HEAD_END = "\r\n\r\n";
const ANSWER_BYTES_MAX = 256 * 1024;
const RETRY_MS_DEFAULT = 1_000;
/** Longest that a connection or an answer may take. */
const ANSWER_MS = 30_000;

export class HttpLink implements Link {
  readonly window = 1;
  readonly #events: LinkEvents;
  readonly #clock: Clock;
  readonly #socket: Socket;
  readonly #head: string;
  #rest = "";
  #id = 0;
  #isOver = false;
  #cancelTimer = () => {};

  constructor(target: LinkTarget, login: DeviceLogin, clock: Clock, events: LinkEvents) {
    this.#events = events;
    this.#clock = clock;
    this.#await();
    const name = `${login.product}/${login.device}`;
    const basic = Buffer.from(`${name}:${login.secret}`).toString("base64");
    this.#head = `POST /ingest/v1/${name}/properties HTTP/1.1\r\nHost: ${target.host}\r\n` +
      `Authorization: Basic ${basic}\r\nContent-Type: application/json\r\nContent-Length: `;
    this.#socket = connect({ ...target, noDelay: true });
    this.#socket.on("connect", () => {
      this.#cancelTimer();
      events.opened();
    });
    this.#socket.on("data", (chunk: Buffer) => this.#read(chunk));
    // What went wrong is of no use to a device: it connects again.
    this.#socket.on("error", () => this.#end(undefined));
    this.#socket.on("close", () => this.#end(undefined));
  }

  send(id: number, message: string): void {
    this.#id = id;
    this.#await();
    this.#socket.write(`${this.#head}${Buffer.byteLength(message)}${HEAD_END}${message}`);
  }

  drop(): void {
    this.#isOver = true;
    this.#cancelTimer();
    this.#socket.destroy();
  }

  close(): void {
    this.drop();
  }

  #read(chunk: Buffer): void {
    this.#rest += chunk.toString("latin1");
    const headEnd = this.#rest.indexOf(HEAD_END);
    if (this.#rest.length > ANSWER_BYTES_MAX) return this.#end("unreadable");
    if (headEnd < 0) return;
    const head = this.#rest.slice(0, headEnd);
    const size = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    if (size === undefined) return this.#end("unreadable");
    const end = headEnd + HEAD_END.length + Number(size);
    if (this.#rest.length < end) return;
    this.#rest = this.#rest.slice(end);
    this.#answer(Number(head.slice(9, 12)), head);
  }

  #answer(status: number, head: string): void {
    const id = this.#id;
    if (id === 0) return this.#end("unreadable");
    this.#id = 0;
    this.#cancelTimer();
    if (status === 202) return this.#events.acknowledged(id);
    const reason = `http_${status}`;
    // Of a 207 a part is stored, and of a 5xx nobody knows.
    const refusal = { reason, isCertain: status >= 400 && status < 500 };
    if (status !== 429 && status !== 503) return this.#events.refused(id, refusal);
    const seconds = /\r\nretry-after: *(\d+)/i.exec(head)?.[1];
    const retryAfterMs = seconds === undefined ? RETRY_MS_DEFAULT : Number(seconds) * 1_000;
    this.#events.refused(id, { ...refusal, retryAfterMs });
  }

  #await(): void {
    this.#cancelTimer = this.#clock.after(ANSWER_MS, () => this.#end(undefined));
  }

  #end(reason: string | undefined): void {
    if (this.#isOver) return;
    this.drop();
    this.#events.closed(reason);
  }
}
