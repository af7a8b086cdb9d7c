/** Program of a node: configuration, the `ready` line, signals, exit codes. */
import { printConfig, readProcessConfig } from "./config.ts";
import { ConflictError, messageOf } from "./errors.ts";
import { type NodeEntries, startNode } from "./node.ts";

const ENTRIES: NodeEntries = {
  engine: import.meta.resolve("./engine_main.ts"),
  logWorker: import.meta.resolve("./log_worker_main.ts"),
  telemetryWorker: import.meta.resolve("./telemetry_worker_main.ts"),
  viewsWorker: import.meta.resolve("./views_worker_main.ts"),
};

/** Runs a node until SIGINT or SIGTERM; exits 1 on what cannot be healed. */
export async function runNode(entries = ENTRIES): Promise<void> {
  const end = Promise.withResolvers<unknown>();
  try {
    const { config, isPrintRequested } = readProcessConfig();
    if (isPrintRequested) return print(printConfig(config));
    const onOwner = (password: string) =>
      print(`User "owner" was made; its password, shown once: ${password}`);
    const node = await startNode(config, onOwner, entries);
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      Deno.addSignalListener(signal, () => end.resolve(undefined));
    }
    print(`Roost runs at ${node.urls.http}`);
    print(`ready ${JSON.stringify(node.urls)}`);
    node.begin();
    const fault = await Promise.race([end.promise, node.escalated]);
    await node[Symbol.asyncDispose]();
    if (fault === undefined) Deno.exit(0);
    throw fault;
  } catch (fault) {
    const hint = fault instanceof ConflictError && fault.hint !== undefined ? ` ${fault.hint}` : "";
    Deno.stderr.writeSync(new TextEncoder().encode(`${messageOf(fault)}${hint}\n`));
    Deno.exit(1);
  }
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));
}

if (import.meta.main) await runNode();
