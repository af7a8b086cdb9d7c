import assert from "node:assert/strict";
import { isAlive } from "./process_tree.ts";
import { startRoost } from "./roost.ts";
import { waitFor } from "./wait.ts";

/** A product of a few lines: answers on its HTTP port with its environment, with a child or without. */
const PRODUCT = `
  const port = Number(Deno.env.get("ROOST__HTTP__PORT"));
  const mqtt = Deno.env.get("ROOST__MQTT__PORT");
  const child = new Deno.Command(Deno.args[0] ?? "cat", {
    args: Deno.args.slice(1), stdin: "piped", stdout: "null",
  }).spawn();
  Deno.serve({ hostname: "127.0.0.1", port, onListen: () => {} }, () => Response.json({
    dir: Deno.env.get("ROOST__DATA__DIR"), extra: Deno.env.get("EXTRA") ?? null, child: child.pid,
  }));
  console.log("one-time password: none");
  console.log("ready " + JSON.stringify({ http: "http://127.0.0.1:" + port, mqtt: "mqtt://127.0.0.1:" + mqtt }));
`;

interface Answer {
  readonly dir: string;
  readonly extra: string | null;
  readonly child: number;
}

Deno.test("a started product is reachable, and its memory is that of all its processes", async () => {
  await using entry = writeEntry(PRODUCT);
  await using roost = await startRoost({ entry: entry.path, env: { EXTRA: "yes" } });
  const answer = await ask(roost.urls.http);
  assert.equal(answer.dir, roost.dataDir);
  assert.equal(answer.extra, "yes");
  assert.deepEqual(roost.stdoutLines, ["one-time password: none"]);
  assert.deepEqual(roost.tree(), [roost.pid, answer.child]);
  const memory = roost.memory();
  assert.equal(memory.processes.length, 2);
  assert.ok(memory.rssBytes > 20e6 && memory.pssBytes <= memory.rssBytes, JSON.stringify(memory));
});

Deno.test("a killed product comes back on the same directory and ports", async () => {
  await using entry = writeEntry(PRODUCT);
  const roost = await startRoost({ entry: entry.path });
  const { urls, pid, dataDir } = roost;
  const { child } = await ask(urls.http);
  await roost.restart();
  assert.notEqual(roost.pid, pid);
  assert.ok(!isAlive(pid) && !isAlive(child));
  assert.deepEqual(roost.urls, urls);
  assert.equal((await ask(urls.http)).dir, dataDir);
  await roost[Symbol.asyncDispose]();
  await roost[Symbol.asyncDispose]();
  assert.throws(() => Deno.statSync(dataDir), Deno.errors.NotFound);
});

Deno.test("a child that outlives a killed product is ended and told", async () => {
  await using entry = writeEntry(PRODUCT);
  await using roost = await startRoost({ entry: entry.path, args: ["sleep", "100"] });
  const { child } = await ask(roost.urls.http);
  await assert.rejects(roost.kill(), /children to end with it/);
  await waitFor(() => !isAlive(child), { what: "the child's end", withinMs: 2_000 });
});

Deno.test("a product that ends before it is ready is told with its standard error", async () => {
  await using entry = writeEntry(`console.error("no such luck"); Deno.exit(3);`);
  await assert.rejects(startRoost({ entry: entry.path }), /ended with 3 .*no such luck/s);
});

Deno.test("waiting in vain names the phase and what was there", async () => {
  const waiting = waitFor(() => false, { what: "rain", withinMs: 50, actual: () => "sun" });
  await assert.rejects(waiting, /waiting for rain after 50 ms: actual "sun"/);
});

async function ask(url: string): Promise<Answer> {
  return await (await fetch(url)).json();
}

function writeEntry(text: string) {
  const directory = Deno.makeTempDirSync({ prefix: "roost-entry-" });
  const path = `${directory}/main.js`;
  Deno.writeTextFileSync(path, text);
  return { path, [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }) };
}
