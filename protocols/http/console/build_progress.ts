/** What the build of the console says while it runs: one JSON document a line, on standard output. */

export type BuildProgress =
  /** Looks whether there is a build, or waits for another process that makes it. */
  | { readonly phase: "looking" }
  | {
    readonly phase: "installing" | "bundling" | "compressing";
    readonly progress: number;
  }
  | { readonly phase: "ready" }
  /** `cause` in the words of the tool that failed, `fix` what a person can do. */
  | {
    readonly phase: "failed";
    readonly cause: string;
    readonly fix: BuildFix;
  };

/** What a person can do about a failed build; pages have the words. */
export type BuildFix =
  /** The packages could not be fetched. */
  | "network"
  /** The disk is full or the folder is read-only. */
  | "disk"
  /** The sources do not build: a bug, or a change of the operator's own. */
  | "sources"
  /** Builds at start are off (`console.build`). */
  | "disabled";

const PHASES: ReadonlySet<unknown> = new Set([
  "looking",
  "installing",
  "bundling",
  "compressing",
  "ready",
  "failed",
]);

/** Undefined: the line is something else, such as a tool's own words. */
export function parseProgress(line: string): BuildProgress | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    const value: unknown = JSON.parse(line);
    const phase = (value as { phase?: unknown } | null)?.phase;
    return PHASES.has(phase) ? value as BuildProgress : undefined;
  } catch {
    return undefined;
  }
}
