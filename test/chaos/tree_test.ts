/**
 * Every child of the live tree is killed once while a client publishes: it comes back, its siblings
 * restart exactly as its supervisor's strategy says, and nothing acknowledged is lost.
 */
import assert from "node:assert/strict";
import mqtt from "mqtt";
import { systemClock } from "../../runtime/clock.ts";
import { isAlive } from "../support/process_tree.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import type { RoostApi, TreeView } from "../support/roost_api.ts";
import { waitFor } from "../support/wait.ts";
import { assertExactlyOnce, untilHandled } from "./verify.ts";

const DEVICE = { product: "pump", device: "p-1", secret: "a-secret-of-p-1" };
const BACK_MS = 20_000;
const LOG_KILLS = 5;
/** Of pools and connections. Less than what one thread left behind by each kill would add up to. */
const SPARE = 3;

/** Children that have done their work when they end. */
const ENDING = new Set(["sweep", "console"]);

/** What is started again when a child of this supervisor ends, besides the child itself. */
const STRATEGIES: Readonly<Record<string, "one_for_one" | "rest_for_one">> = {
  "": "rest_for_one",
  storage: "rest_for_one",
  "storage/readers": "one_for_one",
  devices: "one_for_one",
  gateways: "one_for_one",
};

Deno.test("every child of the live tree comes back, with the siblings that its strategy names", async () => {
  await using roost = await startRoost();
  const api = await roost.api();
  await api.createProduct({ key: DEVICE.product });
  await api.createDevice(DEVICE.product, DEVICE.device, { secret: DEVICE.secret });
  const startedMs = systemClock.nowMs();
  const publisher = new Publisher(roost);
  await publisher.publish(3);
  const paths = pathsOf(await settled(api), "");
  assert(paths.includes("storage/log/engine") && paths.includes("gateways/mqtt"), `${paths}`);
  for (const path of paths) {
    await killOne(api, path);
    await publisher.publish(3);
  }
  await publisher.stop();
  await untilHandled(api);
  await assertExactlyOnce(
    api,
    { device: DEVICE, acknowledged: publisher.acknowledged },
    startedMs,
  );
});

Deno.test("a killed log takes its engine process along and leaves nothing behind", async () => {
  await using roost = await startRoost();
  const api = await roost.api();
  await api.createProduct({ key: DEVICE.product });
  await api.createDevice(DEVICE.product, DEVICE.device, { secret: DEVICE.secret });
  const publisher = new Publisher(roost);
  let first: { threads: number; files: number } | undefined;
  for (let kills = 0; kills <= LOG_KILLS; kills++) {
    await publisher.publish(3);
    await settled(api);
    const engines = await waitFor(() => {
      const found = roost.tree().filter((pid) => pid !== roost.pid);
      return found.length === 1 ? found : undefined;
    }, { what: "one engine process", withinMs: BACK_MS, actual: () => roost.tree() });
    const { threads, files } = holdingsOf(roost.pid);
    first ??= { threads, files };
    assert.ok(
      threads <= first.threads + SPARE && files <= first.files + SPARE,
      `after ${kills} kills ${threads} threads, ${files} files; first ${JSON.stringify(first)}`,
    );
    if (kills === LOG_KILLS) break;
    await api.killChild("storage/log");
    await waitFor(() => engines.every((pid) => !isAlive(pid)), {
      what: "the engine of the killed log to end",
      withinMs: BACK_MS,
    });
  }
  await publisher.stop();
  await untilHandled(api);
});

/** Threads and open files of a process; those of the I/O pool come and go with what there is to do. */
function holdingsOf(pid: number): { threads: number; files: number } {
  const names = (folder: string) =>
    [...Deno.readDirSync(`/proc/${pid}/${folder}`)].map(({ name }) => name);
  const threads = names("task").filter((thread) => !isOfPool(`/proc/${pid}/task/${thread}`));
  return { threads: threads.length, files: names("fd").length };
}

function isOfPool(thread: string): boolean {
  try {
    return Deno.readTextFileSync(`${thread}/comm`).startsWith("tokio-runtime");
  } catch (fault) {
    if (fault instanceof Deno.errors.NotFound) return true; // It has just ended.
    throw fault;
  }
}

/** Kills a child and checks who was started again. */
async function killOne(api: RoostApi, path: string): Promise<void> {
  const before = startsOf(await settled(api));
  await api.killChild(path);
  await waitFor(async () => {
    const tree = await treeIfUp(api);
    const now = tree === undefined ? undefined : startsOf(tree).get(path);
    return now !== undefined && now !== before.get(path);
  }, { what: `${path} to be started again`, withinMs: BACK_MS });
  const after = startsOf(await settled(api));
  const parent = path.slice(0, Math.max(0, path.lastIndexOf("/")));
  const strategy = STRATEGIES[parent];
  if (strategy === undefined) return; // A lane of the log's own runner.
  const siblings = [...before.keys()].filter((one) =>
    one.slice(0, Math.max(0, one.lastIndexOf("/"))) === parent
  );
  for (const sibling of siblings) {
    const isAfter = siblings.indexOf(sibling) > siblings.indexOf(path);
    const isExpected: boolean = strategy === "rest_for_one" && isAfter;
    if (sibling === path) continue;
    const isRestarted = after.get(sibling) !== before.get(sibling);
    assert.equal(isRestarted, isExpected, `${sibling} after ${path} was killed`);
  }
}

/** Undefined while nobody listens: the HTTP gateway is among those that are started again. */
async function treeIfUp(api: RoostApi): Promise<TreeView | undefined> {
  try {
    return await api.tree();
  } catch (fault) {
    if (fault instanceof TypeError) return undefined; // How fetch says that it found no server.
    throw fault;
  }
}

/** The tree when all of it runs, but for what ends by itself. */
async function settled(api: RoostApi): Promise<TreeView> {
  let tree: TreeView | undefined;
  return await waitFor(async () => {
    tree = await treeIfUp(api);
    if (tree === undefined) return undefined;
    const all = pathsOf(tree, "");
    const isWhole = all.includes("storage/log/engine") && all.includes("gateways/http");
    return isWhole && isRunning(tree) ? tree : undefined;
  }, { what: "the whole tree to run", withinMs: BACK_MS, actual: () => tree });
}

function isRunning(node: TreeView): boolean {
  return ENDING.has(node.id) ||
    (node.status === "running" && (node.children ?? []).every(isRunning));
}

/** All children by path, in the order of the tree. */
function pathsOf(node: TreeView, prefix: string): string[] {
  const paths: string[] = [];
  for (const child of node.children ?? []) {
    if (ENDING.has(child.id)) continue;
    const path = prefix + child.id;
    paths.push(path, ...pathsOf(child, `${path}/`));
  }
  return paths;
}

/** Path → how often and when it was started. */
function startsOf(node: TreeView, prefix = "", into = new Map<string, string>()) {
  for (const child of node.children ?? []) {
    if (ENDING.has(child.id)) continue;
    const { restarts, startedAt } = child as TreeView & { readonly startedAt: number | null };
    into.set(prefix + child.id, `${restarts}/${startedAt}`);
    startsOf(child, `${prefix}${child.id}/`, into);
  }
  return into;
}

/** One message at a time; connects again whenever the gateway was restarted. */
class Publisher {
  readonly acknowledged: number[] = [];
  #client: mqtt.MqttClient | undefined;
  #next = 1;

  constructor(readonly roost: TestRoost) {}

  async publish(count: number): Promise<void> {
    for (let left = count; left > 0;) {
      const sequence = this.#next++;
      try {
        this.#client ??= await mqtt.connectAsync(this.roost.urls.mqtt, {
          username: `${DEVICE.product}/${DEVICE.device}`,
          password: DEVICE.secret,
          reconnectPeriod: 0,
          connectTimeout: 2_000,
        });
        await within(this.#client, sequence);
        this.acknowledged.push(sequence);
        left--;
      } catch { // The gateway went away: not acknowledged, sent under another number.
        await this.stop();
      }
    }
  }

  async stop(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    client?.on("error", () => {});
    await client?.endAsync(true);
  }
}

async function within(client: mqtt.MqttClient, sequence: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  if (!client.connected) reject(new Error("closed before")); // It would wait for a reconnect.
  const onClose = () => reject(new Error("closed"));
  client.once("close", onClose);
  client.once("error", reject);
  client.publishAsync(
    `v1/${DEVICE.product}/${DEVICE.device}/properties`,
    JSON.stringify({ seq: sequence }),
    { qos: 1 },
  ).then(() => resolve(), reject);
  try {
    await promise;
  } finally {
    client.off("close", onClose).off("error", reject);
  }
}
