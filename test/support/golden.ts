/**
 * Golden transcripts: text files of commands (`> …`) with the whole trace they must give.
 * `deno test -A path -- --update` rewrites them; the change is read in review.
 */
import assert from "node:assert/strict";

export interface Transcript {
  /** Lines before the first command: comments and what is set up. */
  readonly head: readonly string[];
  readonly commands: readonly string[];
}

export function parseTranscript(text: string): Transcript {
  const lines = text.split("\n");
  const first = lines.findIndex((line) => line.startsWith("> "));
  const head = (first < 0 ? lines : lines.slice(0, first)).filter((line) => line !== "");
  const commands = lines.filter((line) => line.startsWith("> ")).map((line) => line.slice(2));
  return { head, commands };
}

/**
 * Runs a transcript file again and compares the whole text.
 * @param run Gets a command, gives the lines of its trace.
 */
export async function checkTranscript(
  file: URL,
  open: (head: readonly string[]) => (command: string) => Promise<readonly string[]>,
): Promise<void> {
  const expected = await Deno.readTextFile(file);
  const { head, commands } = parseTranscript(expected);
  const run = open(head);
  let actual = head.join("\n") + "\n";
  for (const command of commands) {
    const trace = await run(command);
    actual += `\n> ${command}\n${trace.map((line) => line + "\n").join("")}`;
  }
  if (Deno.args.includes("--update")) return await Deno.writeTextFile(file, actual);
  assert.equal(actual, expected, `${file.pathname}: rewrite with \`-- --update\` and review`);
}
