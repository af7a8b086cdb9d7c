/** A disk of a few megabytes that a test may fill: a tmpfs, which takes root. */
import { statfsSync } from "node:fs";

/** A tmpfs, and a folder beside it for what must not be on it. */
export class SmallDisk implements AsyncDisposable {
  private constructor(readonly path: string, readonly outside: string) {}

  static async mount(bytes: number): Promise<SmallDisk> {
    const path = Deno.makeTempDirSync({ prefix: "roost-disk-" });
    const fault = await run("mount", ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", path]);
    if (fault !== undefined) {
      Deno.removeSync(path);
      throw new Error(fault);
    }
    return new SmallDisk(path, Deno.makeTempDirSync({ prefix: "roost-outside-" }));
  }

  get freeBytes(): number {
    const disk = statfsSync(this.path);
    return disk.bavail * disk.bsize;
  }

  /** Until this much is free. Others write meanwhile: the last byte is taken by writing too much. */
  fillTo(freeBytes: number): void {
    using file = Deno.openSync(`${this.path}/filler`, { create: true, append: true });
    const bytes = new Uint8Array(64 * 1024).fill(1);
    try {
      while (this.freeBytes > freeBytes) file.writeSync(bytes);
    } catch (fault) {
      if (freeBytes > 0 || !/os error 28/.test(String(fault))) throw fault;
    }
  }

  makeRoom(): void {
    Deno.removeSync(`${this.path}/filler`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const fault = await run("umount", ["-l", this.path]);
    if (fault !== undefined) throw new Error(fault);
    Deno.removeSync(this.path);
    Deno.removeSync(this.outside, { recursive: true });
  }
}

/** Why no tmpfs can be mounted here; undefined: it can. */
export async function mountRefusal(): Promise<string | undefined> {
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return "it takes root on Linux";
  try {
    await using _ = await SmallDisk.mount(1024 * 1024);
    return undefined;
  } catch (fault) {
    return String(fault);
  }
}

/** What it said if it failed. */
async function run(command: string, args: readonly string[]): Promise<string | undefined> {
  const { success, stderr } = await new Deno.Command(command, { args: [...args] }).output();
  return success ? undefined : `${command}: ${new TextDecoder().decode(stderr).trim()}`;
}
