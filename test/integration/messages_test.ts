/** The trace of a device's last messages, against the whole program with an engine that has faults. */
import assert from "node:assert/strict";
import mqtt from "mqtt";
import type { ListedMessage } from "../../actors/device/message_list.ts";
import { startRoost } from "../support/roost.ts";
import { ApiError } from "../support/roost_api.ts";
import { waitFor } from "../support/wait.ts";

const PATH = "/api/v1/devices/pump/p-1/messages";
const SECRET = "a-secret-of-the-pump";
const WITHIN_MS = 20_000;
const MODEL = {
  properties: [
    {
      identifier: "t",
      accessMode: "r",
      dataType: { type: "double", specs: { min: "0", max: "100" } },
    },
    { identifier: "fault", accessMode: "r", dataType: { type: "text", specs: { length: "20" } } },
  ],
};

Deno.test("a trace tells what became of messages by MQTT and HTTP, and goes with its device", async () => {
  await using roost = await startRoost({ entry: "test/support/faulty_main.ts" });
  const api = await roost.api();
  await api.createProduct({ key: "pump", mode: "strict", model: MODEL });
  await api.createDevice("pump", "p-1", { secret: SECRET });
  const list = async () =>
    (await api.request<{ items: ListedMessage[] }>("GET", `${PATH}?limit=10`)).items;
  assert.deepEqual(await list(), []);
  const client = await mqtt.connectAsync(roost.urls.mqtt!, {
    ...{ protocolVersion: 5, clientId: "p-1", username: "pump/p-1", password: SECRET },
  });
  try {
    const send = (suffix: string, body: unknown, options: mqtt.IClientPublishOptions = {}) =>
      client.publishAsync(`v1/pump/p-1/${suffix}`, JSON.stringify(body), { qos: 1, ...options });
    const userProperties = { shift: "night" };
    await send("properties", { t: 20 }, { properties: { userProperties } });
    await assert.rejects(send("properties", { t: 500 }));
    await send("own/topic", "x");
    await send("properties", { fault: "throw" });
    const authorization = `Basic ${btoa(`pump/p-1:${SECRET}`)}`;
    const posted = await fetch(`${roost.urls.http}/ingest/v1/pump/p-1/properties`, {
      ...{ method: "POST", headers: { authorization }, body: '{"t":21}' },
    });
    await posted.body?.cancel();
    assert.equal(posted.status, 202);
  } finally {
    await client.endAsync(true);
  }
  let items: ListedMessage[] = [];
  const wanted = ["stored", "deadLettered", "handled", "refused", "stored"];
  await waitFor(async () => {
    items = await list();
    return wanted.every((status, i) => items[i]?.status === status);
  }, { what: "messages to be stored", withinMs: WITHIN_MS, actual: () => JSON.stringify(items) });
  const [http, letter, own, refused, first] = items as [
    ...[ListedMessage, ListedMessage, ListedMessage, ListedMessage, ListedMessage],
  ];
  assert.deepEqual([http.wire, http.topic, http.bytes], ["http", "properties", 8]);
  assert.equal(letter.reason, "threw");
  assert.match(letter.detail!, /planted fault/);
  assert.deepEqual([own.topic, own.storedAt], ["own/topic", null]);
  assert.match(refused.detail!, /^t: .*100/);
  assert.deepEqual([refused.handledAt, refused.storedAt], [null, null]);
  assert.deepEqual(first.userProperties, [["shift", "night"]]);
  for (const { acceptedAt, handledAt, storedAt } of [http, first]) {
    assert.ok(acceptedAt <= handledAt! && handledAt! <= storedAt!, "times rise");
  }
  assert.deepEqual(items.map(({ id }) => id), ["4", "3", "2", "1", "0"]);
  await api.request("DELETE", "/api/v1/devices/pump/p-1");
  await assert.rejects(list(), (fault) => fault instanceof ApiError && fault.status === 404);
  await api.createDevice("pump", "p-1", { secret: SECRET });
  await waitFor(async () => (await list()).length === 0, {
    ...{ what: "another device to have no trace", withinMs: WITHIN_MS, actual: () => "" },
  });
});
