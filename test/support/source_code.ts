/** Source files of the repository and what the tidy rules look at in them. */
import { walk } from "./walk.ts";

export interface SourceFile {
  /** From the repository's root, with `/`: `runtime/clock.ts`. */
  readonly path: string;
  readonly text: string;
  /** The text with comments, strings and regular expressions blanked; same lines and columns. */
  readonly code: string;
}

const SKIPPED = new Set(["node_modules", ".git", ".cache", "data", "dist"]);

/** All `.ts` and `.vue` files under `root`, by path. */
export async function readSources(root: URL): Promise<SourceFile[]> {
  const paths = await walk(root, (name) => !SKIPPED.has(name));
  const sources = paths.filter((path) => /\.(?:ts|vue)$/.test(path)).sort().map(async (path) =>
    sourceOf(path, await Deno.readTextFile(new URL(path, root)))
  );
  return await Promise.all(sources);
}

export function sourceOf(path: string, text: string): SourceFile {
  const script = path.endsWith(".vue") ? scriptOf(text) : text;
  return { path, text, code: blankNonCode(script) };
}

/** The script of a component; all else of it gives way to spaces, so that lines and columns hold. */
function scriptOf(text: string): string {
  const found = /(<script[^>]*>)([\s\S]*?)<\/script>/.exec(text);
  const [, open = "", script = ""] = found ?? [];
  const blank = (part: string) => part.replaceAll(/[^\n]/g, " ");
  const start = (found?.index ?? 0) + open.length;
  return blank(text.slice(0, start)) + script + blank(text.slice(start + script.length));
}

/** Modules that a file names in static and dynamic imports and re-exports. */
export function importsOf(file: SourceFile): string[] {
  const pattern = /\b(?:from|import)\s*(?:\(\s*)?["']/g;
  const found: string[] = [];
  // Positions come from `code`, where an import in a string or comment does not exist any more.
  for (const match of file.code.matchAll(pattern)) {
    const start = match.index + match[0].length;
    found.push(file.text.slice(start, file.text.indexOf(file.text[start - 1] ?? "", start)));
  }
  return found;
}

export interface FunctionSpan {
  /** From 1. */
  readonly line: number;
  readonly lines: number;
}

const FUNCTION_LINE =
  /=>\s*\{$|\bfunction\b.*\{$|^\s*(?!(?:if|for|while|switch|catch|do|else|return)\b)[\w#*][\w#*\s.[\]]*(?:<.*>)?\(.*\)[^=]*\{$|^\s*\)(?::.*)? \{$/;

/**
 * Functions of formatted code: from the line that opens a body to the one that closes it at the same
 * indentation. A signature over several lines counts from the line of its closing parenthesis.
 */
export function functionsOf(file: SourceFile): FunctionSpan[] {
  const lines = file.code.split("\n");
  const indents = lines.map((line) => line.search(/\S/));
  const spans: FunctionSpan[] = [];
  lines.forEach((line, at) => {
    if (!FUNCTION_LINE.test(line)) return;
    const isEnd = (other: number) =>
      other > at && indents[other] === indents[at] && lines[other]!.trimStart().startsWith("}");
    const end = lines.findIndex((_, other) => isEnd(other));
    if (end > 0) spans.push({ line: at + 1, lines: end - at + 1 });
  });
  return spans;
}

/** Blanks what is not code, keeping line breaks, quotes, and the code inside `${}`. */
export function blankNonCode(text: string): string {
  return new Blanker(text).run();
}

class Blanker {
  readonly #text: string;
  #at = 0;
  #out = "";

  constructor(text: string) {
    this.#text = text;
  }

  run(): string {
    while (this.#at < this.#text.length) this.#code(false);
    return this.#out;
  }

  /** Code up to the end, or to the `}` that closes a template's `${`. */
  #code(isInTemplate: boolean): void {
    let depth = 0;
    while (this.#at < this.#text.length) {
      const char = this.#text[this.#at]!;
      const two = this.#text.slice(this.#at, this.#at + 2);
      if (two === "//") this.#blankTo(this.#indexOf("\n"));
      else if (two === "/*") this.#blankTo(this.#indexOf("*/") + 2);
      else if (char === '"' || char === "'") this.#string(char);
      else if (char === "`") this.#template();
      else if (char === "/" && this.#isRegexStart()) this.#regex();
      else {
        if (char === "{") depth++;
        if (char === "}" && depth-- === 0 && isInTemplate) return;
        this.#keep();
      }
    }
  }

  #string(quote: string): void {
    this.#keep();
    while (this.#at < this.#text.length && this.#text[this.#at] !== quote) {
      if (this.#text[this.#at] === "\n") return;
      this.#blankTo(this.#at + (this.#text[this.#at] === "\\" ? 2 : 1));
    }
    this.#keep();
  }

  #template(): void {
    this.#keep();
    while (this.#at < this.#text.length && this.#text[this.#at] !== "`") {
      if (this.#text.startsWith("${", this.#at)) {
        this.#blankTo(this.#at + 2);
        this.#code(true);
        this.#blankTo(this.#at + 1);
      } else this.#blankTo(this.#at + (this.#text[this.#at] === "\\" ? 2 : 1));
    }
    this.#keep();
  }

  #regex(): void {
    let isInClass = false;
    let end = this.#at + 1;
    while (end < this.#text.length && (isInClass || this.#text[end] !== "/")) {
      if (this.#text[end] === "\\") end++;
      else if (this.#text[end] === "[") isInClass = true;
      else if (this.#text[end] === "]") isInClass = false;
      end++;
    }
    this.#blankTo(end + 1);
  }

  #isRegexStart(): boolean {
    const before = this.#out.trimEnd();
    return before === "" || /[(,=:[!&|?{};>]$|\breturn$/.test(before.slice(-8));
  }

  #indexOf(mark: string): number {
    const found = this.#text.indexOf(mark, this.#at);
    return found < 0 ? this.#text.length : found;
  }

  #keep(): void {
    this.#out += this.#text[this.#at++] ?? "";
  }

  #blankTo(end: number): void {
    this.#out += this.#text.slice(this.#at, end).replace(/[^\n]/g, " ");
    this.#at = end;
  }
}
