/** What a wire of the generator is: how a message looks, and what the bytes that come back say. */
import type { DeviceLogin } from "./options.ts";

/** Whom a wire tells what it read. Answers belong to messages in order of sending. */
export interface AnswerSink {
  /** The handshake succeeded: messages may be sent. */
  opened(): void;
  /** The handshake was refused for good. */
  refused(code: string): void;
  /** The oldest unanswered message is durable; `id` is its packet id, 0 where the wire has none. */
  acknowledged(id: number): void;
  /** The oldest unanswered message was refused. */
  rejected(code: string): void;
}

export interface Wire {
  /** What opens a connection; absent: messages may be sent at once. */
  readonly greeting?: (device: DeviceLogin) => Uint8Array<ArrayBuffer>;
  /** A whole message of this device with a placeholder body. */
  template(device: DeviceLogin): MessageTemplate;
  /** Writes what varies besides the body: the packet id. `at` is where the message begins. */
  stamp(target: Uint8Array, at: number, template: MessageTemplate, sequence: number): void;
  /** Reads whole answers of `bytes[0, length)`; returns how many bytes they were. */
  read(bytes: Uint8Array, length: number, sink: AnswerSink): number;
}

export interface MessageTemplate {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where the body begins. */
  readonly bodyAt: number;
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
