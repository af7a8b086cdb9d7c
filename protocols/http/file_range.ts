/** `Range` of a request (RFC 9110, 14): one range of bytes; several, and other units, are ignored. */

export interface ByteRange {
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
}

/**
 * Undefined: the whole is sent. `none`: the range has nothing of it.
 * @param etag With its quotes; `If-Range` asks for the range of this state only.
 */
export function rangeOf(
  headers: Headers,
  size: number,
  etag: string,
): ByteRange | "none" | undefined {
  const header = headers.get("range");
  const ifRange = headers.get("if-range");
  if (header === null || (ifRange !== null && ifRange !== etag)) return undefined;
  const found = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header.trim());
  if (found === null) return undefined;
  const [, first = "", last = ""] = found;
  if (first === "" && last === "") return undefined;
  if (first === "") { // The last so many bytes.
    const count = Math.min(Number(last), size);
    return count === 0 ? "none" : { from: size - count, to: size };
  }
  const from = Number(first);
  const to = last === "" ? size : Math.min(Number(last) + 1, size);
  if (last !== "" && Number(last) < from) return undefined;
  return from >= size ? "none" : { from, to };
}

/** Bytes of the open file, which is closed at the end or when nobody reads on. */
export function streamOf(file: Deno.FsFile, { from, to }: ByteRange): ReadableStream<Uint8Array> {
  let left = to - from;
  let isSought = false;
  const close = () => file.close();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        if (!isSought) await file.seek(from, Deno.SeekMode.Start);
        isSought = true;
        const chunk = new Uint8Array(Math.min(CHUNK_BYTES, left));
        const read = left === 0 ? null : await file.read(chunk);
        if (read !== null) {
          left -= read;
          return controller.enqueue(chunk.subarray(0, read));
        }
        close();
        controller.close();
      } catch (fault) { // The connection breaks off, which tells that the file is not whole.
        close();
        controller.error(fault);
      }
    },
    cancel: close,
  }, { highWaterMark: 0 });
}

const CHUNK_BYTES = 65_536;
