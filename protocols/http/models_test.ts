/** Thing models over HTTP: versions, breaking changes, what becomes of desired values. */
import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import { HttpHarness } from "../../test/support/http_harness.ts";

const PATH = "/api/v1/products/pump";

function modelOf(max: number, ...more: unknown[]) {
  const dataType = { type: "double", specs: { max } };
  return {
    properties: [{ identifier: "speed", accessMode: "rw", dataType }, ...more],
    events: [],
    services: [],
  };
}

async function opened(model: unknown = modelOf(10)) {
  const harness = await HttpHarness.start();
  await harness.provision(model);
  const headers = await harness.key("products:read", "products:write", "devices:write");
  const send = async (method: string, path: string, json?: unknown) => {
    const answer = await harness.send(method, path, { headers, json });
    return { status: answer.status, body: await answer.json(), headers: answer.headers };
  };
  return { harness, send };
}

Deno.test("a dry run names each change and changes nothing", async () => {
  const { harness, send } = await opened();
  await using _ = harness;
  const before = await send("GET", `${PATH}/model`);
  const on = { identifier: "on", accessMode: "rw", dataType: { type: "bool" } };
  const dry = await send("PUT", `${PATH}/model?dryRun=true`, modelOf(5, on));
  assert.equal(dry.status, 200);
  assert.deepEqual(dry.body, {
    changes: [
      {
        path: "properties.speed.dataType.specs.max",
        kind: "range",
        isBreaking: true,
        before: "10",
        after: "5",
        message: "max changes from 10 to 5",
      },
      { path: "properties.on", kind: "added", isBreaking: false, message: "on is added" },
    ],
    isBreaking: true,
  });
  const after = await send("GET", `${PATH}/model`);
  assert.deepEqual(after.body, before.body);
  assert.equal(after.headers.get("etag"), before.headers.get("etag"));
  const same = await send("PUT", `${PATH}/model?dryRun=true`, before.body);
  assert.deepEqual(same.body, { changes: [], isBreaking: false });
  assert.equal((await send("PUT", `${PATH}/model?dryRun=true`, { properties: 7 })).status, 400);
});

Deno.test("a breaking model is 409 with its changes, by whatever way, until it is accepted", async () => {
  const { harness, send } = await opened();
  await using _ = harness;
  const ways: [string, string, unknown][] = [
    ["PUT", `${PATH}/model`, modelOf(5)],
    ["PATCH", PATH, { model: modelOf(5) }],
    ["PUT", PATH, { mode: "strict", model: modelOf(5) }],
    ["PATCH", PATH, { mode: "open", model: null }],
    ["PUT", PATH, {}],
  ];
  for (const [method, path, json] of ways) {
    const refused = await send(method, path, json);
    assert.equal(refused.status, 409, `${method} ${path}`);
    assert.equal(refused.body.type, "urn:roost:problem:breaking-change");
    assert.equal(refused.body.isBreaking, true);
    assert.match(refused.body.changes[0].path, /^properties\.speed/);
    assert.equal((await send("GET", PATH)).body.version, 1);
    const taken = await send(method, `${path}?acceptBreaking=true`, json);
    assert.equal(taken.status, 200, JSON.stringify(taken.body));
    assert.equal((await send("GET", PATH)).body.modelVersion, 2);
    await harness.products.delete("other");
    await harness.devices.delete("pump", "p-1");
    await harness.products.delete("pump");
    await harness.products.create({ key: "pump", mode: "strict", model: modelOf(10) });
  }
  const wider = await send("PUT", `${PATH}/model`, modelOf(11));
  assert.deepEqual([wider.status, wider.body.version], [200, 2]);
});

Deno.test("versions of a model are kept, newest first, up to their bound", async () => {
  const { harness, send } = await opened();
  await using _ = harness;
  const versionsMax = LIMITS.modelVersionsMax;
  for (let max = 11; max < 12 + versionsMax; max++) {
    assert.equal((await send("PUT", `${PATH}/model`, modelOf(max))).status, 200);
  }
  // The same again is no other model, and a name is none.
  await send("PUT", `${PATH}/model`, modelOf(11 + versionsMax));
  await send("PATCH", PATH, { name: "P" });
  const newest = versionsMax + 2;
  assert.equal((await send("GET", `${PATH}/model`)).body.version, newest);
  const seen: number[] = [];
  let cursor = "";
  do {
    const { status, body } = await send("GET", `${PATH}/models?limit=20${cursor}`);
    assert.equal(status, 200);
    for (const { version, model, changes, isBreaking } of body.items) {
      seen.push(version);
      assert.equal(model.properties[0].dataType.specs.max, 9 + version);
      assert.equal(changes.length, 1);
      assert.equal(isBreaking, false);
    }
    cursor = body.nextCursor === null ? "" : `&cursor=${body.nextCursor}`;
  } while (cursor !== "");
  assert.deepEqual(seen, Array.from({ length: versionsMax }, (_, at) => newest - at));
  assert.equal((await send("GET", `${PATH}/models?cursor=abc`)).status, 400);
  assert.equal((await send("GET", "/api/v1/products/none/models")).status, 404);
});

Deno.test("a page of large models ends early", async () => {
  const { harness, send } = await opened();
  await using _ = harness;
  const filler = "x".repeat(LIMITS.modelBytesMax - 1_000);
  for (let max = 11; max < 16; max++) {
    const put = await send("PUT", `${PATH}/model`, { ...modelOf(max), note: filler });
    assert.equal(put.status, 200);
  }
  const { body } = await send("GET", `${PATH}/models`);
  assert.deepEqual(body.items.map(({ version }: { version: number }) => version), [6, 5, 4, 3]);
  assert.notEqual(body.nextCursor, null);
});

Deno.test("desired values that a model has stopped to accept are shown, kept, and can be removed", async () => {
  const on = { identifier: "on", accessMode: "rw", dataType: { type: "bool" } };
  const { harness, send } = await opened(modelOf(10, on));
  await using _ = harness;
  const shadow = "/api/v1/devices/pump/p-1/shadow";
  const desired = { speed: 9, on: true };
  const first = await send("PATCH", shadow, { desired });
  assert.deepEqual([first.status, first.body.misfits], [200, undefined]);
  const locked = { ...on, accessMode: "r" };
  const put = await send("PUT", `${PATH}/model?acceptBreaking=true`, modelOf(5, locked));
  assert.equal(put.status, 200);
  const read = await harness.send("GET", shadow, { headers: await harness.key("devices:read") });
  const { misfits, delta } = await read.json();
  assert.deepEqual(delta, desired);
  assert.deepEqual(misfits.map(({ path, rule }: Record<string, string>) => [path, rule]), [
    ["speed", "max"],
    ["on", "accessMode"],
  ]);
  const mended = await send("PATCH", shadow, { desired: { speed: 5, on: null } });
  assert.deepEqual([mended.status, mended.body.misfits], [200, undefined]);
  assert.deepEqual(mended.body.delta, { speed: 5 });
});

Deno.test("a model that is too large or has too many parts is refused by its bound", async () => {
  const { harness, send } = await opened();
  await using _ = harness;
  const property = (at: number) => ({ identifier: `p${at}`, dataType: { type: "int" } });
  const many = await send("PUT", `${PATH}/model`, {
    properties: Array.from({ length: 10_000 }, (_, at) => property(at)),
  });
  assert.equal(many.status, 400);
  assert.match(many.body.detail, /10000 properties: featuresMax is 300/);
  assert.equal(many.body.errors[0].path, "model.properties");
  const large = await send("PUT", `${PATH}/model`, { note: "x".repeat(1_000_000) });
  assert.equal(large.status, 400);
  assert.match(large.body.detail, /1000011 B: modelBytesMax is 262144/);
  const larger = await send("PUT", `${PATH}/model`, { note: "x".repeat(1_100_000) });
  assert.equal(larger.status, 413);
});

Deno.test("texts in a model are data, whatever they look like", async () => {
  const { harness, send } = await opened();
  await using _ = harness;
  const text = `"><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}\u202e`;
  const hostile = {
    ...modelOf(10),
    properties: [{
      identifier: "speed",
      name: text,
      dataType: { type: "double", specs: { max: 10, unit: text } },
    }, { identifier: "mode", dataType: { type: "enum", specs: { [text]: text } } }],
  };
  const put = await send("PUT", `${PATH}/model`, hostile);
  assert.equal(put.status, 200, JSON.stringify(put.body));
  const { body, headers } = await send("GET", `${PATH}/model`);
  assert.equal(headers.get("content-type"), "application/json");
  assert.equal(headers.get("x-content-type-options"), "nosniff");
  assert.equal(body.properties[0].name, text);
  assert.equal(body.properties[1].dataType.specs[text], text);
  const versions = await send("GET", `${PATH}/models`);
  assert.match(versions.body.items[0].changes[0].message, /script/);
});
