/** A user as people see it, as a row, and the rules of its fields. */
import type { Issue } from "../../runtime/errors.ts";
import { nameIssues } from "../registry/names.ts";
import type { UsersTable } from "../registry/tables.ts";
import { PASSWORD_CHARACTERS_MAX, PASSWORD_CHARACTERS_MIN } from "./password.ts";
import { type Role, ROLES } from "./principal.ts";

export interface User {
  readonly id: string;
  readonly project: string;
  /** What they log in with; unique in the installation. */
  readonly name: string;
  readonly role: Role;
  readonly enabled: boolean;
  readonly version: number;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly updatedAt: number;
  /** Null: never. */
  readonly lastLoginAt: number | null;
}

export interface NewUser {
  /** Default: `default`. */
  readonly project?: string;
  readonly name: string;
  readonly role: Role;
  readonly password: string;
}

/** Absent fields stay. */
export interface UserPatch {
  readonly name?: string;
  readonly role?: Role;
  readonly enabled?: boolean;
  readonly password?: string;
}

export function userOf(row: UsersTable): User {
  return {
    id: row.id,
    project: row.project,
    name: row.name,
    role: row.role as Role,
    enabled: row.enabled === 1,
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    lastLoginAt: row.last_login_at,
  };
}

export function userIssues(patch: UserPatch): Issue[] {
  const issues = patch.name === undefined ? [] : nameIssues("name", patch.name);
  if (patch.password !== undefined) issues.push(...passwordIssues(patch.password));
  if (patch.role !== undefined && !ROLES.includes(patch.role)) {
    const message = `Cannot accept role: ${ROLES.join(", ")}`;
    issues.push({ path: "role", rule: "enum", message });
  }
  return issues;
}

/** Never tells the password itself. */
export function passwordIssues(password: string): Issue[] {
  const { length } = password;
  if (length < PASSWORD_CHARACTERS_MIN || length > PASSWORD_CHARACTERS_MAX) {
    const message = `Cannot accept a password of ${length} characters: ` +
      `${PASSWORD_CHARACTERS_MIN} to ${PASSWORD_CHARACTERS_MAX}`;
    return [{ path: "password", rule: "length", message }];
  }
  if (password.isWellFormed()) return [];
  const message = "Cannot accept a password with lone surrogates";
  return [{ path: "password", rule: "text", message }];
}
