/** A process and its descendants, and their memory, as /proc tells. Linux only. */

export interface ProcessMemory {
  readonly pid: number;
  readonly command: string;
  /** Resident bytes; pages shared between processes are counted in each. */
  readonly rssBytes: number;
  /** Proportional share: shared pages divided among those that map them. */
  readonly pssBytes: number;
}

export interface TreeMemory {
  readonly rssBytes: number;
  readonly pssBytes: number;
  readonly processes: readonly ProcessMemory[];
}

/** The pids of a process and all its descendants; empty if it is gone. */
export function treeOf(root: number): number[] {
  const parents = new Map<number, number>();
  for (const entry of Deno.readDirSync("/proc")) {
    const pid = Number(entry.name);
    const parent = Number.isInteger(pid) ? parentOf(pid) : undefined;
    if (parent !== undefined) parents.set(pid, parent);
  }
  const tree = parents.has(root) ? [root] : [];
  for (let i = 0; i < tree.length; i++) {
    for (const [pid, parent] of parents) if (parent === tree[i]) tree.push(pid);
  }
  return tree;
}

/** True while the process runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  return parentOf(pid) !== undefined;
}

/** CPU time of a process so far, in user mode; 0 if it is gone. */
export function cpuMsOf(pid: number): number {
  const stat = readProc(pid, "stat");
  if (stat === undefined) return 0;
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[11]) * TICK_MS;
}

/** `USER_HZ` is 100 on each architecture that Deno runs on. */
const TICK_MS = 10;

export function memoryOfTree(root: number): TreeMemory {
  const processes = treeOf(root).map(memoryOf).filter((one) => one !== undefined);
  const sum = (pick: (one: ProcessMemory) => number) =>
    processes.reduce((total, one) => total + pick(one), 0);
  return { rssBytes: sum((one) => one.rssBytes), pssBytes: sum((one) => one.pssBytes), processes };
}

function memoryOf(pid: number): ProcessMemory | undefined {
  const rollup = readProc(pid, "smaps_rollup");
  if (rollup === undefined) return undefined;
  const bytesOf = (field: string) =>
    Number(new RegExp(`^${field}: +(\\d+) kB`, "m").exec(rollup)?.[1] ?? 0) * 1_024;
  const command = (readProc(pid, "cmdline") ?? "").split("\0").filter((part) => part !== "");
  return {
    pid,
    command: command.filter((part) => /\.(ts|js)$/.test(part)).at(-1) ?? command[0] ?? "?",
    rssBytes: bytesOf("Rss"),
    pssBytes: bytesOf("Pss"),
  };
}

/** Parent of a process that runs; undefined if it is gone or a zombie. */
function parentOf(pid: number): number | undefined {
  const stat = readProc(pid, "stat");
  if (stat === undefined) return undefined;
  // The command stands in parentheses and may hold anything: state and parent follow the last one.
  const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return state === "Z" || state === "X" ? undefined : Number(parent);
}

/** Undefined if the process ended meanwhile. */
function readProc(pid: number, file: string): string | undefined {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/${file}`);
  } catch (fault) {
    if (fault instanceof Deno.errors.NotFound || /os error 3/.test(String(fault))) return undefined;
    throw fault;
  }
}
