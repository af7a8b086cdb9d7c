/**
 * `deno task backup FILE`, `deno task restore FILE` and `deno task restore --verify FILE`; the
 * passphrase comes from `ROOST__BACKUP__PASSPHRASE`, or a key from `ROOST__BACKUP__KEY_FILE`.
 */
import { constants, setPriority } from "node:os";
import { resolve } from "node:path";
import { keySourceOf } from "../../actors/registry/master_keys.ts";
import { systemClock } from "../../runtime/clock.ts";
import { readProcessConfig } from "../../runtime/config.ts";
import { ConflictError, InvalidError, messageOf } from "../../runtime/errors.ts";
import { systemRandom } from "../../runtime/random.ts";
import { restoreBackup, verifyBackup } from "./restore.ts";
import { readSecret } from "./secret.ts";
import { writeBackup } from "./write_backup.ts";

const USE =
  "Use: deno task backup FILE, deno task restore [--verify] FILE; both take --config FILE";

interface Request {
  readonly command: "backup" | "restore" | "verify";
  readonly file: string;
  /** Those of the configuration. */
  readonly rest: readonly string[];
}

function parseRequest([command, ...args]: readonly string[]): Request {
  const isVerify = args.includes("--verify");
  const words = args.filter((arg) => arg !== "--verify");
  const at = words.findIndex((arg, index) =>
    !arg.startsWith("--") && words[index - 1] !== "--config"
  );
  const isKnown = command === "restore" || command === "backup" && !isVerify;
  if (!isKnown || at < 0) throw new InvalidError(USE);
  const file = resolve(words[at]!);
  return { command: isVerify ? "verify" : command, file, rest: words.toSpliced(at, 1) };
}

async function run({ command, file, rest }: Request): Promise<string> {
  const { config } = readProcessConfig(rest);
  const secret = readSecret(config.backup);
  const dataDir = config.data.dir;
  const masterKeys = keySourceOf(config.secrets, dataDir);
  const clock = systemClock;
  if (command === "backup") {
    setPriority(constants.priority.PRIORITY_LOW); // A node beside it has the processor first.
    const made = await writeBackup(file, {
      ...{ dataDir, masterKeys, secret, clock },
      node: config.node.id,
      random: systemRandom,
    });
    const key = masterKeys.type === "file"
      ? ""
      : "\nThe master key is not in it: it is configured.";
    return `Wrote ${file}: ${made.bytes} B, sha256 ${made.sha256}, log at tick ${made.tick}${key}`;
  }
  const read = command === "verify"
    ? verifyBackup(file, secret)
    : restoreBackup(file, { dataDir, masterKeys, secret, clock });
  const { node, createdAt, tick } = read.manifest;
  const what = `of ${node}, ${new Date(createdAt).toISOString()}, log at tick ${tick}: ` +
    `${read.files.size} files, sha256 ${read.sha256}`;
  return command === "verify" ? `Whole: ${what}` : `Restored into ${dataDir}: ${what}`;
}

function print(stream: { writeSync(bytes: Uint8Array): number }, line: string): void {
  stream.writeSync(new TextEncoder().encode(`${line}\n`));
}

if (import.meta.main) {
  try {
    print(Deno.stdout, await run(parseRequest(Deno.args)));
  } catch (fault) {
    const hint = fault instanceof ConflictError && fault.hint !== undefined ? ` ${fault.hint}` : "";
    print(Deno.stderr, messageOf(fault) + hint);
    Deno.exit(1);
  }
}
