/** The files of one build of the console, held in memory: a request reads no disk. */
import { UnavailableError } from "../../../runtime/errors.ts";
import { LIMITS } from "../../../runtime/limits.ts";
import { type ListedFile, LISTING } from "./build_folder.ts";

export interface SiteFile extends ListedFile {
  readonly plain: Uint8Array<ArrayBuffer>;
  readonly br?: Uint8Array<ArrayBuffer>;
  readonly gz?: Uint8Array<ArrayBuffer>;
}

export type SiteFiles = ReadonlyMap<string, SiteFile>;

/**
 * By path, as `assets/main-x1.js`. Undefined if the folder is not there.
 * @throws {UnavailableError} If it passes `consoleBytesMax`.
 */
export async function loadSiteFiles(
  folder: URL,
): Promise<SiteFiles | undefined> {
  const listed = await readListing(folder);
  if (listed === undefined) return undefined;
  const files = new Map<string, SiteFile>();
  let bytes = 0;
  for (const each of listed) {
    const file = await readFile(folder, each);
    bytes += file.plain.length + (file.br?.length ?? 0) +
      (file.gz?.length ?? 0);
    if (bytes > LIMITS.consoleBytesMax) {
      const bound = `consoleBytesMax is ${LIMITS.consoleBytesMax}`;
      throw new UnavailableError(
        "console",
        `Cannot hold the console's files: ${bound}`,
      );
    }
    files.set(each.path, file);
  }
  return files;
}

async function readListing(
  folder: URL,
): Promise<readonly ListedFile[] | undefined> {
  try {
    return JSON.parse(await Deno.readTextFile(new URL(LISTING, folder)));
  } catch (fault) {
    if (fault instanceof Deno.errors.NotFound) return undefined;
    throw fault;
  }
}

async function readFile(folder: URL, listed: ListedFile): Promise<SiteFile> {
  const url = new URL(encodeURI(listed.path), folder);
  const encoded: {
    br?: Uint8Array<ArrayBuffer>;
    gz?: Uint8Array<ArrayBuffer>;
  } = {};
  for (const encoding of listed.encodings) {
    encoded[encoding] = await Deno.readFile(new URL(`${url.href}.${encoding}`));
  }
  return { ...listed, plain: await Deno.readFile(url), ...encoded };
}
