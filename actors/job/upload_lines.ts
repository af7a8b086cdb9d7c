/**
 * Lines of an upload, read piece by piece: no line takes more memory than `jobLineBytesMax`, and one
 * that is longer, or no UTF-8, is a fault of its own.
 */
import { Buffer } from "node:buffer";
import { JOB_LIMITS } from "../../runtime/job_limits.ts";

export interface UploadLine {
  /** From 1. */
  readonly number: number;
  /** Without its end. */
  readonly text: string;
  /** Its end is of two characters. */
  readonly isCrLf?: true;
  /** Bytes of the upload up to the next line. */
  readonly end: number;
  /** What is wrong with it; `text` is empty then. */
  readonly fault?: { readonly rule: "length" | "encoding"; readonly message: string };
}

/** Where the next line begins. */
export interface UploadPlace {
  readonly bytes: number;
  /** Lines before it. */
  readonly lines: number;
}

const PIECE_BYTES = 65_536;
const LINE_FEED = 0x0a;
const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class UploadLines {
  readonly #file: Pick<Deno.FsFile, "read" | "seek">;
  readonly #piece = new Uint8Array(PIECE_BYTES);
  /** What is read and not handed out: of `#piece`. */
  #from = 0;
  #to = 0;
  #place: UploadPlace;

  private constructor(file: Pick<Deno.FsFile, "read" | "seek">, place: UploadPlace) {
    this.#file = file;
    this.#place = place;
  }

  static async at(
    file: Pick<Deno.FsFile, "read" | "seek">,
    place: UploadPlace = { bytes: 0, lines: 0 },
  ): Promise<UploadLines> {
    await file.seek(place.bytes, Deno.SeekMode.Start);
    return new UploadLines(file, place);
  }

  get place(): UploadPlace {
    return this.#place;
  }

  /** Undefined: there is none any more. */
  async next(): Promise<UploadLine | undefined> {
    const parts: Uint8Array[] = [];
    let kept = 0;
    let length = 0;
    for (;;) {
      if (this.#from === this.#to && !await this.#fill()) {
        return length === 0 ? undefined : this.#take(parts, kept, length, 0);
      }
      const piece = this.#piece.subarray(this.#from, this.#to);
      const end = piece.indexOf(LINE_FEED);
      const part = end === -1 ? piece : piece.subarray(0, end);
      length += part.length;
      if (length <= JOB_LIMITS.jobLineBytesMax) {
        parts.push(part.slice());
        kept = length;
      }
      this.#from += part.length;
      if (end === -1) continue;
      this.#from++;
      return this.#take(parts, kept, length, 1);
    }
  }

  #take(
    parts: readonly Uint8Array[],
    kept: number,
    length: number,
    endBytes: number,
  ): UploadLine {
    const isFirst = this.#place.bytes === 0;
    const bytes = this.#place.bytes + length + endBytes;
    const number = this.#place.lines + 1;
    this.#place = { bytes, lines: number };
    const line = { number, end: bytes };
    if (kept < length) {
      const message =
        `Cannot read a line of ${length} B: the bound is ${JOB_LIMITS.jobLineBytesMax}`;
      return { ...line, text: "", fault: { rule: "length", message } };
    }
    try {
      let text = DECODER.decode(parts.length === 1 ? parts[0]! : Buffer.concat(parts, kept));
      if (isFirst && text.startsWith("\ufeff")) text = text.slice(1); // A byte order mark.
      if (!text.endsWith("\r")) return { ...line, text };
      return { ...line, text: text.slice(0, -1), isCrLf: true };
    } catch {
      const fault = { rule: "encoding", message: "Cannot read the line: it is not UTF-8" } as const;
      return { ...line, text: "", fault };
    }
  }

  async #fill(): Promise<boolean> {
    const read = await this.#file.read(this.#piece);
    this.#from = 0;
    this.#to = read ?? 0;
    return this.#to > 0;
  }
}
