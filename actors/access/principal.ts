/** Who is calling, and what they may do; the API's policy table decides with it. */

export type Role = "owner" | "operator" | "viewer";

export const ROLES = ["owner", "operator", "viewer"] as const satisfies readonly Role[];

/** Scopes of API keys, `{resource}:{read|write}`. Users and keys have none: keys never manage them. */
export const SCOPES = [
  "products:read",
  "products:write",
  "devices:read",
  "devices:write",
  "cluster:read",
  "cluster:write",
  "audit:read",
  "jobs:read",
  "jobs:write",
] as const;

export type Scope = typeof SCOPES[number];

export type Principal =
  | {
    readonly type: "user";
    readonly project: string;
    /** Id of the user. */
    readonly id: string;
    readonly name: string;
    readonly role: Role;
    /** Must come back as `X-CSRF-Token` on writes. */
    readonly csrf: string;
    /** Id of the session, see `Session`. */
    readonly session: string;
  }
  | {
    readonly type: "key";
    readonly project: string;
    /** Id of the key. */
    readonly id: string;
    readonly name: string;
    readonly scopes: readonly Scope[];
  };
