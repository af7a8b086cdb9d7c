/**
 * Peers that mean no good, on both ports of the real process, while an honest one is served: each is
 * refused clearly, counted by reason, and costs no memory that stays.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { LIMITS } from "../../runtime/limits.ts";
import { systemClock } from "../../runtime/clock.ts";
import { startFlood } from "../support/flood.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import type { RoostApi } from "../support/roost_api.ts";
import { waitFor } from "../support/wait.ts";

const ROUNDS = 6;
/** After so many rounds everything is warm that will be. */
const ROUNDS_WARM = 3;
const GROWTH_BYTES_MAX = 64 * 1024 * 1024;
const SILENT_SOCKETS = 200;
const FLOODERS = 5;
const FLOOD_MS = 2_000;
/** Twice what loopback's buffers take: 2 B each. */
const PINGS_UNREAD = 8 * 1024 * 1024;
const HONEST_MS_MAX = 2_000;
/** Silent sockets, slow bodies: the longest bound, and time to look at all of them. */
const TIMED_OUT_MS = LIMITS.mqttConnectMsMax + 8_000;

const PREFIX = "v1/p/hostile/";
const NOW_MS = systemClock.nowMs();
const DAY_MS = 86_400_000;

/** Bodies of properties, and the reason by which each is refused, whatever wire it comes by. */
const BODIES: readonly (readonly [what: string, body: string | Uint8Array, reason: string])[] = [
  ["nothing", "", "malformed"],
  ["no JSON", "{,}", "malformed"],
  ["a number", "7", "malformed"],
  ["NaN", '{"t": NaN}', "malformed"],
  ["beyond a double", '{"t": 1e999}', "malformed"],
  ["a byte order mark", "\ufeff{}", "malformed"],
  ["broken UTF-8", new Uint8Array([0x7b, 0x22, 0xc3, 0x28, 0x22, 0x3a, 0x31, 0x7d]), "malformed"],
  ["a lone surrogate", '{"t": "\\ud800"}', "malformed"],
  ["a lone surrogate as a name", '{"\\udc00": 1}', "malformed"],
  ["__proto__", '{"__proto__": {"on": true}}', "malformed"],
  ["__proto__ below", '{"t": [{"__proto__": 1}]}', "malformed"],
  ["deep", `{"t": ${"[".repeat(33)}${"]".repeat(33)}}`, "malformed"],
  ["very deep", "[".repeat(60_000), "malformed"],
  ["huge", `{"t": "${"x".repeat(LIMITS.payloadBytesMax)}"}`, "too_large"],
  ["many points", `[${'{"a":1},'.repeat(1_000)}{"a":1}]`, "too_many_points"],
  ["tomorrow", timed(NOW_MS + DAY_MS), "time_out_of_range"],
  ["the end of time", timed(8.64e15), "time_out_of_range"],
  ["long ago", timed(NOW_MS - 1_000 * DAY_MS), "time_out_of_range"],
  ["before 1970", timed(-1), "time_out_of_range"],
];

/** First bytes of a connection. */
const GREETINGS: readonly (readonly [what: string, bytes: Uint8Array, reason: string])[] = [
  ["zeros", new Uint8Array(64), "malformed"],
  ["another protocol", Buffer.from("SSH-2.0-OpenSSH_9.2\r\n"), "malformed"],
  ["a length without end", bytesOf(0x10, 0xff, 0xff, 0xff, 0xff, 0xff), "malformed"],
  ["256 MB announced", bytesOf(0x10, 0xff, 0xff, 0xff, 0x7f), "packet_too_large"],
  ["MQTT 3.1", greeting("MQIsdp", 3), "bad_version"],
  ["MQTT 9", greeting("MQTT", 9), "bad_version"],
  ["PUBLISH first", bytesOf(0x30, 3, 0, 1, 0x61), "malformed"],
];

/** What a logged-in device of MQTT 5 may not send. */
const VIOLATIONS: readonly (readonly [what: string, bytes: Uint8Array, reason: string])[] = [
  ["QoS 3", bytesOf(0x36, 6, 0, 1, 0x61, 0, 1, 0), "malformed"],
  ["a wildcard in a topic", bytesOf(0x32, 6, 0, 1, 0x23, 0, 1, 0), "protocol_error"],
  ["a second CONNECT", greeting("MQTT", 5), "protocol_error"],
  ["a packet of the server", bytesOf(0xd0, 0), "protocol_error"],
  ["256 MB announced", bytesOf(0x32, 0xff, 0xff, 0xff, 0x7f), "packet_too_large"],
];

Deno.test("hostile peers are refused and counted while an honest one is served", async () => {
  await using roost = await startRoost();
  const scene = await Scene.prepare(roost);
  using _honest = scene.honest;
  const silent = await Promise.all(
    Array.from({ length: SILENT_SOCKETS }, () => RawMqtt.open(roost.mqttPort)),
  );
  silent.forEach((peer, i) => peer.sendBytes(bytesOf(0x10).subarray(0, i % 2)));
  scene.expect("connect_timeout", SILENT_SOCKETS);
  const slow = slowPost(roost);
  scene.expect("body_timeout");
  using hoarder = await scene.hoard();

  let warmBytes = 0;
  for (let round = 1; round <= ROUNDS; round++) {
    await scene.greet();
    await scene.violate();
    await scene.sendBodiesOverMqtt(round % 2 === 0 ? 4 : 5);
    await scene.sendBodiesOverHttp();
    await scene.serveHonest();
    if (round === ROUNDS_WARM) warmBytes = roost.memory().rssBytes;
  }
  const growth = roost.memory().rssBytes - warmBytes;
  assert.ok(growth <= GROWTH_BYTES_MAX, `memory grew by ${growth >> 20} MB`);

  await scene.flood();
  await scene.guess();
  await waitFor(() => silent.every((peer) => peer.isClosed), {
    what: "silent sockets to be closed",
    withinMs: TIMED_OUT_MS,
    actual: () => silent.filter((peer) => !peer.isClosed).length,
  });
  silent.forEach((peer) => peer[Symbol.dispose]());
  hoarder.socket.resume();
  await hoarder.closed();
  assert.match(await slow, /^HTTP\/1\.1 4\d\d /);
  await scene.serveHonest();
  await scene.verify();
});

class Scene {
  readonly #expected: Record<string, number> = {};
  #served = 0;

  private constructor(
    readonly roost: TestRoost,
    readonly api: RoostApi,
    readonly honest: RawMqtt,
  ) {}

  static async prepare(roost: TestRoost): Promise<Scene> {
    const api = await roost.api();
    await api.createProduct({ key: "p" });
    for (const name of ["hostile", "honest", "hoarder"]) {
      await api.createDevice("p", name, { secret: `secret-of-${name}` });
    }
    const honest = await RawMqtt.open(roost.mqttPort, { version: 5 });
    await honest.login("honest");
    return new Scene(roost, api, honest);
  }

  expect(reason: string, count = 1): void {
    this.#expected[reason] = (this.#expected[reason] ?? 0) + count;
  }

  async greet(): Promise<void> {
    for (const [what, bytes, reason] of GREETINGS) {
      using peer = await RawMqtt.open(this.roost.mqttPort);
      peer.sendBytes(bytes);
      await named(what, peer.closed());
      this.expect(reason);
    }
  }

  async violate(): Promise<void> {
    for (const [what, bytes, reason] of VIOLATIONS) {
      using peer = await RawMqtt.open(this.roost.mqttPort, { version: 5 });
      await peer.login("hostile");
      peer.sendBytes(bytes);
      await named(what, peer.closed());
      this.expect(reason);
    }
    using outside = await RawMqtt.open(this.roost.mqttPort);
    await outside.login("hostile");
    outside.sendBytes(outside.publish("v1/p/honest/properties", '{"t": 1}', 1, 1));
    await outside.closed();
    this.expect("outside_prefix");
  }

  /** All on one connection, each told: by its reason code, or acknowledged where there is none. */
  async sendBodiesOverMqtt(version: 4 | 5): Promise<void> {
    using peer = await RawMqtt.open(this.roost.mqttPort, { version });
    await peer.login("hostile");
    for (const [i, [what, body, reason]] of BODIES.entries()) {
      peer.sendBytes(peer.publish(`${PREFIX}properties`, body, 1, i + 1));
      const { messageId, reasonCode } = await named(what, peer.next("puback"));
      assert.equal(messageId, i + 1, what);
      if (version === 5) assert.equal(reasonCode, 0x99, what);
      this.expect(reason);
    }
  }

  async sendBodiesOverHttp(): Promise<void> {
    for (const [what, body, reason] of BODIES) {
      const response = await this.#post("hostile", "secret-of-hostile", body);
      const problem = await response.json();
      assert.equal(response.status, reason === "too_large" ? 413 : 400, what);
      assert.ok(typeof problem.detail === "string" && problem.detail.length < 1_000, what);
      this.expect(reason);
    }
  }

  /** Asks for ever and reads nothing: more answers than the kernel and the gateway keep for it. */
  async hoard(): Promise<RawMqtt> {
    const peer = await RawMqtt.open(this.roost.mqttPort);
    await peer.login("hoarder");
    peer.socket.pause();
    const pings = Buffer.alloc(PINGS_UNREAD * 2);
    for (let i = 0; i < PINGS_UNREAD; i++) pings[2 * i] = 0xc0;
    peer.sendBytes(pings);
    this.expect("stalled");
    return peer;
  }

  /** Peers over both wires that send all they can; they are held back, and nobody else. */
  async flood(): Promise<void> {
    const devices = await this.api.createDevices("p", FLOODERS, "flood");
    using running = await startFlood({
      mqtt: devices.map((device) => ({
        port: this.roost.mqttPort,
        device,
        version: 4,
        bodyBytes: 200,
      })),
      http: { url: this.roost.urls.http, devices: devices.slice(0, 2) },
    });
    const untilMs = systemClock.monotonicMs() + FLOOD_MS;
    while (systemClock.monotonicMs() < untilMs) await this.serveHonest();
    const { claims, closed } = await running.stop();
    assert.equal(closed, 0, "a flooder of MQTT 3.1.1 is held back, not closed");
    assert.ok(claims.some(({ acknowledged }) => acknowledged.length > 0), "the flood was taken");
  }

  /** A message that is acknowledged and a ping, both promptly, over either wire. */
  async serveHonest(): Promise<void> {
    const { honest } = this;
    const startedMs = systemClock.monotonicMs();
    const sequence = ++this.#served;
    honest.sendBytes(honest.publish("v1/p/honest/properties", `{"seq": ${sequence}}`, 1, sequence));
    assert.equal((await honest.next("puback")).messageId, sequence);
    await honest.roundTrip();
    const posted = await this.#post("honest", "secret-of-honest", '{"posted": true}');
    assert.equal(posted.status, 202, await posted.text());
    const tookMs = systemClock.monotonicMs() - startedMs;
    assert.ok(tookMs <= HONEST_MS_MAX, `the honest peer waited for ${tookMs} ms`);
  }

  /** Wrong and unknown get one answer; the bound of failures stops guessing. */
  async guess(): Promise<void> {
    const guesses = [["honest", "secret-of-nobody"], ["nobody", "secret-of-honest"]] as const;
    const answers = new Set<string>();
    for (const [device, secret] of guesses) {
      const response = await this.#post(device, secret, "{}");
      const { type, title, detail } = await response.json();
      answers.add(JSON.stringify([response.status, type, title, detail]));
      this.expect("unauthorized");
    }
    assert.equal(answers.size, 1, [...answers].join("\n"));

    const connacks = new Set<string>();
    for (let i = 0; i < LIMITS.loginFailuresMax; i++) {
      const [device, secret] = guesses[i % 2]!;
      connacks.add(await this.#connack(device, secret));
      this.expect("bad_credentials");
    }
    assert.deepEqual([...connacks], [String(0x86)]);
    assert.equal(await this.#connack("honest", "secret-of-honest"), String(0x9f));
    this.expect("login_throttled");
  }

  async verify(): Promise<void> {
    const { refused } = await this.api.ledger();
    assert.deepEqual(sorted(refused), sorted(this.#expected));
    await waitFor(
      async () => (await this.api.properties("p", "honest")).seq?.value === this.#served,
      { what: "the honest peer's last value", withinMs: TIMED_OUT_MS },
    );
    assert.deepEqual(await this.api.properties("p", "hostile"), {}, "nothing refused was kept");
    assert.equal(({} as { on?: boolean }).on, undefined);
    assert.doesNotMatch(this.roost.stderrText, /"level":"error"/);
  }

  async #connack(device: string, secret: string): Promise<string> {
    using peer = await RawMqtt.open(this.roost.mqttPort, { version: 5 });
    const connack = await peer.login(device, { password: Buffer.from(secret) });
    return String((connack as { reasonCode?: number }).reasonCode);
  }

  #post(device: string, secret: string, body: string | Uint8Array): Promise<Response> {
    return fetch(`${this.roost.urls.http}/ingest/v1/p/${device}/properties`, {
      method: "POST",
      headers: { Authorization: `Basic ${btoa(`p/${device}:${secret}`)}` },
      body: typeof body === "string" ? body : body.slice(),
    });
  }
}

/** A body that never ends; resolves with what is answered. */
async function slowPost(roost: TestRoost): Promise<string> {
  using socket = await Deno.connect({ hostname: "127.0.0.1", port: roost.httpPort });
  const login = btoa("p/hostile:secret-of-hostile");
  const head = "POST /ingest/v1/p/hostile/properties HTTP/1.1\r\nHost: a\r\n" +
    `Authorization: Basic ${login}\r\nContent-Length: 1000\r\n\r\n{`;
  await socket.write(new TextEncoder().encode(head));
  const buffer = new Uint8Array(4_096);
  const read = await socket.read(buffer);
  return new TextDecoder().decode(buffer.subarray(0, read ?? 0));
}

function timed(at: number): string {
  return JSON.stringify({ at, values: { t: 1 } });
}

function bytesOf(...bytes: number[]): Uint8Array {
  return new Uint8Array(bytes);
}

/** A CONNECT of any protocol and level, with an empty client id. */
function greeting(protocol: string, level: number): Uint8Array {
  const name = new TextEncoder().encode(protocol);
  const body = [0, name.length, ...name, level, 2, 0, 60, ...(level >= 5 ? [0] : []), 0, 0];
  return bytesOf(0x10, body.length, ...body);
}

function sorted(counts: Readonly<Record<string, number>>): [string, number][] {
  return Object.entries(counts).sort(([a], [b]) => a < b ? -1 : 1);
}

async function named<T>(what: string, promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (fault) {
    throw new Error(`${what}: ${fault instanceof Error ? fault.message : fault}`);
  }
}
