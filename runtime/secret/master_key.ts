/**
 * Master keys, where they come from and how they are kept: a file of mode 600, or the configuration.
 * A key's id is made of the key itself, so that a key that comes by configuration needs no name.
 */
import { Buffer } from "node:buffer";
import { hash } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { ConflictError, messageOf } from "../errors.ts";
import type { Random } from "../random.ts";

export interface MasterKey {
  /** 12 hexadecimal digits of a hash of the key. */
  readonly id: string;
  /** 32 bytes. */
  readonly bytes: Uint8Array;
}

/** The first is the current one; others are only there to open what they sealed. */
export type MasterKeys = readonly [MasterKey, ...MasterKey[]];

export const MASTER_KEY_BYTES = 32;
const ID_DIGITS = 12;
const FILE_MODE = 0o600;
const TEXT = /^[A-Za-z0-9_-]{43}$/;

export function createMasterKey(random: Random): MasterKey {
  return masterKeyOf(random.bytes(MASTER_KEY_BYTES));
}

export function masterKeyOf(bytes: Uint8Array): MasterKey {
  const digest = hash("sha256", Buffer.concat([Buffer.from("roost master key id\n"), bytes]));
  return { id: digest.slice(0, ID_DIGITS), bytes };
}

/** From 43 characters of base64url; undefined: it is none. */
export function parseMasterKey(text: string): MasterKey | undefined {
  return TEXT.test(text) ? masterKeyOf(Buffer.from(text, "base64url")) : undefined;
}

export function encodeMasterKey({ bytes }: MasterKey): string {
  return Buffer.from(bytes).toString("base64url");
}

/**
 * Undefined: there is no such file.
 * @throws {ConflictError} It is there and is none.
 */
export function readKeyFile(path: string): MasterKeys | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (fault) {
    if ((fault as { code?: string }).code === "ENOENT") return undefined;
    throw unreadable(path, messageOf(fault));
  }
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const keys = lines.map(parseMasterKey);
  const [current, ...others] = keys;
  if (current === undefined || others.includes(undefined)) {
    throw unreadable(path, "it is not a list of keys, 43 characters each");
  }
  return [current, ...others as MasterKey[]];
}

/** Whole or not at all, durable, and readable by its owner only. */
export function writeKeyFile(path: string, keys: MasterKeys): void {
  const text = [
    "# Master keys of Roost, the current one first. Keep a copy apart from the data.",
    ...keys.map(encodeMasterKey),
    "",
  ].join("\n");
  const fresh = `${path}.new`;
  const file = openSync(fresh, "w", FILE_MODE);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(fresh, path);
  const folder = openSync(dirname(path), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** Whether others than the owner may read the file. */
export function isExposed(path: string): boolean {
  return (statSync(path).mode & 0o077) !== 0;
}

function unreadable(path: string, why: string): ConflictError {
  return new ConflictError(`Cannot read the master key file ${path}: ${why}`, {
    hint: "Put the file back from its copy; without it sealed secrets cannot be read.",
  });
}
