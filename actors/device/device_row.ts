/** A device as people and programs see it, as a row, and the rules of its fields. */
import type { Issue } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { nameIssues, quote, titleIssues } from "../registry/names.ts";
import type { DevicesTable } from "../registry/tables.ts";
import { hashSecret } from "./secret.ts";

export interface Device {
  readonly product: string;
  readonly device: string;
  readonly name: string;
  readonly tags: readonly string[];
  readonly enabled: boolean;
  /** From 1; rises with every change: the ETag. */
  readonly version: number;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly updatedAt: number;
}

export interface NewDevice {
  readonly product: string;
  readonly device: string;
  /** Default: empty. */
  readonly name?: string;
  /** At most `tagsPerDeviceMax`, each 1 to 64 characters; order is kept, repeats are dropped. */
  readonly tags?: readonly string[];
  /** Default true. */
  readonly enabled?: boolean;
  /** Brought along, 8 to 256 characters. Default: 32 random bytes, base64url. */
  readonly secret?: string;
}

/** Absent fields stay. */
export type DevicePatch = Partial<Pick<NewDevice, "name" | "tags" | "enabled">>;

/** The secret is not stored and cannot be read again. */
export interface DeviceWithSecret {
  readonly device: Device;
  readonly secret: string;
  /** Until when the secret before goes on, epoch milliseconds; null: there is none. */
  readonly previousEndsAt: number | null;
}

/** @param project That of the product. */
export function newRow(
  input: NewDevice,
  project: string,
  secret: string,
  nowMs: number,
  sealed: string | null = null,
): DevicesTable {
  return {
    project,
    product: input.product,
    device: input.device,
    name: input.name ?? "",
    tags: JSON.stringify(distinct(input.tags ?? [])),
    enabled: Number(input.enabled ?? true),
    secret_hash: hashSecret(secret),
    secret_sealed: sealed,
    secret_at: null,
    version: 1,
    created_at: nowMs,
    updated_at: nowMs,
  };
}

export function deviceOf(row: DevicesTable): Device {
  return {
    product: row.product,
    device: row.device,
    name: row.name,
    tags: JSON.parse(row.tags),
    enabled: row.enabled === 1,
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

export function distinct(tags: readonly string[]): string[] {
  return [...new Set(tags)];
}

export function deviceIssues(input: NewDevice): Issue[] {
  return [
    ...nameIssues("product", input.product),
    ...nameIssues("device", input.device),
    ...fieldIssues(input),
    ...secretIssues(input.secret),
  ];
}

export function fieldIssues(patch: DevicePatch): Issue[] {
  const issues = patch.name === undefined ? [] : titleIssues("name", patch.name);
  const tags = patch.tags ?? [];
  if (tags.length > LIMITS.tagsPerDeviceMax) {
    const message = `Cannot accept ${tags.length} tags: at most ${LIMITS.tagsPerDeviceMax}`;
    return [...issues, { path: "tags", rule: "size", message }];
  }
  for (const [index, tag] of tags.entries()) {
    if (tag.length >= 1 && tag.length <= LIMITS.nameCharactersMax) {
      issues.push(...titleIssues(`tags.${index}`, tag));
      continue;
    }
    const message = `Cannot accept ${
      quote(tag)
    } as tag: 1 to ${LIMITS.nameCharactersMax} characters`;
    issues.push({ path: `tags.${index}`, rule: "length", message });
  }
  return issues;
}

export function overlapIssues(overlapMs: number): Issue[] {
  const max = LIMITS.secretOverlapMsMax;
  if (Number.isInteger(overlapMs) && overlapMs >= 0 && overlapMs <= max) return [];
  const message = `Cannot accept ${overlapMs} as overlapMs: 0 to ${max} whole milliseconds`;
  return [{ path: "overlapMs", rule: "range", message }];
}

/** Never tells the secret itself. */
export function secretIssues(secret: string | undefined): Issue[] {
  if (secret === undefined) return [];
  const { secretCharactersMin: min, secretCharactersMax: max } = LIMITS;
  if (secret.length < min || secret.length > max) {
    const message = `Cannot accept a secret of ${secret.length} characters: ${min} to ${max}`;
    return [{ path: "secret", rule: "length", message }];
  }
  if (secret.isWellFormed()) return [];
  return [{ path: "secret", rule: "text", message: "Cannot accept a secret with lone surrogates" }];
}
