import assert from "node:assert/strict";
import { readLocked } from "./notices.ts";

Deno.test("every locked package stands in the notices", async () => {
  const text = await Deno.readTextFile(new URL("../THIRD_PARTY_NOTICES.md", import.meta.url));
  const locked = await readLocked();
  assert(locked.size > 5);
  const missing = [...locked].filter((each) => !text.includes(`| ${each.replace(" ", " | ")} |`));
  assert.deepEqual(missing, [], "run: deno task notices");
});
