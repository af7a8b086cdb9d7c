/** What the doctor finds, how it is shown, and the exit code that it comes to. */

export type Level = "ok" | "warning" | "fault";

export interface Finding {
  /** What was looked at, a constant. */
  readonly check: string;
  readonly level: Level;
  readonly found: string;
  /** What to do; each finding that is not `ok` has one. */
  readonly fix?: string;
}

export interface Report {
  readonly findings: readonly Finding[];
  /** What this host can do; absent with `--quick`. */
  readonly measures?: Readonly<Record<string, number>>;
}

export function ok(check: string, found: string): Finding {
  return { check, level: "ok", found };
}

export function warning(check: string, found: string, fix: string): Finding {
  return { check, level: "warning", found, fix };
}

export function fault(check: string, found: string, fix: string): Finding {
  return { check, level: "fault", found, fix };
}

/** 0 fine, 1 warnings, 2 faults. */
export function exitCodeOf({ findings }: Report): 0 | 1 | 2 {
  if (findings.some(({ level }) => level === "fault")) return 2;
  return findings.some(({ level }) => level === "warning") ? 1 : 0;
}

export function renderText(report: Report): string {
  const lines = report.findings.flatMap(({ check, level, found, fix }) => [
    `${level.padEnd(7)}  ${check}: ${found}`,
    ...fix === undefined ? [] : [`         fix: ${fix}`],
  ]);
  for (const [name, value] of Object.entries(report.measures ?? {})) {
    lines.push(`measure  ${name}: ${Math.round(value).toLocaleString("en")}`);
  }
  const count = (level: Level) => report.findings.filter((each) => each.level === level).length;
  lines.push(`${count("fault")} faults, ${count("warning")} warnings, ${count("ok")} fine`);
  return lines.join("\n") + "\n";
}

export function renderJson(report: Report): string {
  return JSON.stringify({ exitCode: exitCodeOf(report), ...report }, null, 2) + "\n";
}
