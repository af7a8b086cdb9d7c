/** Groups over HTTP: the tree, its members, and the devices that a search in it finds. */
import assert from "node:assert/strict";
import { HttpHarness } from "../../test/support/http_harness.ts";

async function opened() {
  const harness = await HttpHarness.start();
  await harness.provision();
  await harness.devices.create({ product: "pump", device: "p-2", tags: ["wet"] });
  await harness.devices.create({ product: "pump", device: "p-3" });
  const headers = await harness.key("devices:read", "devices:write");
  const send = async (method: string, path: string, json?: unknown) => {
    const answer = await harness.send(method, `/api/v1${path}`, { headers, json });
    const text = await answer.text();
    return { status: answer.status, body: text === "" ? undefined : JSON.parse(text) };
  };
  const make = async (name: string, parent: string | null = null): Promise<string> => {
    const { status, body } = await send("POST", "/groups", { name, parent });
    assert.equal(status, 201, JSON.stringify(body));
    return body.id;
  };
  const found = async (query: string): Promise<string[]> => {
    const { status, body } = await send("GET", `/devices?${query}`);
    assert.equal(status, 200, JSON.stringify(body));
    return body.items.map(({ device }: { device: string }) => device);
  };
  return { harness, send, make, found };
}

Deno.test("devices of a group are those of the groups below it too, in each order and filter", async () => {
  const { harness, send, make, found } = await opened();
  await using _ = harness;
  const plant = await make("plant");
  const hall = await make("hall", plant);
  const line = await make("line", hall);
  const other = await make("other");
  const into = async (group: string, device: string) => {
    const path = `/groups/${group}/devices/pump/${device}`;
    assert.deepEqual(await send("PUT", path), {
      status: 200,
      body: { group, product: "pump", device },
    });
  };
  await into(line, "p-2");
  await into(plant, "p-1");
  await into(other, "p-3");
  await into(line, "p-1");
  assert.deepEqual(await found(`group=${plant}`), ["p-1", "p-2"]);
  assert.deepEqual(await found(`group=${hall}&sort=-device`), ["p-2", "p-1"]);
  assert.deepEqual(await found(`group=${plant}&sort=-lastSeenAt`), ["p-1", "p-2"]);
  assert.deepEqual(await found(`group=${line}&tag=wet`), ["p-2"]);
  assert.deepEqual(await found(`group=${plant}&q=p-1&product=pump`), ["p-1"]);
  assert.deepEqual(await found(`group=${other}`), ["p-3"]);
  assert.deepEqual(await found("group=none"), []);
  const counted = await send("GET", `/devices?group=${plant}&count=true&limit=1`);
  assert.equal(counted.body.count, 2);
  assert.equal((await send("DELETE", `/groups/${line}/devices/pump/p-2`)).status, 204);
  assert.equal((await send("DELETE", `/groups/${line}/devices/pump/p-2`)).status, 204);
  assert.deepEqual(await found(`group=${plant}`), ["p-1"]);
  const groups = await send("GET", "/groups?device=pump/p-1&sort=name");
  const names = groups.body.items.map(({ name }: { name: string }) => name);
  assert.deepEqual(names, ["line", "plant"]);
  assert.equal((await send("GET", "/groups?device=pump")).status, 400);
});

Deno.test("a cycle, a name twice, and the removal of a group with groups are conflicts", async () => {
  const { harness, send, make } = await opened();
  await using _ = harness;
  const plant = await make("plant");
  const hall = await make("hall", plant);
  const cycle = await send("PATCH", `/groups/${plant}`, { parent: hall });
  assert.equal(cycle.status, 409);
  assert.match(cycle.body.detail, /that one is in it/);
  assert.equal((await send("POST", "/groups", { name: "plant" })).status, 409);
  assert.equal((await send("DELETE", `/groups/${plant}`)).status, 409);
  assert.equal((await send("DELETE", `/groups/${hall}`)).status, 204);
  assert.equal((await send("DELETE", `/groups/${plant}`)).status, 204);
  assert.equal((await send("GET", `/groups/${plant}`)).status, 404);
  assert.equal((await send("PUT", `/groups/${plant}/devices/pump/p-1`)).status, 404);
});
