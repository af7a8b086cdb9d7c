/** MQTT over TLS with real clients, certificates that change, and peers that stop half way. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connect as connectSocket } from "node:net";
import { connect as connectTls } from "node:tls";
import { connectAsync } from "mqtt";
import { LIMITS } from "../../runtime/limits.ts";
import { type Certificate, Certificates } from "../support/certificates.ts";
import { type MqttFixture, startMqttFixture } from "../support/mqtt_fixture.ts";
import { requirePeer } from "../support/peers.ts";
import { waitFor } from "../support/wait.ts";

const PROPERTIES = "v1/p/d1/properties";
const WITHIN_MS = 10_000;
const RELOAD_MS = 10_000;

const ignore = await requirePeer("openssl") === undefined;
const publisher = await requirePeer("mosquitto_pub");

interface TlsFixture extends AsyncDisposable {
  readonly fixture: MqttFixture;
  readonly certificates: Certificates;
  readonly server: Certificate;
  readonly port: number;
}

async function startTls(): Promise<TlsFixture> {
  const resources = new AsyncDisposableStack();
  const certificates = resources.use(new Certificates());
  const server = await certificates.make({ commonName: "one", altName: "IP:127.0.0.1" });
  const fixture = resources.use(await startMqttFixture({ tls: server }));
  const dispose = () => resources.disposeAsync();
  const port = fixture.gateway.tlsPort!;
  return { fixture, certificates, server, port, [Symbol.asyncDispose]: dispose };
}

/** Common name of the certificate that the listener shows; undefined: no handshake. */
function shownBy(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false }, () => {
      const name = socket.getPeerCertificate().subject.CN;
      socket.destroy();
      resolve(Array.isArray(name) ? name[0] : name);
    });
    socket.on("error", () => resolve(undefined));
  });
}

Deno.test({
  name: "mosquitto_pub with both versions is served over TLS",
  ignore: ignore || publisher === undefined,
  async fn() {
    await using tls = await startTls();
    const { ingress } = tls.fixture;
    for (const version of ["mqttv311", "mqttv5"]) {
      const login = ["-u", "p/d1", "-P", "secret-of-d1", "-t", PROPERTIES, "-q", "1"];
      const to = ["-h", "127.0.0.1", "-p", `${tls.port}`, "--cafile", tls.server.certificate];
      const args = [...to, "-V", version, ...login, "-m", JSON.stringify({ version })];
      const { success, stderr } = await new Deno.Command(publisher!, { args }).output();
      assert.ok(success, new TextDecoder().decode(stderr));
    }
    const values = ingress.bodies("properties").map(({ samples }) => samples[0].values.version);
    assert.deepEqual(values, ["mqttv311", "mqttv5"]);
  },
});

Deno.test({
  name: "mqtt.js is served over TLS, also by WebSocket",
  ignore,
  async fn() {
    await using tls = await startTls();
    const { gateway, ingress } = tls.fixture;
    const ca = await Deno.readTextFile(tls.server.certificate);
    for (const carrier of ["mqtts", "wss"]) {
      const client = await connectAsync(gateway.urls("127.0.0.1")[carrier]!, {
        username: "p/d1",
        password: "secret-of-d1",
        reconnectPeriod: 0,
        ca,
      });
      await client.publishAsync(PROPERTIES, JSON.stringify({ carrier }), { qos: 1 });
      await client.endAsync();
    }
    const values = ingress.bodies("properties").map(({ samples }) => samples[0].values.carrier);
    assert.deepEqual(values, ["mqtts", "wss"]);
  },
});

Deno.test({
  name: "a certificate is replaced while connections go on, and a broken one is not used",
  ignore,
  async fn() {
    await using tls = await startTls();
    const { fixture, certificates, server, port } = tls;
    const url = fixture.gateway.urls("127.0.0.1")["mqtts"]!;
    const login = { username: "p/d1", password: "secret-of-d1", rejectUnauthorized: false };
    const device = await connectAsync(url, { ...login, reconnectPeriod: 0 });
    assert.equal(await shownBy(port), "one");
    const next = await certificates.make({ commonName: "two", altName: "IP:127.0.0.1" });
    await Deno.copyFile(next.certificate, server.certificate);
    await fixture.clock.advance(RELOAD_MS);
    await waitFor(() => fixture.warnings.length === 1, { what: "a warning", withinMs: WITHIN_MS });
    assert.match(fixture.warnings[0]!, /it is not the key of/);
    assert.equal(await shownBy(port), "one");
    await Deno.copyFile(next.key, server.key);
    await fixture.clock.advance(RELOAD_MS);
    await waitFor(async () => await shownBy(port) === "two", {
      what: "the new certificate",
      withinMs: WITHIN_MS,
    });
    await device.publishAsync(PROPERTIES, '{"a":1}', { qos: 1 });
    await device.endAsync();
    await Deno.writeTextFile(server.certificate, "no certificate");
    await fixture.clock.advance(RELOAD_MS);
    await waitFor(() => fixture.warnings.length === 2, { what: "a warning", withinMs: WITHIN_MS });
    assert.equal(await shownBy(port), "two");
  },
});

Deno.test({
  name: "files that cannot be used are named at the start",
  ignore,
  async fn() {
    await using certificates = new Certificates();
    const one = await certificates.make({ commonName: "one" });
    const other = await certificates.make({ commonName: "other" });
    const missing = certificates.path("none");
    const wrong = [
      [{ ...one, certificate: missing }, /Cannot read .*none/],
      [{ ...one, key: other.key }, /is not the key of/],
      [{ ...one, key: one.certificate }, /Cannot use .*: no PEM of the right kind/],
      [{ ...one, clientCa: one.key }, /Cannot use .*: no PEM of the right kind/],
    ] as const;
    for (const [tls, expected] of wrong) {
      await assert.rejects(startMqttFixture({ tls }), expected);
    }
  },
});

Deno.test({
  name: "a peer that does not finish its handshake is a stranger, and closed in time",
  ignore,
  async fn() {
    await using tls = await startTls();
    const { fixture, port } = tls;
    const { figures } = fixture.gateway;
    const closed: string[] = [];
    const open = (what: string, bytes: Uint8Array) => {
      const socket = connectSocket({ port, host: "127.0.0.1" });
      socket.on("error", () => {}).on("data", () => {}).on("close", () => closed.push(what));
      socket.write(bytes);
      return socket;
    };
    const silent = open("silent", Buffer.alloc(0));
    await waitFor(() => figures.strangers === 1, { what: "a stranger", withinMs: WITHIN_MS });
    open("garbage", Buffer.from("GET / HTTP/1.1\r\n\r\n"));
    await waitFor(() => closed.length === 1, { what: "garbage to end", withinMs: WITHIN_MS });
    assert.deepEqual([closed, fixture.refusals], [["garbage"], ["tls_handshake"]]);
    await waitFor(() => figures.strangers === 1, { what: "its count", withinMs: WITHIN_MS });
    await fixture.clock.advance(LIMITS.mqttConnectMsMax + 1_000);
    await waitFor(() => closed.length === 2, { what: "silence to end", withinMs: WITHIN_MS });
    await waitFor(() => figures.strangers === 0, { what: "no stranger", withinMs: WITHIN_MS });
    silent.destroy();
    assert.equal(await shownBy(port), "one");
    await waitFor(() => figures.strangers === 0, { what: "no stranger", withinMs: WITHIN_MS });
  },
});
