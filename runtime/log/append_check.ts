/** What an append must look like; cheap enough for each one: nothing is done per record. */
import { InvalidError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Append } from "./partition_log.ts";
import { HEADER_BYTES } from "./record.ts";

const INCARNATION_CHARACTERS_MAX = 64;
const ROW_KEY_BYTES_MAX = 512;
const ROW_VALUE_BYTES_MAX = 65_536;
/** An append holds its records up to `appendBytesMax` and one record or row more. */
const BYTES_MAX = LIMITS.appendBytesMax + 2 * LIMITS.payloadBytesMax;
const ENCODER = new TextEncoder();

/** @throws {InvalidError} A caller's bug or damage on the way; the log is as it was. */
export function checkAppend(append: Append, partitions: number): void {
  const { incarnation, sequence, segments, rows } = append;
  if (incarnation.length < 1 || incarnation.length > INCARNATION_CHARACTERS_MAX) {
    refuse(`incarnation has ${incarnation.length} characters, of 1 to 64`);
  }
  if (!Number.isSafeInteger(sequence) || sequence < 1) refuse(`sequence ${sequence} is not >= 1`);
  let bytes = 0;
  for (const segment of segments) {
    const { partition, count } = segment;
    if (!Number.isInteger(partition) || partition < 0 || partition >= partitions) {
      refuse(`partition ${partition} is not one of ${partitions}`);
    }
    if (!Number.isInteger(count) || count < 1) refuse(`a segment has ${count} records`);
    if (segment.bytes.length < count * HEADER_BYTES) {
      refuse(`${count} records do not fit in ${segment.bytes.length} B`);
    }
    bytes += segment.bytes.length;
  }
  for (const { key, value } of rows) {
    const keyBytes = ENCODER.encode(key).length;
    if (keyBytes < 1 || keyBytes > ROW_KEY_BYTES_MAX) refuse(`a row key has ${keyBytes} B`);
    if (value !== undefined && value.length > ROW_VALUE_BYTES_MAX) {
      refuse(
        `row "${key.slice(0, 80)}" has ${value.length} B, its bound is ${ROW_VALUE_BYTES_MAX}`,
      );
    }
    bytes += keyBytes + (value?.length ?? 0);
  }
  if (bytes > BYTES_MAX) refuse(`it has ${bytes} B, its bound is ${BYTES_MAX}`);
}

function refuse(why: string): never {
  throw new InvalidError(`Cannot append: ${why}`);
}
