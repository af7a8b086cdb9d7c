/** Compresses the files of a build ahead of time and lists them. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import {
  type Encoding,
  type ListedFile,
  LISTING,
} from "../../protocols/http/console/build_folder.ts";

const TYPES: Readonly<Record<string, string>> = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  ico: "image/x-icon",
  js: "text/javascript; charset=utf-8",
  json: "application/json",
  png: "image/png",
  svg: "image/svg+xml",
  txt: "text/plain; charset=utf-8",
  webmanifest: "application/manifest+json",
  woff2: "font/woff2",
};
/** Compressed already. */
const DENSE: ReadonlySet<string> = new Set(["png", "woff2", "ico"]);
/** Below it, headers weigh more than what is saved. */
const COMPRESSED_BYTES_MIN = 512;

export async function compressFolder(
  folder: URL,
  onProgress: (progress: number) => void,
): Promise<void> {
  const paths = await filesOf(folder, "");
  const listed: ListedFile[] = [];
  for (const path of paths.sort()) {
    listed.push(await compressFile(folder, path));
    onProgress(listed.length / paths.length);
  }
  await Deno.writeTextFile(new URL(LISTING, folder), JSON.stringify(listed));
}

async function compressFile(folder: URL, path: string): Promise<ListedFile> {
  const url = new URL(encodeURI(path), folder);
  const bytes = await Deno.readFile(url);
  const extension = path.slice(path.lastIndexOf(".") + 1);
  const type = TYPES[extension];
  if (type === undefined) {
    throw new Error(`${path}: no media type is known for it`);
  }
  const encodings: Encoding[] = [];
  if (!DENSE.has(extension) && bytes.length >= COMPRESSED_BYTES_MIN) {
    const params = {
      [constants.BROTLI_PARAM_QUALITY]: 11,
      [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    };
    await Deno.writeFile(
      new URL(`${url.href}.br`),
      brotliCompressSync(bytes, { params }),
    );
    await Deno.writeFile(
      new URL(`${url.href}.gz`),
      gzipSync(bytes, { level: 9 }),
    );
    encodings.push("br", "gz");
  }
  const digest = createHash("sha256").update(Buffer.from(bytes)).digest(
    "base64url",
  ).slice(0, 16);
  return {
    path,
    type,
    etag: `"${digest}"`,
    isImmutable: path.startsWith("assets/"),
    encodings,
  };
}

async function filesOf(folder: URL, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    const path = prefix + entry.name;
    if (entry.isFile) found.push(path);
    else {found.push(
        ...await filesOf(
          new URL(`${encodeURI(entry.name)}/`, folder),
          `${path}/`,
        ),
      );}
  }
  return found;
}
