/** Groups as the API tells of them. */
import { api } from "./client.ts";
import type { Answer } from "./types.ts";

type Page = Answer<"/api/v1/groups", "get">;

const PAGE = 500;

/** All groups of the project; there are at most 1,000. */
export async function readGroups(signal: AbortSignal): Promise<Page["items"]> {
  const found: Page["items"][number][] = [];
  let cursor: string | null = null;
  do {
    const query = { limit: PAGE, ...(cursor === null ? {} : { cursor }) };
    const page: Page = await api.get("/api/v1/groups", { query, signal });
    found.push(...page.items);
    cursor = page.nextCursor;
  } while (cursor !== null);
  return found;
}
