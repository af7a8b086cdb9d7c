/**
 * Actors are addressed `kind/id`: `device/pump/p-1`. The kind ends at the first slash.
 * Kinds belong to a group; a group has its own partitions, which are the unit of lease and commit.
 */
import { InvalidError } from "../errors.ts";
import { LIMITS } from "../limits.ts";

/** `kind/id`. Characters of both: printable ASCII without spaces. */
export type Address = string;

/** Index of a partition among all groups: `things` first, then `cameras`. */
export type Partition = number;

export type Group = "things" | "cameras";

export interface GroupLayout {
  readonly group: Group;
  readonly firstPartition: Partition;
  readonly partitions: number;
}

export const GROUPS: readonly GroupLayout[] = [
  { group: "things", firstPartition: 0, partitions: LIMITS.partitionsOfThings },
  {
    group: "cameras",
    firstPartition: LIMITS.partitionsOfThings,
    partitions: LIMITS.partitionsOfCameras,
  },
];

export const PARTITIONS = LIMITS.partitionsOfThings + LIMITS.partitionsOfCameras;

/** Bytes of an address; bounded because it stands in each record. */
export const ADDRESS_BYTES_MAX = 255;

export function createAddress(kind: string, id: string): Address {
  const address = `${kind}/${id}`;
  if (address.length > ADDRESS_BYTES_MAX || !/^[a-z][a-z0-9-]*\/[!-~]+$/.test(address)) {
    throw new InvalidError(
      `Cannot address "${address.slice(0, 80)}": kind/id of at most ${ADDRESS_BYTES_MAX} ` +
        `printable ASCII characters`,
    );
  }
  return address;
}

export function kindOf(address: Address): string {
  return address.slice(0, address.indexOf("/"));
}

export function idOf(address: Address): string {
  return address.slice(address.indexOf("/") + 1);
}

/** FNV-1a over the UTF-16 code units of a key, finished with a mix so that low bits spread. */
export function hashKey(key: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}

/** Where a kind lives: its group, and which part of an id decides the partition. */
export interface Placement {
  readonly group: Group;
  /** Default: the whole id. A rule's instance for a device takes the device's key. */
  readonly keyOf?: (id: string) => string;
}

export function partitionOf(placement: Placement, id: string): Partition {
  const layout = GROUPS.find((candidate) => candidate.group === placement.group)!;
  const key = placement.keyOf === undefined ? id : placement.keyOf(id);
  return layout.firstPartition + hashKey(key) % layout.partitions;
}
