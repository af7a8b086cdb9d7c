/** Paths of all files under `root`, relative with `/`; names that are not `wanted` are not entered. */
export async function walk(
  root: URL,
  wanted: (name: string) => boolean,
  prefix = "",
): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(new URL(prefix, root))) {
    if (!wanted(entry.name)) continue;
    if (entry.isDirectory) found.push(...await walk(root, wanted, `${prefix}${entry.name}/`));
    else if (entry.isFile) found.push(prefix + entry.name);
  }
  return found;
}
