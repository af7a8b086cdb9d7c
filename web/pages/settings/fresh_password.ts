/** A password to hand over: random, easy to read aloud. */

/** Without those that look alike. */
const LETTERS = "abcdefghjkmnpqrstuvwxyz23456789";
const GROUPS = 5;
const GROUP_LENGTH = 4;

/** 20 of 31 letters: 99 bits. */
export function freshPassword(): string {
  const text = Array.from({ length: GROUPS * GROUP_LENGTH }, letter).join("");
  return text.match(/.{4}/g)!.join("-");
}

function letter(): string {
  const [byte = 0] = crypto.getRandomValues(new Uint8Array(1));
  // Bytes beyond the last whole round would make some letters likelier.
  return byte < 256 - 256 % LETTERS.length ? LETTERS[byte % LETTERS.length]! : letter();
}
