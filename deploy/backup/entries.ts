/**
 * Files as one stream of bytes. An entry: u32 length of its head, the head as JSON, then blocks of
 * u32 length and bytes until one of length 0, so that a file may grow while it is read. A head of
 * length 0 ends the stream.
 */
import { Buffer } from "node:buffer";
import { InvalidError } from "../../runtime/errors.ts";
import { BACKUP_LIMITS } from "./backup_limits.ts";

/** Of the first entry, which has no bytes. */
export interface Manifest {
  readonly type: "roost";
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly node: string;
  /** Tick and epoch of the log. */
  readonly tick: number;
  readonly epoch: number;
}

export type EntryHead = Manifest | { readonly type: "file"; readonly path: string };

export interface EntrySink {
  begin(head: EntryHead): void;
  bytes(part: Uint8Array): void;
}

/** Databases, head of the log, master key, files of jobs: nothing else is written by a restore. */
const PATHS = /^(?:(?:log|registry|telemetry|views)\.db|log\.head|master\.key|jobs\/[\w-]+\.\w+)$/;

export function isBackupPath(path: string): boolean {
  return PATHS.test(path);
}

export function* entryOf(head: EntryHead, content: Iterable<Uint8Array>): Generator<Uint8Array> {
  const json = Buffer.from(JSON.stringify(head));
  yield u32(json.length);
  yield json;
  for (const part of content) {
    if (part.length === 0) continue;
    yield u32(part.length);
    yield part;
  }
  yield u32(0);
}

export function endOfEntries(): Uint8Array {
  return u32(0);
}

/**
 * Hands the entries of the stream to a sink; content comes in parts of any length.
 * @throws {InvalidError} It is no such stream, which a sealed one of this program always is.
 */
export function readEntries<Sum>(stream: Generator<Uint8Array, Sum>, sink: EntrySink): Sum {
  const input = new StreamReader(stream);
  for (let count = 0;; count++) {
    const length = input.u32();
    if (length === 0) return input.end();
    if (length > BACKUP_LIMITS.entryHeadBytesMax || count > BACKUP_LIMITS.entriesMax) {
      throw malformed();
    }
    sink.begin(parseHead(Buffer.from(input.exactly(length)).toString(), count));
    for (let left = input.u32(); left > 0; left = input.u32()) {
      while (left > 0) {
        const part = input.upTo(left);
        sink.bytes(part);
        left -= part.length;
      }
    }
  }
}

function parseHead(text: string, count: number): EntryHead {
  const head = JSON.parse(text) as EntryHead;
  const isRight = count === 0
    ? head.type === "roost"
    : head.type === "file" && isBackupPath(head.path);
  if (!isRight) throw malformed();
  return head;
}

class StreamReader<Sum> {
  #rest: Uint8Array = new Uint8Array();
  #sum: Sum | undefined;
  #isEnded = false;

  constructor(readonly stream: Generator<Uint8Array, Sum>) {}

  /** At least one byte. */
  upTo(length: number): Uint8Array {
    while (this.#rest.length === 0) this.#pull();
    const part = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(part.length);
    return part;
  }

  exactly(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const part = this.upTo(length - at);
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }

  u32(): number {
    return Buffer.from(this.exactly(4)).readUInt32BE();
  }

  /** What the stream returned; nothing may be left of it. */
  end(): Sum {
    while (!this.#isEnded && this.#rest.length === 0) {
      const next = this.stream.next();
      if (next.done) this.#ended(next.value);
      else this.#rest = next.value;
    }
    if (this.#rest.length > 0) throw malformed();
    return this.#sum as Sum;
  }

  #pull(): void {
    const next = this.stream.next();
    if (next.done) throw malformed();
    this.#rest = next.value;
  }

  #ended(sum: Sum): void {
    this.#isEnded = true;
    this.#sum = sum;
  }
}

function malformed(): InvalidError {
  return new InvalidError("Cannot read the backup: another version of Roost wrote it");
}

function u32(value: number): Uint8Array {
  const field = Buffer.alloc(4);
  field.writeUInt32BE(value);
  return field;
}
