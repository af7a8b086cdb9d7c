/** Text to bytes and back, without the fixed cost of an encoder call (about 1 µs) for short ASCII. */

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder("utf-8", { fatal: true });
/** Above this the encoder is faster than a loop. */
const LOOP_CHARACTERS_MAX = 1_024;

export function encodeUtf8(text: string): Uint8Array {
  if (text.length > LOOP_CHARACTERS_MAX) return ENCODER.encode(text);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127) return ENCODER.encode(text);
    bytes[i] = code;
  }
  return bytes;
}

/** Writes `text` at `at`; the caller has made room (3 bytes a character). Returns the end. */
export function writeUtf8(target: Uint8Array, at: number, text: string): number {
  if (text.length <= LOOP_CHARACTERS_MAX) {
    let i = 0;
    for (; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code > 127) break;
      target[at + i] = code;
    }
    if (i === text.length) return at + i;
  }
  return at + ENCODER.encodeInto(text, target.subarray(at)).written;
}

/** Bytes of `text` in UTF-8. */
export function utf8Length(text: string): number {
  let length = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x80) continue;
    if (code < 0x800) length += 1;
    else if (code >= 0xd800 && code < 0xdc00 && isLowSurrogate(text.charCodeAt(i + 1))) {
      length += 2;
      i++;
    } else length += 2;
  }
  return length;
}

/** Throws `TypeError` on bytes that are not UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string {
  return DECODER.decode(bytes);
}

export function isAscii(bytes: Uint8Array, start: number, end: number): boolean {
  let bits = 0;
  for (let i = start; i < end; i++) bits |= bytes[i]!;
  return bits < 0x80;
}

function isLowSurrogate(code: number): boolean {
  return code >= 0xdc00 && code < 0xe000;
}
