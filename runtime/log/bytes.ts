/** Compact binary rows: little endian, variable-length integers. Used for what is written each step. */
import { CodecError } from "../errors.ts";

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder();

/** Grows as needed; `take` gives a copy of what was written and starts anew. */
export class ByteWriter {
  #bytes = new Uint8Array(1024);
  #used = 0;

  u8(value: number): this {
    this.#room(1);
    this.#bytes[this.#used++] = value;
    return this;
  }

  /** 7 bits a byte, lowest first. `0 <= value <= 2^53 - 1`. */
  integer(value: number): this {
    if (!(value >= 0 && value <= Number.MAX_SAFE_INTEGER)) {
      throw new CodecError(`Cannot encode ${value}: not an integer of 0 to 2^53 - 1`);
    }
    this.#room(8);
    let rest = value;
    while (rest >= 0x80000000) {
      this.#bytes[this.#used++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    while (rest >= 0x80) { // Small from here: integer arithmetic is several times faster.
      this.#bytes[this.#used++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[this.#used++] = rest;
    return this;
  }

  bytes(value: Uint8Array): this {
    this.integer(value.length);
    this.#room(value.length);
    this.#bytes.set(value, this.#used);
    this.#used += value.length;
    return this;
  }

  text(value: string): this {
    return this.bytes(ENCODER.encode(value));
  }

  take(): Uint8Array {
    const taken = this.#bytes.slice(0, this.#used);
    this.#used = 0;
    return taken;
  }

  #room(length: number): void {
    if (this.#used + length <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#used + length));
    larger.set(this.#bytes.subarray(0, this.#used));
    this.#bytes = larger;
  }
}

/** Reads what `ByteWriter` wrote. Throws `CodecError` at the end of the bytes. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  u8(): number {
    if (this.#at >= this.#bytes.length) throw new CodecError("Cannot decode: the bytes end early");
    return this.#bytes[this.#at++]!;
  }

  integer(): number {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 49; scale *= 0x80) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw new CodecError("Cannot decode: an integer is longer than 8 bytes");
  }

  /** A view, not a copy. */
  bytes(): Uint8Array {
    const length = this.integer();
    if (this.#at + length > this.#bytes.length) {
      throw new CodecError(`Cannot decode: ${length} B announced, the bytes end early`);
    }
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  text(): string {
    return DECODER.decode(this.bytes());
  }
}

/** In one array; the only part itself. */
export function joinBytes(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  let length = 0;
  for (const part of parts) length += part.length;
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
