/** Structured logs. The message is a constant lower-case phrase; everything that varies is a field. */
export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to each line. */
  with(fields: LogFields): Logger;
}

const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Takes one finished line without its newline. */
  readonly write: (line: string) => void;
  readonly nowMs: () => number;
  /** Readable text instead of JSON lines. */
  readonly isText: boolean;
}

export function createLogger(options: LoggerOptions, bound: LogFields = {}): Logger {
  const threshold = LEVELS.indexOf(options.level);
  const emit = (level: LogLevel, message: string, fields: LogFields = {}) => {
    if (LEVELS.indexOf(level) < threshold) return;
    const all = { ...bound, ...fields };
    const at = new Date(options.nowMs()).toISOString();
    const line = options.isText
      ? `${at} ${level.padEnd(5)} ${message}${textOf(all)}`
      : JSON.stringify({ at, level, message, ...all }, printable);
    options.write(line);
  };
  return {
    debug: (message, fields) => emit("debug", message, fields),
    info: (message, fields) => emit("info", message, fields),
    warn: (message, fields) => emit("warn", message, fields),
    error: (message, fields) => emit("error", message, fields),
    with: (fields) => createLogger(options, { ...bound, ...fields }),
  };
}

export const silentLogger: Logger = createLogger({
  level: "error",
  write: () => {},
  nowMs: () => 0,
  isText: false,
});

const STDERR_ENCODER = new TextEncoder();

/** Writes whole lines to standard error. */
export function writeStderr(line: string): void {
  Deno.stderr.writeSync(STDERR_ENCODER.encode(line + "\n"));
}

/** The logger of a thread: text on a terminal, JSON lines elsewhere. */
export function createStderrLogger(clock: { nowMs(): number }, level: LogLevel = "info"): Logger {
  const isText = Deno.stderr.isTerminal();
  return createLogger({ level, isText, write: writeStderr, nowMs: () => clock.nowMs() });
}

function textOf(fields: LogFields): string {
  const text = Object.entries(fields)
    .map(([key, value]) => `${key}=${JSON.stringify(value, printable)}`)
    .join(" ");
  return text === "" ? "" : " " + text;
}

function printable(_key: string, value: unknown): unknown {
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  return typeof value === "bigint" ? value.toString() : value;
}
