/** `start --demo` on the real process: a plant that moves, answers, survives restarts, and goes. */
import assert from "node:assert/strict";
import { PLANT, PLANT_GROUP } from "../../protocols/simulate/plant/plant.ts";
import { startProcess } from "../support/process.ts";
import { OWNER_PASSWORD, startRoost } from "../support/roost.ts";
import type { RoostApi } from "../support/roost_api.ts";
import { waitFor, within } from "../support/wait.ts";

const MOVES_MS = 30_000;
const PUMP = "demo-pump/pump-1";

Deno.test("a first visitor of --demo sees moving values, and pumps that answer", async () => {
  await using roost = await startRoost({ args: ["--demo"] });
  const api = await roost.api();
  await untilMoving(api);
  const listed = await api.request<{ items: { status: string; tags: string[] }[] }>(
    "GET",
    "/api/v1/devices?limit=100&tag=demo",
  );
  assert.equal(listed.items.length, PLANT.flatMap(({ devices }) => devices).length);
  const [group] = await groupsOf(api);
  assert.equal(group?.name, PLANT_GROUP);
  const members = await api.request<{ count: number }>(
    "GET",
    `/api/v1/devices?group=${group!.id}&count=true`,
  );
  assert.equal(members.count, listed.items.length);
  const stopped = await call(api, "stop", {});
  assert.deepEqual(stopped, { ok: true, output: {} });
  await waitFor(
    async () => (await api.properties("demo-pump", "pump-1"))["running"]?.value === false,
    {
      what: "the pump to say that it stands",
      withinMs: MOVES_MS,
    },
  );
  assert.deepEqual(await call(api, "start", { speed: 1_500 }), {
    ok: true,
    output: { speed: 1_500 },
  });
  await api.desire("demo-pump", "pump-1", { speed: 900 });
  await waitFor(async () => {
    const speed = (await api.properties("demo-pump", "pump-1"))["speed"]?.value as number;
    return Math.abs(speed - 900) < 60;
  }, { what: "the wished speed", withinMs: MOVES_MS });
  const events = await api.request<{ items: { event: string }[] }>(
    "GET",
    `/api/v1/devices/${PUMP}/events`,
  );
  assert.deepEqual(events.items.map(({ event }) => event).slice(0, 2), ["started", "stopped"]);
  const { refused } = await api.ledger();
  assert.deepEqual(refused, {}, "the plant keeps to its models");
});

Deno.test("the plant is the same after kill -9, and --demo=remove leaves what is not its own", async () => {
  await using roost = await startRoost({ args: ["--demo"] });
  const before = await devicesOf(await roost.api());
  await (await roost.api()).createDevice("demo-door", "my-own");
  await (await roost.api()).request("DELETE", "/api/v1/devices/demo-meter/meter-main");
  // Without its tag a device is somebody's own, whatever its name.
  await (await roost.api()).patchDevice("demo-meter", "meter-office", { tags: ["mine"] });
  await roost.restart();
  await untilMoving(await roost.api());
  assert.deepEqual(
    (await devicesOf(await roost.api())).filter((name) => !/my-own/.test(name)),
    before,
  );
  assert.equal((await groupsOf(await roost.api())).length, 1);
  await roost.kill();
  await roost.start({ args: ["--demo=remove"] });
  const api = await roost.api();
  await waitFor(async () => (await devicesOf(api)).length === 2, {
    what: "the plant to be removed",
    withinMs: MOVES_MS,
  });
  assert.deepEqual(await devicesOf(api), ["demo-door/my-own", "demo-meter/meter-office"]);
  await waitFor(async () => (await productsOf(api)).length === 2, {
    what: "its products to be removed, but for the one in use",
    withinMs: MOVES_MS,
  });
  await waitFor(() => roost.stderrText.includes("demo plant removed"), {
    what: "the removal to end",
    withinMs: MOVES_MS,
  });
  assert.deepEqual(await productsOf(api), ["demo-door", "demo-meter"]);
  assert.match(roost.stderrText, /demo product stays/);
  assert.equal((await groupsOf(api)).length, 1, "its group has somebody's device in it");
  await api.request("DELETE", "/api/v1/devices/demo-meter/meter-office");
  await roost.kill();
  await roost.start({ args: ["--demo=remove"] });
  const after = await roost.api();
  await waitFor(async () => (await groupsOf(after)).length === 0, {
    what: "its group to be removed",
    withinMs: MOVES_MS,
  });
});

Deno.test("a product of somebody else's keeps the plant out, and the node runs", async () => {
  await using roost = await startRoost();
  const owner = await roost.api();
  await owner.createProduct({ key: "demo-pump", name: "Mine" });
  await owner.createDevice("demo-pump", "pump-1", { secret: "of-my-own-device" });
  await roost.kill();
  await roost.start({ args: ["--demo"] });
  const api = await roost.api();
  const tree = await api.tree();
  assert.equal(tree.children?.find(({ id }) => id === "demo")?.status, "blocked");
  assert.deepEqual(await devicesOf(api), ["demo-pump/pump-1"]);
});

Deno.test("simulate --demo runs the plant from outside, and takes it away at its end", async () => {
  await using roost = await startRoost();
  const api = await roost.api();
  await using plant = startProcess("sh", [
    "-c",
    'printf "%s\\n" "$0" | exec "$@"',
    ...[OWNER_PASSWORD, Deno.execPath(), "run", "--no-check", "--allow-net", "--allow-read"],
    ...["protocols/simulate/main.ts", "--url", roost.urls.http, "--user", "owner", "--demo"],
    ...["--duration", "12s"],
  ]);
  await untilMoving(api);
  assert.deepEqual(await call(api, "start", { speed: 1_000 }), {
    ok: true,
    output: { speed: 1_000 },
  });
  assert.equal((await groupsOf(api))[0]?.name, PLANT_GROUP);
  const { code } = await within(plant.ended, "the end of the plant", MOVES_MS);
  assert.equal(code, 0, plant.stderrText());
  assert.deepEqual(await devicesOf(api), []);
  assert.deepEqual(await productsOf(api), []);
  assert.deepEqual(await groupsOf(api), []);
});

async function untilMoving(api: RoostApi): Promise<void> {
  const seen = new Set<unknown>();
  await waitFor(async () => {
    const response = await api.fetch("GET", `/api/v1/devices/${PUMP}/properties`);
    const values = await response.json();
    const value = values.temperature?.value;
    if (value !== undefined) seen.add(value);
    return seen.size >= 3;
  }, { what: "three temperatures of a pump", withinMs: MOVES_MS, actual: () => [...seen] });
}

async function call(api: RoostApi, service: string, input: unknown): Promise<unknown> {
  const { ok, output } = await api.request<{ ok: boolean; output: unknown }>(
    "POST",
    `/api/v1/devices/${PUMP}/services/${service}`,
    { input, timeoutMs: 10_000 },
  );
  return { ok, output };
}

async function devicesOf(api: RoostApi): Promise<string[]> {
  type Page = { items: { product: string; device: string }[] };
  const { items } = await api.request<Page>("GET", "/api/v1/devices?limit=100");
  return items.map(({ product, device }) => `${product}/${device}`);
}

async function groupsOf(api: RoostApi): Promise<{ id: string; name: string }[]> {
  const { items } = await api.request<{ items: { id: string; name: string }[] }>(
    "GET",
    "/api/v1/groups",
  );
  return items;
}

async function productsOf(api: RoostApi): Promise<string[]> {
  const { items } = await api.request<{ items: { key: string }[] }>("GET", "/api/v1/products");
  return items.map(({ key }) => key);
}
