/** Files and folders as durable things. */
import { closeSync, fsyncSync, openSync, statfsSync } from "node:fs";

export function isMissing(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return false;
  } catch (fault) {
    if (fault instanceof Deno.errors.NotFound) return true;
    throw fault;
  }
}

export function removeIfThere(path: string): void {
  if (!isMissing(path)) Deno.removeSync(path);
}

/** Makes names in it durable. */
export function syncFolder(path: string): void {
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

export function freeBytes(folder: string): number {
  const disk = statfsSync(folder);
  return disk.bavail * disk.bsize;
}
