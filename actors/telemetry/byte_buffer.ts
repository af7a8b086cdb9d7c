/** Variable-length integers and the bytes they stand in: what chunks are written with. */

/** A growing buffer; `clear` keeps its room for the next chunk. */
export class ByteWriter {
  #bytes = new Uint8Array(16_384);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  clear(): void {
    this.#length = 0;
  }

  /** What was written, a view that the next `clear` invalidates. */
  view(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  append(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  float64(value: number): void {
    this.#reserve(8);
    new DataView(this.#bytes.buffer).setFloat64(this.#length, value, true);
    this.#length += 8;
  }

  /** 0 to 2^53. */
  varint(value: number): void {
    this.#reserve(8);
    let rest = value;
    while (rest >= 0x80000000) { // Beyond what shifts can do.
      this.#bytes[this.#length++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    let small = rest | 0;
    while (small >= 0x80) {
      this.#bytes[this.#length++] = (small & 0x7f) | 0x80;
      small >>>= 7;
    }
    this.#bytes[this.#length++] = small;
  }

  /** -2^52 to 2^52: small magnitudes become small numbers. */
  zigzag(value: number): void {
    this.varint(value >= 0 ? value * 2 : -value * 2 - 1);
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

/** Reads past the end give zeros; the caller compares `at` with the length when it is done. */
export class ByteReader {
  readonly bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  byte(): number {
    return this.bytes[this.at++]!;
  }

  float64(): number {
    const { buffer, byteOffset, byteLength } = this.bytes;
    if (this.at + 8 > byteLength) {
      this.at += 8;
      return 0;
    }
    const value = new DataView(buffer, byteOffset, byteLength).getFloat64(this.at, true);
    this.at += 8;
    return value;
  }

  varint(): number {
    const bytes = this.bytes;
    let byte = bytes[this.at++]!;
    if (!(byte >= 0x80)) return byte;
    let value = byte & 0x7f;
    for (let scale = 128; byte >= 0x80; scale *= 128) {
      byte = bytes[this.at++]!;
      value += (byte & 0x7f) * scale;
    }
    return value;
  }

  zigzag(): number {
    const value = this.varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
}
