/**
 * The head of the log, kept apart from the log: how far it was known to reach. SQLite silently drops
 * the tail of a damaged WAL, and a restored backup looks like any other file; a store that is behind
 * its head has lost acknowledged records.
 *
 * Two slots of 8 KiB written in turn, so that one is whole at any moment: u32 CRC-32 of the rest ·
 * u32 length · epoch · tick · partitions · per partition next offset and accepted, as integers of
 * `bytes.ts`. Written after each step into the page cache (survives a kill of the process), fsynced
 * at most once a second (a crash of the machine costs a second of this check, never a record).
 */
import { closeSync, fsyncSync, openSync, readSync, writeSync } from "node:fs";
import { crc32 } from "node:zlib";
import type { Clock } from "../clock.ts";
import { assert } from "../errors.ts";
import { ByteReader, ByteWriter } from "./bytes.ts";
import type { LogMeta } from "./tick_meta.ts";

export interface HeadMark {
  readonly epoch: number;
  readonly tick: number;
  /** By partition. */
  readonly nextOffsets: readonly number[];
  readonly accepted: readonly number[];
}

export interface LogHead {
  /** The newest whole mark; undefined in a new directory, or if both slots are damaged. */
  read(): HeadMark | undefined;
  /** After each durable step. Throws if the medium refuses; the step itself is durable. */
  write(mark: HeadMark): void;
  /** Fsyncs and closes; twice is harmless. */
  close(): void;
}

export function headOf(meta: LogMeta): HeadMark {
  return {
    epoch: meta.epoch,
    tick: meta.tick,
    nextOffsets: meta.partitions.map((own) => own.nextOffset),
    accepted: meta.partitions.map((own) => own.accepted),
  };
}

const SLOT_BYTES = 8_192;
const SYNC_MS = 1_000;

/** @throws If the file cannot be opened or created. */
export function openHeadFile(path: string, clock: Clock): LogHead {
  const file = openSync(path, existingOrNew(path));
  const writer = new ByteWriter();
  const slot = new Uint8Array(SLOT_BYTES);
  let turn = 0;
  let syncedAtMs = -Infinity;
  let isClosed = false;
  return {
    read() {
      const marks = [0, 1].map((i) => {
        const read = readSync(file, slot, 0, SLOT_BYTES, i * SLOT_BYTES);
        return decodeSlot(slot.subarray(0, read));
      });
      const [first, second] = marks;
      turn = isNewer(first, second) ? 1 : 0;
      return isNewer(first, second) ? first : second;
    },
    write(mark) {
      const bytes = encodeMark(writer, mark);
      assert(bytes.length + 8 <= SLOT_BYTES, "the head does not fit in its slot");
      const view = new DataView(slot.buffer);
      slot.set(bytes, 8);
      view.setUint32(4, bytes.length, true);
      view.setUint32(0, crc32(slot.subarray(4, 8 + bytes.length)), true);
      writeSync(file, slot, 0, 8 + bytes.length, turn * SLOT_BYTES);
      turn = 1 - turn;
      const nowMs = clock.monotonicMs();
      if (nowMs - syncedAtMs < SYNC_MS) return;
      syncedAtMs = nowMs;
      fsyncSync(file);
    },
    close() {
      if (isClosed) return;
      isClosed = true;
      fsyncSync(file);
      closeSync(file);
    },
  };
}

/** For memory stores; keep it beside the store's content over a restart. */
export function createMemoryHead(): LogHead {
  let newest: HeadMark | undefined;
  return {
    read: () => newest,
    write: (mark) => void (newest = mark),
    close: () => {},
  };
}

function existingOrNew(path: string): string {
  try {
    Deno.statSync(path);
    return "r+";
  } catch (fault) {
    if (fault instanceof Deno.errors.NotFound) return "w+";
    throw fault;
  }
}

function isNewer(a: HeadMark | undefined, b: HeadMark | undefined): boolean {
  if (a === undefined || b === undefined) return a !== undefined;
  return a.epoch !== b.epoch ? a.epoch > b.epoch : a.tick > b.tick;
}

function encodeMark(out: ByteWriter, mark: HeadMark): Uint8Array {
  out.integer(mark.epoch).integer(mark.tick).integer(mark.nextOffsets.length);
  for (let i = 0; i < mark.nextOffsets.length; i++) {
    out.integer(mark.nextOffsets[i]!).integer(mark.accepted[i]!);
  }
  return out.take();
}

function decodeSlot(slot: Uint8Array): HeadMark | undefined {
  if (slot.length < 8) return undefined;
  const view = new DataView(slot.buffer, slot.byteOffset, slot.byteLength);
  const end = 8 + view.getUint32(4, true);
  if (end > slot.length || crc32(slot.subarray(4, end)) !== view.getUint32(0, true)) {
    return undefined;
  }
  const input = new ByteReader(slot.subarray(8, end));
  const epoch = input.integer();
  const tick = input.integer();
  const nextOffsets: number[] = [];
  const accepted: number[] = [];
  for (let left = input.integer(); left > 0; left--) {
    nextOffsets.push(input.integer());
    accepted.push(input.integer());
  }
  return { epoch, tick, nextOffsets, accepted };
}
