/** Searches of devices over HTTP: what is found, and filters and cursors that mean harm. */
import assert from "node:assert/strict";
import type { Device } from "../../actors/device/device_row.ts";
import { accepted, type Outcome, type Page } from "../../actors/registry/outcome.ts";
import { HTTP_LIMITS } from "../../runtime/http_limits.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { HttpHarness } from "../../test/support/http_harness.ts";
import { waitFor } from "../../test/support/wait.ts";

const LIST = "/api/v1/devices";

async function opened() {
  const harness = await HttpHarness.start();
  await harness.provision();
  for (const device of ["p-2", "p-3", "p-4"]) {
    await harness.devices.create({ product: "pump", device, tags: ["wet"] });
  }
  const report = (device: string, values: Record<string, number | string | boolean>) =>
    harness.ingress.handle(`device/pump/${device}`, { type: "properties", samples: [{ values }] });
  report("p-1", { t: 21.5, mode: "auto", on: true });
  report("p-2", { t: 40, mode: "5", on: false });
  report("p-3", { t: -3, mode: "a,b" });
  const link = { type: "connected", session: "a.1", epoch: 1, wire: "mqtt" } as const;
  harness.ingress.handle("device/pump/p-3", link);
  const headers = await harness.key("devices:read");
  const get = async (query: Readonly<Record<string, string>>) => {
    const answer = await harness.send("GET", `${LIST}?${new URLSearchParams(query)}`, { headers });
    return { status: answer.status, body: await answer.json() };
  };
  const found = async (query: Readonly<Record<string, string>>): Promise<string> => {
    const { status, body } = await get({ ...query, count: "true" });
    assert.equal(status, 200, JSON.stringify(body));
    const names = body.items.map(({ device }: { device: string }) => device);
    assert.equal(body.count, names.length, JSON.stringify(query));
    return names.join();
  };
  return { harness, get, found, report };
}

Deno.test("devices are found by status and last values, with every other filter and order", async () => {
  const { harness, found, report } = await opened();
  await using _ = harness;
  assert.equal(await found({ property: "t>30" }), "p-2");
  assert.equal(await found({ property: "t>=21.5", sort: "-device" }), "p-2,p-1");
  assert.equal(await found({ property: "t<=21.5,on=true" }), "p-1");
  assert.equal(await found({ property: 'mode="5"' }), "p-2");
  assert.equal(await found({ property: "mode=5" }), "", "a number is no text");
  assert.equal(await found({ property: 'mode="a,b"', tag: "wet", q: "3" }), "p-3");
  assert.equal(await found({ status: "online" }), "p-3");
  assert.equal(await found({ status: "offline", sort: "-lastSeenAt" }), "p-2,p-1");
  assert.equal(await found({ status: "never" }), "p-4");
  assert.equal(await found({ status: "online", property: "t>0" }), "");
  await harness.devices.update("pump", "p-3", { enabled: false });
  assert.equal(await found({ status: "disabled", property: "t=-3" }), "p-3");
  assert.equal(await found({ status: "online" }), "");
  report("p-1", { t: 99 });
  assert.equal(await found({ property: "t>30" }), "p-1,p-2");
  await harness.devices.delete("pump", "p-1");
  assert.equal(await found({ property: "t>30" }), "p-2", "one that is gone is not found");
});

Deno.test("a filter that means harm is refused in words, or finds nothing", async () => {
  const { harness, get, found } = await opened();
  await using _ = harness;
  const many = Array.from({ length: 5 }, (_, at) => `t>${at}`).join();
  const bad: readonly (readonly [string, string, RegExp])[] = [
    ["property", "", /condition/],
    ["property", "t>cold", /takes a number/],
    ["property", "t>1; drop table props", /takes a number/],
    ["property", "t in (select 1)", /condition/],
    ["property", "__proto__=1", /condition/],
    ["property", "t=1e999", /Cannot read the value/],
    ["property", `t=${"x".repeat(257)}`, /at most 256|Cannot read the value/],
    ["property", "t".repeat(2_000), /1024/],
    ["property", many, /at most 4/],
    ["status", "ONLINE", /online/],
    ["status", "online' or 1=1 --", /online/],
    ["tag", "x".repeat(LIMITS.nameCharactersMax + 1), /64/],
    ["sort", "seen; drop table rows", /sort|Invalid|expected/i],
    ["limit", "501", /500/],
    ["properties", "t>1", /unknown/],
  ];
  for (const [name, value, words] of bad) {
    const { status, body } = await get({ [name]: value });
    const what = `${name}=${value.slice(0, 60)}: ${JSON.stringify(body)}`;
    assert.equal(status, 400, what);
    assert.equal(body.errors[0].path, `query.${name}`, what);
    assert.match(body.errors[0].message, words, what);
    assert.ok(JSON.stringify(body).length < 1_500, "what was refused is not told at length");
  }
  for (const value of ["' or 1=1 --", "%", "\\", "x' union select secret_hash from devices --"]) {
    assert.equal(await found({ property: `mode=${JSON.stringify(value)}` }), "", value);
    assert.equal(await found({ tag: value }), "", value);
  }
  assert.equal(await found({}), "p-1,p-2,p-3,p-4");
});

Deno.test("a cursor that was forged is refused, or goes on in the caller's own devices", async () => {
  const { harness, get } = await opened();
  await using _ = harness;
  const forge = (parts: unknown) =>
    btoa(JSON.stringify(parts)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const bad: readonly (readonly [string, unknown])[] = [
    ["", "pump"],
    ["", []],
    ["", ["", "first", "pump"]],
    ["", ["", "never", "pump", "p-1"]],
    ["", ["", "first", "pump", 1]],
    ["", ["-device", "first", "p-1", "pump"]],
    ["", ["", "first", "pump", "\ud800"]],
    ["-lastSeenAt", ["-lastSeenAt", "first", "soon", "pump/p-1"]],
    ["-lastSeenAt", ["-lastSeenAt", "first", "", "pump/p-1"]],
    ["-lastSeenAt", ["-lastSeenAt", "first", "1e300", "pump/p-1"]],
    ["-lastSeenAt", ["-lastSeenAt", "first", "Infinity", "pump/p-1"]],
    ["-lastSeenAt", ["-lastSeenAt", "never", "pump"]],
    ["createdAt", ["createdAt", "first", "0x10", "pump", "p-1"]],
  ];
  for (const [sort, parts] of bad) {
    const { status, body } = await get({ cursor: forge(parts), ...(sort && { sort }) });
    assert.equal(status, 400, JSON.stringify(parts));
    assert.equal(body.errors[0].path, "query.cursor");
  }
  const harmless: readonly (readonly [string, unknown, number])[] = [
    ["", ["", "first", "' or 1=1 --", ""], 4],
    ["", ["", "first", "zzz", "zzz"], 0],
    ["", ["", "first", "pump", "p-2"], 2],
    ["-lastSeenAt", ["-lastSeenAt", "first", "9007199254740991", "~"], 4],
    ["-lastSeenAt", ["-lastSeenAt", "never", "", ""], 1],
    ["lastSeenAt", ["lastSeenAt", "first", "9007199254740991", "~"], 1],
  ];
  for (const [sort, parts, count] of harmless) {
    const { status, body } = await get({ cursor: forge(parts), ...(sort && { sort }) });
    assert.equal(status, 200, JSON.stringify(body));
    assert.equal(body.items.length, count, JSON.stringify(parts));
  }
});

Deno.test("a caller has so many searches under way, and holds up nobody else with more", async () => {
  const waiting: (() => void)[] = [];
  const list = () =>
    new Promise<Outcome<Page<Device>>>((resolve) =>
      waiting.push(() => resolve(accepted({ items: [], nextCursor: null })))
    );
  const finder = { list, count: () => Promise.resolve(0) };
  await using harness = await HttpHarness.start({ finder });
  const [busy, other] = [await harness.key("devices:read"), await harness.key("devices:read")];
  const search = (headers: Record<string, string>) => harness.send("GET", LIST, { headers });
  const untilWaiting = (count: number) =>
    waitFor(() => waiting.length === count, { what: `${count} searches`, withinMs: 10_000 });
  const max = HTTP_LIMITS.searchesOfCallerMax;
  const held = Array.from({ length: max }, () => search(busy));
  await untilWaiting(max);
  const refused = await search(busy);
  assert.equal(refused.status, 429);
  assert.equal(refused.headers.get("retry-after"), "1");
  assert.match((await refused.json()).detail, /16 of this caller/);
  held.push(search(other));
  await untilWaiting(max + 1);
  for (const answer of waiting.splice(0)) answer();
  for (const answer of held) assert.equal((await answer).status, 200);
  const again = search(busy);
  await untilWaiting(1);
  waiting.pop()!();
  assert.equal((await again).status, 200);
});
