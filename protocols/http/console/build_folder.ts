/**
 * Where a build of the console stands: `.cache/console/{hash of its sources}`, written whole by
 * `web/build/main.ts` and renamed into place, so that a folder that is there is complete.
 */
import { createHash } from "node:crypto";

/** Lists the files of a build; stands in its folder. */
export const LISTING = "files.json";

export interface ListedFile {
  /** From the folder, with `/`: `assets/main-x1.js`. */
  readonly path: string;
  readonly type: string;
  /** Strong entity tag of the content, with its quotes. */
  readonly etag: string;
  /** The name changes with the content. */
  readonly isImmutable: boolean;
  /** Encodings that stand beside it as `{path}.br` and `{path}.gz`. */
  readonly encodings: readonly Encoding[];
}

export type Encoding = "br" | "gz";

const SKIPPED: ReadonlySet<string> = new Set(["node_modules", ".vite"]);

/** @param root Of the repository. */
export function buildsFolder(root: URL): URL {
  return new URL(".cache/console/", root);
}

export function webFolder(root: URL): URL {
  return new URL("web/", root);
}

/** Hash of all that a build is made from: tests beside the sources do not count. */
export async function hashSources(web: URL): Promise<string> {
  const paths: string[] = [];
  await collect(web, "", paths);
  const hash = createHash("sha256");
  for (const path of paths.sort()) {
    hash.update(`${path}\n`);
    hash.update(await Deno.readFile(new URL(encodeURI(path), web)));
    hash.update("\n");
  }
  return hash.digest("hex").slice(0, 16);
}

async function collect(
  folder: URL,
  prefix: string,
  found: string[],
): Promise<void> {
  for await (const entry of Deno.readDir(folder)) {
    const path = prefix + entry.name;
    if (entry.isDirectory && !SKIPPED.has(entry.name)) {
      await collect(
        new URL(`${encodeURI(entry.name)}/`, folder),
        `${path}/`,
        found,
      );
    } else if (entry.isFile && !entry.name.endsWith("_test.ts")) {
      found.push(path);
    }
  }
}
