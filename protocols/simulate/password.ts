/** A person's password: typed on the terminal without an echo, else a line of standard input. */
import { InvalidError } from "../../runtime/errors.ts";

const BYTES_MAX = 1_024;
const ENTER = [10, 13];
const BACKSPACE = [8, 127];
/** Ctrl-C and Ctrl-D, which a raw terminal hands over as they are. */
const LEAVE = [3, 4];

export interface PasswordSource {
  isTerminal(): boolean;
  setRaw(isRaw: boolean): void;
  readSync(into: Uint8Array): number | null;
}

/** @throws {InvalidError} There is none, or it is too long. */
export function askPassword(
  user: string,
  source: PasswordSource,
  say: (text: string) => void,
): string {
  const isTerminal = source.isTerminal();
  if (!isTerminal) return readLine(source, false);
  say(`Password of ${user}: `);
  source.setRaw(true);
  try {
    return readLine(source, true);
  } finally {
    source.setRaw(false);
    say("\n");
  }
}

function readLine(source: PasswordSource, isRaw: boolean): string {
  const typed: number[] = [];
  const byte = new Uint8Array(1);
  while (source.readSync(byte) === 1 && !ENTER.includes(byte[0]!)) {
    if (isRaw && LEAVE.includes(byte[0]!)) throw new InvalidError("No password was given");
    if (isRaw && BACKSPACE.includes(byte[0]!)) {
      // A character of several bytes goes as one.
      let last = typed.pop();
      while (last !== undefined && (last & 0xc0) === 0x80) last = typed.pop();
    } else if (typed.push(byte[0]!) > BYTES_MAX) {
      throw new InvalidError(`Cannot accept a password of more than ${BYTES_MAX} B`);
    }
  }
  if (typed.length === 0) throw new InvalidError("No password was given");
  return new TextDecoder().decode(Uint8Array.from(typed));
}
