/** Writes `deploy/roost.sample.jsonc` from the configuration's schema: `deno task sample`. */
import { renderSample } from "../runtime/config.ts";

await Deno.writeTextFile(new URL("roost.sample.jsonc", import.meta.url), renderSample());
