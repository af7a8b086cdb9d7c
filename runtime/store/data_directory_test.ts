import assert from "node:assert/strict";
import { ConflictError } from "../errors.ts";
import { lockDataDirectory } from "./data_directory.ts";

const MODULE = new URL("./data_directory.ts", import.meta.url).href;

Deno.test("a data directory refuses a second start and names the holder", () => {
  const path = Deno.makeTempDirSync();
  {
    using _lock = lockDataDirectory(path, Date.UTC(2026, 0, 2));
    assert.throws(
      () => lockDataDirectory(path, 0),
      (fault) =>
        fault instanceof ConflictError && fault.message.includes(`process ${Deno.pid}`) &&
        fault.message.includes("2026-01-02T00:00:00.000Z"),
    );
  }
  using again = lockDataDirectory(path, 0);
  assert.equal(again.path, path);
  Deno.removeSync(path, { recursive: true });
});

Deno.test("a killed holder releases its data directory", async () => {
  const path = Deno.makeTempDirSync();
  const script = `import { lockDataDirectory } from "${MODULE}";
    lockDataDirectory("${path}", 0); console.log("locked"); await new Promise(() => setInterval(() => {}, 1e6));`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--ext=ts", script],
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = child.stdout.getReader();
  const first = await reader.read();
  assert.equal(new TextDecoder().decode(first.value).trim(), "locked");
  assert.throws(() => lockDataDirectory(path, 0), new RegExp(`process ${child.pid},`));
  child.kill("SIGKILL");
  await child.status;
  await reader.cancel();
  lockDataDirectory(path, 0)[Symbol.dispose]();
  Deno.removeSync(path, { recursive: true });
});
