/** Whether the person is to be led through a first run: an owner, before there is any device. */
import { api } from "./client.ts";
import { ApiError } from "./problem.ts";
import { mayAs } from "./session.ts";

const STORED = "roost.setup";

export async function isFirstRun(): Promise<boolean> {
  if (!mayAs("owner") || localStorage.getItem(STORED) === "done") return false;
  try {
    const { items } = await api.get("/api/v1/devices", { query: { limit: 1 } });
    return items.length === 0;
  } catch (fault) {
    if (!(fault instanceof ApiError)) throw fault;
    return false; // The page behind says what is wrong.
  }
}

export function endFirstRun(): void {
  localStorage.setItem(STORED, "done");
}
