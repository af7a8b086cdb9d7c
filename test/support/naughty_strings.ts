/** Texts that break programs which trust them. */
import BLNS from "../console/blns.json" with { type: "json" };

/** Of our own: what is naughty to an API over SQL. */
const OWN_STRINGS: readonly string[] = [
  ...["", " ", "\t", "null", "undefined", "NaN", "true", "-1", "0x10", "1e999", "9".repeat(400)],
  ...["1/0", "-", "--", "$0", "1;2", "1,2", "1.0.0", "00", "1_000", "١٢٣", "∞", "−1"],
  // Of objects and engines.
  ...["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "__defineGetter__"],
  ...["valueOf", "then", "length", "[object Object]", "${7*7}", "{{7*7}}", "#{7*7}", "%s%n%x%d"],
  // Databases.
  ...["'", '"', "\\", "';--", "' or '1'='1", "1'; drop table devices;--", "' union select 1--"],
  ...["%", "_", "%%", "a%' escape '", "name desc; delete from users", "name, (select 1)", "rowid"],
  ...["\u0000", "a\u0000b", "*/ or 1=1 /*", "$where", "{$gt:''}", "sleep(5)", "?1", ":id", "@x"],
  // Markup and scripts.
  ...[
    "<script>alert(1)</script>",
    "</script>",
    "<img src=x onerror=alert(1)>",
    "javascript:alert(1)",
  ],
  ...["<!--", "]]>", "&lt;", '"><svg/onload=alert(1)>', "<?xml version='1.0'?><!DOCTYPE x>"],
  // Paths and commands.
  ...["../../etc/passwd", "..\\..\\x", "/etc/passwd", "file:///etc/passwd", ".", "..", "~", "con"],
  ...["`touch x`", "$(touch x)", "; ls", "| cat", "&& id", "a/b", "//", "\\\\host\\x", "C:\\"],
  // Headers and lines.
  ...["a\r\nx-injected: 1", "a\nx-injected: 1", "\r\n\r\n<html>", "a;b=c", "=cmd|' /C calc'!A0"],
  ...["+1+1", "-1+1", "@sum(1)"],
  // Text.
  ...["田中さん", "Ω≈ç√∫", "👩‍👩‍👧‍👦", "🏳️‍🌈", "ﷺ", "\u202eabc", "\u200b", "\ufeff", "\ufffe", "Z̮̞̠͙"],
  ...["İ", "ß", "ǅ", "e\u0301", "\u001b[31m", "\u0085", "\u2028", "\ud83d", "\udc00x", "\u007f"],
  ...["a b", "a+b", "a:b", "a#b", "a?b", "a&b=c", "x".repeat(65), "x".repeat(5_000)],
];

/** With the "Big List of Naughty Strings"; source and licence: `test/console/blns_license.txt`. */
export const NAUGHTY_STRINGS: readonly string[] = [...new Set([...OWN_STRINGS, ...BLNS])];

/** Ours, and every fourth of the list from the `turn`th on: four places in a row have all of them. */
export function someNaughty(turn: number): string[] {
  return [...OWN_STRINGS, ...BLNS.filter((_, index) => index % 4 === turn % 4)];
}

/** Pieces of paths as they stand in a URL, escaped wrongly or more than once. */
export const NAUGHTY_ESCAPES: readonly string[] = [
  ...["%00", "%", "%zz", "%2e%2e", "%2e%2e%2f", "..%2f..%2f", "%252e", "%c0%ae", "%ff", "%E0%A4%A"],
  ...["%0d%0ax-injected:%201", "%2F", "%5c", "%3Cscript%3E", "..;", ";a=b", "%u0041", "%ED%A0%80"],
];
