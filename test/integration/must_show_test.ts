/** What a person sees who connects mosquitto's clients to a fresh Roost, over both versions of MQTT. */
import assert from "node:assert/strict";
import { systemClock } from "../../runtime/clock.ts";
import type { DeviceLogin } from "../bench/load/options.ts";
import { requirePeer } from "../support/peers.ts";
import { linesOf, startProcess } from "../support/process.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import type { RoostApi } from "../support/roost_api.ts";
import { waitFor, within } from "../support/wait.ts";

const PUB = await requirePeer("mosquitto_pub");
const SUB = await requirePeer("mosquitto_sub");
/** Publishes and waits for a message on another topic, over one connection. */
const RR = await requirePeer("mosquitto_rr");
const ignore = PUB === undefined || SUB === undefined || RR === undefined;
const VERSIONS = ["mqttv311", "mqttv5"] as const;
type Version = (typeof VERSIONS)[number];
const SECOND_MS = 1_000;
const CLIENT_MS = 10_000;

/** A pump of an open product and a valve of a strict one. */
const VALVE_MODEL = {
  properties: [
    {
      identifier: "pressure",
      accessMode: "r",
      dataType: { type: "double", specs: { min: "0", max: "10" } },
    },
    { identifier: "open", accessMode: "rw", dataType: { type: "bool", specs: {} } },
  ],
};

Deno.test({
  name: "a value is in the API and in history within a second of its acknowledgement",
  ignore,
  async fn() {
    await using roost = await startRoost();
    const { api, pump } = await provision(roost);
    for (const [i, version] of VERSIONS.entries()) {
      const fromMs = systemClock.nowMs() - 5_000;
      const metric = `t-${version}`;
      const sent = await publish(roost, pump, version, "properties", `{"${metric}": ${20 + i}.5}`);
      assert.equal(sent.code, 0, sent.text);
      assert.match(sent.text, /received PUBACK \(Mid: 1, RC:0\)/);
      const actual = () => ({ metric });
      await waitFor(
        async () => (await api.properties("pump", "p-1"))[metric]?.value === 20 + i + 0.5,
        { what: "the last value", withinMs: SECOND_MS, actual },
      );
      const points = await waitFor(async () => {
        const found = await api.history("pump", "p-1", metric, {
          fromMs,
          toMs: systemClock.nowMs() + 5_000,
        });
        return found.length > 0 ? found : undefined;
      }, { what: "the value in history", withinMs: SECOND_MS, actual });
      assert.deepEqual(points.map((point) => point[1]), [20 + i + 0.5]);
    }
  },
});

Deno.test({
  name: "a wrong password, an unknown device and an unknown product get one and the same answer",
  ignore,
  async fn() {
    await using roost = await startRoost();
    const { api, pump } = await provision(roost);
    for (const version of VERSIONS) {
      const answers = new Set<string>();
      const wrong = [
        { ...pump, secret: pump.secret.slice(0, -1) + "!" },
        { ...pump, device: "nobody" },
        { ...pump, product: "nothing" },
      ];
      for (const login of wrong) {
        const { code, text } = await publish(roost, login, version, "properties", '{"t": 1}');
        assert.notEqual(code, 0);
        assert.doesNotMatch(text, /PUBACK/);
        answers.add(/Connection error: .*/.exec(text)?.[0] ?? text);
      }
      assert.equal(answers.size, 1, [...answers].join("\n"));
    }
    assert.deepEqual(await api.properties("pump", "p-1"), {});
    assert.equal((await api.ledger()).refused.bad_credentials, 6);
  },
});

Deno.test({
  name: "a desired property reaches a device that is there, was away, and over a restart",
  ignore,
  async fn() {
    await using roost = await startRoost();
    for (const version of VERSIONS) {
      const { api, pump } = await provision(roost, version);
      {
        await using listener = await subscribe(roost, pump, version, "properties/set");
        await api.desire(pump.product, pump.device, { on: true });
        assert.deepEqual(await listener.next(), { version: 1, values: { on: true } });
      }
      await statusBecomes(api, pump, "offline");
      await api.desire(pump.product, pump.device, { speed: 7 });
      {
        await using listener = await subscribe(roost, pump, version, "properties/set");
        const values = { on: true, speed: 7 };
        assert.deepEqual(await listener.next(), { version: 2, values });
      }
      await statusBecomes(api, pump, "offline");
      await api.desire(pump.product, pump.device, { on: false });
      await roost.restart();
      await using listener = await subscribe(roost, pump, version, "properties/set");
      const values = { on: false, speed: 7 };
      assert.deepEqual(await listener.next(), { version: 3, values });
      await publish(roost, pump, version, "properties", JSON.stringify(values));
      const again = await roost.api();
      await waitFor(async () => {
        const shadow = await again.shadow(pump.product, pump.device);
        return Object.keys(shadow.delta as object).length === 0;
      }, { what: "the shadow without a difference", withinMs: CLIENT_MS });
    }
  },
});

Deno.test({
  name: "presence follows the connection, a disabled device is out, kill -9 leaves nobody online",
  ignore,
  async fn() {
    await using roost = await startRoost();
    const { api, pump } = await provision(roost);
    assert.equal((await api.device("pump", "p-1")).status, "never");
    {
      await using _listener = await subscribe(roost, pump, "mqttv5", "properties/set");
      await statusBecomes(api, pump, "online");
    }
    await statusBecomes(api, pump, "offline");

    await using cut = await subscribe(roost, pump, "mqttv311", "properties/set");
    await statusBecomes(api, pump, "online");
    await api.patchDevice("pump", "p-1", { enabled: false });
    await cut.closed();
    await statusBecomes(api, pump, "disabled");
    for (const version of VERSIONS) {
      const refused = await publish(roost, pump, version, "properties", '{"t": 1}');
      assert.notEqual(refused.code, 0, refused.text);
    }
    await api.patchDevice("pump", "p-1", { enabled: true });
    await using back = await subscribe(roost, pump, "mqttv5", "properties/set");
    await statusBecomes(api, pump, "online");

    await roost.kill();
    await back[Symbol.asyncDispose](); // Or it would come back by itself.
    await roost.start();
    await statusBecomes(await roost.api(), pump, "offline");
  },
});

Deno.test("a second start on the same data directory refuses and names the holder", async () => {
  await using roost = await startRoost();
  const second = startRoost({ dataDir: roost.dataDir });
  const pid = new RegExp(`\\b${roost.pid}\\b`);
  await assert.rejects(second, (fault: Error) => {
    assert.match(fault.message, /ended with 1 before it was ready/);
    assert.match(fault.message, pid);
    return true;
  });
  const readiness = await fetch(`${roost.urls.http}/readyz`);
  await readiness.body?.cancel();
  assert.equal(readiness.status, 200);
});

Deno.test({
  name: "a strict product refuses a bad value with its path and bound, and keeps the rest",
  ignore,
  async fn() {
    await using roost = await startRoost();
    const { api } = await provision(roost);
    await api.createProduct({ key: "valve", mode: "strict", model: VALVE_MODEL });
    for (const version of VERSIONS) {
      const valve = await api.createDevice("valve", `v-${version}`);
      const told = await publishForError(
        roost,
        valve,
        version,
        '{"pressure": 11.5, "open": true, "x": 1}',
      );
      assert.equal(told.topic, `v1/valve/v-${version}/properties`);
      assert.equal(told.code, "partially_refused");
      assert.match(told.detail, /pressure: .*11\.5.*10/);
      assert.match(told.detail, /x: /);
      const values = await waitFor(async () => {
        const found = await api.properties("valve", valve.device);
        return found.open === undefined ? undefined : found;
      }, { what: "the rest of the message", withinMs: SECOND_MS });
      assert.deepEqual(Object.keys(values), ["open"]);
    }
    assert.deepEqual(
      { max: 2, unknown: 2 },
      pickPoints((await api.ledger()).refused),
    );
  },
});

function pickPoints(refused: Readonly<Record<string, number>>): Record<string, number> {
  const points = Object.entries(refused).filter(([reason]) => reason.startsWith("point_"));
  return Object.fromEntries(
    points.map(([reason, count]) => [reason.slice("point_".length), count]),
  );
}

async function provision(
  roost: TestRoost,
  product = "pump",
): Promise<{ api: RoostApi; pump: DeviceLogin }> {
  const api = await roost.api();
  await api.createProduct({ key: product });
  return { api, pump: await api.createDevice(product, "p-1") };
}

async function statusBecomes(api: RoostApi, login: DeviceLogin, status: string): Promise<void> {
  let actual = "";
  await waitFor(async () => {
    actual = (await api.device(login.product, login.device)).status;
    return actual === status;
  }, { what: `status ${status}`, withinMs: CLIENT_MS, actual: () => actual });
}

function clientArgs(roost: TestRoost, login: DeviceLogin, version: Version): string[] {
  return [
    ...["-h", "127.0.0.1", "-p", String(roost.mqttPort), "-V", version, "-q", "1"],
    ...["-u", `${login.product}/${login.device}`, "-P", login.secret],
  ];
}

function topicOf(login: DeviceLogin, suffix: string): string {
  return `v1/${login.product}/${login.device}/${suffix}`;
}

/** mosquitto_pub, once; its exit code and all that it said. */
async function publish(
  roost: TestRoost,
  login: DeviceLogin,
  version: Version,
  suffix: string,
  payload: string,
): Promise<{ code: number; text: string }> {
  const args = [...clientArgs(roost, login, version), "-i", "pub", "-d"];
  const command = new Deno.Command(PUB!, {
    args: [...args, "-t", topicOf(login, suffix), "-m", payload],
    stdin: "null",
  });
  const { code, stdout, stderr } = await within(command.output(), "mosquitto_pub", CLIENT_MS);
  return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

/** mosquitto_rr: the first message on `errors` after the publication. */
async function publishForError(
  roost: TestRoost,
  login: DeviceLogin,
  version: Version,
  payload: string,
): Promise<{ topic: string; code: string; detail: string }> {
  const command = new Deno.Command(RR!, {
    args: [
      ...clientArgs(roost, login, version),
      ...["-W", "5", "-t", topicOf(login, "properties"), "-m", payload],
      ...["-e", topicOf(login, "errors")],
    ],
    stdin: "null",
  });
  const { stdout, stderr } = await within(command.output(), "mosquitto_rr", CLIENT_MS);
  const text = new TextDecoder().decode(stdout);
  assert.ok(text.startsWith("{"), `${text}${new TextDecoder().decode(stderr)}`);
  return JSON.parse(text);
}

interface Listener extends AsyncDisposable {
  /** JSON of the next message. */
  next(): Promise<unknown>;
  /** Its connection was ended by the server: it connects again, or is refused and ends. */
  closed(): Promise<void>;
}

/** mosquitto_sub; resolves when it is subscribed. */
async function subscribe(
  roost: TestRoost,
  login: DeviceLogin,
  version: Version,
  suffix: string,
): Promise<Listener> {
  const topic = topicOf(login, suffix);
  const args = [...clientArgs(roost, login, version), "-i", "sub", "-d", "-t", topic];
  const running = startProcess("stdbuf", ["-oL", SUB!, ...args]);
  const said: string[] = [];
  const read = (async () => {
    for await (const line of linesOf(running.stdout)) said.push(line);
  })();
  const wait = <T>(what: string, find: () => T | undefined) =>
    waitFor(find, { what, withinMs: CLIENT_MS, actual: () => [said, running.stderrText()] });
  await wait("SUBACK", () => said.find((line) => line.includes("received SUBACK")));
  let taken = 0;
  return {
    async next() {
      const isJson = () => said.filter((line) => line.startsWith("{"));
      const line = await wait(`message ${taken + 1} on ${topic}`, () => isJson()[taken]);
      taken++;
      return JSON.parse(line);
    },
    async closed() {
      const gone = () => running.hasEnded || said.filter((l) => /CONNECT\b/.test(l)).length > 1;
      await wait("its connection to be gone", () => gone() || undefined);
    },
    async [Symbol.asyncDispose]() {
      await running[Symbol.asyncDispose]();
      await read;
    },
  };
}
