/** What gateways need to know of devices, answered from memory or the registry, synchronously. */
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Issue } from "../../runtime/errors.ts";
import type { Values } from "./messages.ts";

/** Identity after a successful login; shared by all connections of a product where it can be. */
export interface DeviceLogin {
  readonly product: string;
  readonly device: string;
}

export type LoginResult =
  | { readonly ok: true; readonly login: DeviceLogin }
  /** Unknown and wrong are one answer and take one time. */
  | { readonly ok: false; readonly code: "bad_credentials" | "disabled" };

/** What a validated properties message comes to. */
export interface ValidatedValues {
  /** Values that are kept; the same object if all were. */
  readonly values: Values;
  /** Refused ones, each with path, bound and value. Empty: everything was kept. */
  readonly refused: readonly Issue[];
}

export interface DeviceDirectory {
  /** Constant time for unknown devices and wrong secrets. */
  login(product: string, device: string, secret: string): LoginResult;
  /** Its certificate proved who it is. Unknown, and where the product takes none, are one answer. */
  loginByCertificate(product: string, device: string): LoginResult;
  /** Checks one sample's values against the product's model (strict) or infers (open). */
  validate(product: string, values: Values): ValidatedValues;
  /** Fast check on a parsed object: true if `validate` would keep everything. No allocation. */
  accepts(product: string, values: Values): boolean;
  /** What is wrong with an event: it is refused whole. Paths begin below `path`. */
  eventIssues(product: string, event: string, data: Json, path: string): readonly Issue[];
  /** What is wrong with a call's input or output; paths begin with that word. */
  callIssues(
    product: string,
    service: string,
    part: "input" | "output",
    value: Json,
  ): readonly Issue[];
  /** Id of the project that a product belongs to; undefined: there is no such product. */
  projectOf(product: string): string | undefined;
  /** How old a point may be, days. */
  lateDaysMax(product: string): number;
  /** Called when a device may no longer be connected (disabled, deleted, secret rotated). */
  onRevoked(listener: (product: string, device: string, reason: string) => void): () => void;
}
