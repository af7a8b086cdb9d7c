/**
 * Examples of pages: fenced blocks whose info string says `example` after the language. All
 * `sh example` blocks of a page run in order in one shell; each `ts example` is a program of its
 * own, with imports relative to the repository's root. Blocks without the mark are prose.
 */
export interface Example {
  readonly language: "sh" | "ts";
  /** Of the fence, from 1. */
  readonly line: number;
  readonly code: string;
}

/** @throws If a mark is on a language that cannot run, or a fence is not closed. */
export function examplesOf(markdown: string): Example[] {
  const lines = markdown.split("\n");
  const examples: Example[] = [];
  for (let at = 0; at < lines.length; at++) {
    const fence = /^(\s*)(`{3,})(.*)$/.exec(lines[at]!);
    if (fence === null) continue;
    const [, indent = "", ticks = "", info = ""] = fence;
    const end = lines.findIndex((line, other) => other > at && line.trim() === ticks);
    if (end < 0) throw new Error(`line ${at + 1}: the fence is not closed`);
    const [language, ...marks] = info.trim().split(/\s+/);
    if (marks.includes("example")) {
      if (language !== "sh" && language !== "ts") {
        throw new Error(`line ${at + 1}: an example must be sh or ts, not "${language}"`);
      }
      const code = lines.slice(at + 1, end).map((line) => line.replace(indent, "")).join("\n");
      examples.push({ language, line: at + 1, code: code + "\n" });
    }
    at = end;
  }
  return examples;
}

/** Addresses of a default installation, as pages name them, to those of a running one. */
export function withAddresses(code: string, ports: { http: number; mqtt: number }): string {
  return code
    .replaceAll(/\b(127\.0\.0\.1|localhost):8080\b/g, `127.0.0.1:${ports.http}`)
    .replaceAll(/\b(127\.0\.0\.1|localhost):1883\b/g, `127.0.0.1:${ports.mqtt}`)
    .replaceAll(/(\bmosquitto_(?:pub|sub)\b(?!.* -p ))/g, `$1 -p ${ports.mqtt}`)
    .replaceAll(/ -p 1883\b/g, ` -p ${ports.mqtt}`);
}

/** One shell for a page: a failing line ends it. Each block is announced for the reader. */
export function scriptOf(examples: readonly Example[]): string {
  const parts = examples.map(({ line, code }) => `echo "== example at line ${line}"\n${code}`);
  return `set -euo pipefail\n${parts.join("\n")}`;
}
