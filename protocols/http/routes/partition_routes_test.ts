import assert from "node:assert/strict";
import { PARTITIONS } from "../../../runtime/actor/address.ts";
import type { PendingRecord } from "../../../runtime/log/partition_log.ts";
import { HttpHarness, START_MS } from "../../../test/support/http_harness.ts";

const PATH = "/api/v1/cluster/partitions/0";

function record(offset: number, rest: Partial<PendingRecord> = {}): PendingRecord {
  return {
    offset,
    count: 1,
    class: "ingress",
    acceptedAtMs: START_MS,
    to: "device/pump/p-1",
    body: new TextEncoder().encode(`{"n":${offset}}`),
    ...rest,
  };
}

async function start() {
  const harness = await HttpHarness.start();
  const { class: _class, acceptedAtMs: _at, to: _to, ...unknown } = record(4, { count: 3 });
  harness.pending.push({ ...unknown, body: Uint8Array.of(0xff, 0x7b), damage: "checksum" });
  for (let offset = 7; offset < 10; offset++) harness.pending.push(record(offset));
  const headers = await harness.login("operator");
  const call = async (method: string, path: string, json?: unknown) => {
    const answer = await harness.send(method, path, { headers, json });
    return { status: answer.status, body: await answer.json() };
  };
  return { harness, call, [Symbol.asyncDispose]: () => harness[Symbol.asyncDispose]() };
}

Deno.test("what is pending in a partition is listed page by page, damage as one item", async () => {
  await using api = await start();
  const page = (await api.call("GET", `${PATH}/pending?limit=2`)).body;
  assert.deepEqual(page.items, [{
    offset: 4,
    count: 3,
    class: null,
    to: null,
    acceptedAt: null,
    body: "\ufffd{",
    damage: "checksum",
  }, {
    offset: 7,
    count: 1,
    class: "ingress",
    to: "device/pump/p-1",
    acceptedAt: START_MS,
    body: '{"n":7}',
    damage: null,
  }]);
  const next = `${PATH}/pending?limit=2&cursor=${page.nextCursor}`;
  const rest = (await api.call("GET", next)).body;
  assert.deepEqual(rest.items.map(({ offset }: { offset: number }) => offset), [8, 9]);
  assert.equal(rest.nextCursor, null);
  assert.equal((await api.call("GET", `${PATH}/pending?cursor=ZGVhZDo0Mg`)).status, 400);
});

Deno.test("damage is skipped where the caller saw it, and refused clearly otherwise", async () => {
  await using api = await start();
  const skip = (offset: unknown, path = PATH) =>
    api.call("POST", `${path}/skip-damage`, { offset });
  const other = await skip(7);
  assert.deepEqual([other.status, other.body.type], [409, "urn:roost:problem:conflict"]);
  assert.match(other.body.detail, /Cannot skip damage at offset 7 of partition 0/);
  for (const offset of [-1, 1.5, "4", undefined]) assert.equal((await skip(offset)).status, 400);
  for (const partition of [String(PARTITIONS), "99999"]) {
    const unknown = await skip(4, `/api/v1/cluster/partitions/${partition}`);
    assert.equal(unknown.status, 404);
    assert.match(
      unknown.body.detail,
      new RegExp(`no partition ${partition}: there are ${PARTITIONS}`),
    );
  }
  assert.equal((await skip(4, "/api/v1/cluster/partitions/x")).status, 400);
  assert.equal(api.harness.pending.length, 4);

  const skipped = await skip(4);
  assert.equal(skipped.status, 200);
  assert.deepEqual(skipped.body, { partition: 0, fromOffset: 4, toOffset: 7, lost: 3 });
  const line = api.harness.logged.find((text) => text.includes("damaged records skipped"))!;
  assert.match(line, /default-operator/);
  const again = await skip(4);
  assert.equal(again.status, 409);
});
