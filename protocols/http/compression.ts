/**
 * Answers of the API, compressed where that pays: JSON of more than a packet, for who takes gzip.
 * Nothing that is shown once (a secret, the CSRF token) is of that size, so that its length tells
 * nothing. Entity tags stay as they are: they name the state, and `If-Match` has to find it.
 */
import { constants, createGzip } from "node:zlib";
import { HTTP_LIMITS } from "../../runtime/http_limits.ts";

const TYPES = /^application\/(?:problem\+)?json\b/i;
/** Weight 0 takes it back (RFC 9110, 12.4.2). */
const GZIP = /(?:^|,)\s*(?:x-)?gzip\s*(?:;\s*q=(?:0?\.\d*[1-9]\d*|1(?:\.0*)?)\s*)?(?:,|$)/i;
const { compressAtBytes, compressChunkBytes } = HTTP_LIMITS;

export function takesGzip(acceptEncoding: string | null): boolean {
  return acceptEncoding !== null && GZIP.test(acceptEncoding.slice(0, 1_024));
}

/** The answer, or the same one compressed. */
export async function compressed(asked: Headers, answer: Response): Promise<Response> {
  const { headers, status } = answer;
  if (!TYPES.test(headers.get("content-type") ?? "")) return answer;
  if (!takesGzip(asked.get("accept-encoding")) || headers.has("content-encoding")) return answer;
  // Looked at last: a body that was looked at goes out as a stream, in chunks and without a length.
  if (answer.body === null) return answer;
  const bytes = await answer.bytes();
  if (bytes.length < compressAtBytes) return new Response(bytes, { status, headers });
  const told = new Headers(headers);
  told.set("content-encoding", "gzip");
  told.append("vary", "Accept-Encoding");
  return new Response(gzipped(bytes), { status, headers: told });
}

/** In pieces, between which other work is done. */
function gzipped(bytes: Uint8Array): ReadableStream<Uint8Array> {
  const gzip = createGzip({ level: constants.Z_BEST_SPEED });
  let at = 0;
  return new ReadableStream({
    start(controller) {
      gzip.on("data", (piece: Uint8Array) => controller.enqueue(Uint8Array.from(piece)));
      gzip.on("end", () => controller.close());
      gzip.on("error", (fault: Error) => controller.error(fault));
    },
    pull() {
      if (at >= bytes.length) return; // What it still holds comes by itself.
      const piece = bytes.subarray(at, at += compressChunkBytes);
      if (at < bytes.length) return new Promise((resolve) => gzip.write(piece, () => resolve()));
      gzip.end(piece);
    },
    cancel: () => void gzip.destroy(),
  }, { highWaterMark: 0 });
}
