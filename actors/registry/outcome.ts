/** Expected refusals of the registry, as values. */
import type { Issue } from "../../runtime/errors.ts";

export interface Refusal {
  readonly ok: false;
  /**
   * `invalid`: `issues` say what (400). `not_found` (404). `exists`: the key is taken (409).
   * `in_use`: something depends on it (409). `stale`: another version is stored (412).
   * `breaking`: what it breaks has to be accepted first (409).
   */
  readonly code: "invalid" | "not_found" | "exists" | "in_use" | "stale" | "breaking";
  /** What was refused and why, for people. */
  readonly message: string;
  readonly issues: readonly Issue[];
  /** Further facts for whoever asked, by name. */
  readonly facts?: Readonly<Record<string, unknown>>;
}

export type Outcome<T> = { readonly ok: true; readonly value: T } | Refusal;

export interface Page<T> {
  readonly items: readonly T[];
  /** Opaque; stays valid while rows change. Null: there is no more. */
  readonly nextCursor: string | null;
}

export function accepted<T>(value: T): Outcome<T> {
  return { ok: true, value };
}

export function refused(
  code: Refusal["code"],
  message: string,
  issues: readonly Issue[] = [],
): Refusal {
  return { ok: false, code, message, issues };
}

/** Refusal of what breaks rules; its message is the first issue's. */
export function invalid(issues: readonly Issue[]): Refusal {
  return refused("invalid", issues[0]?.message ?? "Cannot accept this", issues);
}
