/** Rules of the console's sources: no text stands outside its dictionaries. */
import type { SourceFile } from "./source_code.ts";
import type { Rule } from "./tidy_rules.ts";

/** Attributes that people read or hear; bound ones (`:title`) come from a dictionary. */
const READ_ATTRIBUTES =
  /\s(?:title|label|placeholder|alt|content|aria-[a-z]*(?:label|description|text))="[^"]*\p{L}[^"]*"/gu;
const HAN = /\p{Script=Han}/u;
/** A tag, its attributes quoted; a comment; a value. */
const MARKUP = /<!--[\s\S]*?-->|\{\{[\s\S]*?\}\}|<(?:[^<>"']|"[^"]*"|'[^']*')*>/g;

export const checkTexts: Rule = (files) =>
  files.filter(({ path }) => path.startsWith("web/") && !path.startsWith("web/build/"))
    .flatMap((file) => isDictionary(file) ? [] : [...hanIn(file), ...wordsInTemplate(file)]);

function isDictionary({ path }: SourceFile): boolean {
  return /(?:^|[/_])text\.ts$/.test(path) || path.endsWith("_test.ts");
}

/** Chinese stands in dictionaries only, whatever the file. */
function hanIn({ path, text }: SourceFile): string[] {
  return text.split("\n").flatMap((line, at) =>
    HAN.test(line) ? [`${path}:${at + 1}: Chinese text outside a dictionary`] : []
  );
}

function wordsInTemplate({ path, text }: SourceFile): string[] {
  if (!path.endsWith(".vue")) return [];
  const start = text.indexOf("<template>");
  const end = text.lastIndexOf("</template>");
  if (start === -1 || end === -1) return [];
  const before = text.slice(0, start).split("\n").length;
  const template = text.slice(start, end);
  const found = [...template.matchAll(READ_ATTRIBUTES)].map(({ index, 0: attribute }) =>
    `${path}:${lineOf(template, index, before)}: ${attribute.trim()} is not from a dictionary`
  );
  // Blanked, so that positions hold.
  const words = template.replaceAll(MARKUP, (part) => part.replaceAll(/[^\n]/g, " "));
  for (const { index, 0: word } of words.matchAll(/\p{L}[^\n]*/gu)) {
    found.push(
      `${path}:${lineOf(template, index, before)}: "${word.trim()}" is not from a dictionary`,
    );
  }
  return found;
}

function lineOf(text: string, index: number, before: number): number {
  return before + text.slice(0, index).split("\n").length - 1;
}
