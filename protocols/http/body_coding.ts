/**
 * Bodies of requests that come compressed or as CBOR, brought to the JSON bytes that everything behind
 * takes. Bounded before and after: what is inflated never passes the bound by more than one piece.
 */
import { Buffer } from "node:buffer";
import { gunzipSync } from "node:zlib";
import { messageOf } from "../../runtime/errors.ts";
import { cborToJson } from "./cbor_body.ts";
import type { ProblemCode } from "./problem.ts";

export type BodyCoding = "gzip" | "identity";

export type Decoded =
  | { readonly ok: true; readonly bytes: Uint8Array }
  | {
    readonly ok: false;
    readonly code: ProblemCode & ("too-large" | "invalid");
    readonly detail: string;
  };

/** What a 415 for a content coding tells (RFC 9110, 15.5.16). */
export const TAKEN_CODINGS = { "accept-encoding": "gzip, identity" };
const NAME_CHARACTERS_MAX = 80;
const CBOR_TYPE = /^application\/cbor\s*(?:;|$)/i;

/** Of header `Content-Encoding`; undefined: one that is not taken, or several. */
export function codingOf(header: string | null): BodyCoding | undefined {
  if (header === null) return "identity";
  const name = header.trim().toLowerCase();
  if (name === "" || name === "identity") return "identity";
  return name === "gzip" || name === "x-gzip" ? "gzip" : undefined;
}

export function codingRefusal(header: string): string {
  return `Cannot read content coding "${header.slice(0, NAME_CHARACTERS_MAX)}": send gzip, or none`;
}

export function isCbor(contentType: string | null): boolean {
  return contentType !== null && CBOR_TYPE.test(contentType);
}

/** @param bytesMax Bound of what it is inflated to. */
export function inflate(bytes: Uint8Array, bytesMax: number): Decoded {
  try {
    return { ok: true, bytes: gunzipSync(bytes, { maxOutputLength: bytesMax }) };
  } catch (fault) {
    if ((fault as { code?: string }).code === "ERR_BUFFER_TOO_LARGE") {
      const detail = `Cannot read the body: inflated it is over the bound of ${bytesMax} B`;
      return { ok: false, code: "too-large", detail };
    }
    const detail = `Cannot inflate the body: ${messageOf(fault)}`;
    return { ok: false, code: "invalid", detail };
  }
}

/** A device's body as JSON bytes. @param bytesMax Bound of what comes out. */
export function jsonBodyOf(
  bytes: Uint8Array,
  coding: BodyCoding,
  isCborType: boolean,
  bytesMax: number,
): Decoded {
  if (bytes.length > bytesMax) { // Of unknown length: it was not read to its end.
    return { ok: false, code: "too-large", detail: `Cannot read more than ${bytesMax} B` };
  }
  const plain: Decoded = coding === "gzip" ? inflate(bytes, bytesMax) : { ok: true, bytes };
  if (!plain.ok || !isCborType) return plain;
  const json = cborToJson(plain.bytes);
  if (!json.ok) return { ok: false, code: "invalid", detail: json.detail };
  if (Buffer.byteLength(json.text) > bytesMax) {
    const detail = `Cannot read the body: as JSON it is over the bound of ${bytesMax} B`;
    return { ok: false, code: "too-large", detail };
  }
  return { ok: true, bytes: Buffer.from(json.text) };
}
