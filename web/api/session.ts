/** Who is logged in. */
import { computed, shallowRef } from "vue";
import { access, api } from "./client.ts";
import { ApiError } from "./problem.ts";
import type { Answer } from "./types.ts";

export type Session = Answer<"/api/v1/session", "get">;
export type Role = Session["user"]["role"];

const current = shallowRef<Session>();
const hasEnded = shallowRef(false);

/** Undefined: nobody. */
export const session = computed(() => current.value);
/** The session ended by itself: the log-in page says so. */
export const sessionHasEnded = computed(() => hasEnded.value);

const RANKS: Readonly<Record<Role, number>> = {
  viewer: 0,
  operator: 1,
  owner: 2,
};

/** Whether the person may do what takes this role. */
export function mayAs(role: Role): boolean {
  const own = current.value?.user.role;
  return own !== undefined && RANKS[own] >= RANKS[role];
}

access.onUnauthorized = () => {
  if (current.value === undefined) return;
  hasEnded.value = true;
  take(undefined);
};

function take(found: Session | undefined): void {
  current.value = found;
  access.csrf = found?.csrf;
}

/** Reads the session of the cookie. @throws {ApiError} If the API cannot be asked. */
export async function readSession(): Promise<void> {
  try {
    take(await api.get("/api/v1/session"));
  } catch (fault) {
    if (!(fault instanceof ApiError) || fault.status !== 401) throw fault;
    take(undefined);
  }
}

export async function logIn(name: string, password: string): Promise<void> {
  take(await api.post("/api/v1/session", { body: { name, password } }));
  hasEnded.value = false;
}

export async function logOut(): Promise<void> {
  await api.delete("/api/v1/session");
  hasEnded.value = false;
  take(undefined);
}
