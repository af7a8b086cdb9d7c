/** Logins with client certificates made by openssl, by real clients and on raw sockets. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { connectAsync } from "mqtt";
import {
  type Certificate,
  type CertificateOptions,
  Certificates,
} from "../support/certificates.ts";
import { type MqttFixture, startMqttFixture } from "../support/mqtt_fixture.ts";
import { requirePeer } from "../support/peers.ts";
import { RawMqtt } from "../support/raw_mqtt.ts";
import { waitFor } from "../support/wait.ts";

const WITHIN_MS = 10_000;
const ignore = await requirePeer("openssl") === undefined;
const publisher = await requirePeer("mosquitto_pub");

interface CertificateFixture extends AsyncDisposable {
  readonly fixture: MqttFixture;
  readonly server: Certificate;
  readonly ca: Certificate;
  /** Issued by the client CA unless it says otherwise. */
  make(
    options: Omit<CertificateOptions, "issuer"> & { issuer?: Certificate | "itself" },
  ): Promise<Certificate>;
}

async function start(hasClientCa = true): Promise<CertificateFixture> {
  const resources = new AsyncDisposableStack();
  const certificates = resources.use(new Certificates());
  const server = await certificates.make({ commonName: "server", altName: "IP:127.0.0.1" });
  const ca = await certificates.make({ commonName: "makers of pumps" });
  const clientCa = hasClientCa ? { clientCa: ca.certificate } : {};
  const fixture = resources.use(await startMqttFixture({ tls: { ...server, ...clientCa } }));
  return {
    fixture,
    server,
    ca,
    make: ({ issuer = ca, ...options }) =>
      certificates.make(issuer === "itself" ? options : { ...options, issuer }),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

interface Login {
  readonly username?: string;
  readonly password?: string;
  readonly version?: 4 | 5;
}

/** CONNECT in raw bytes. */
function connectBytes({ username, password, version = 5 }: Login): Buffer {
  const text = (value: string) => [0, value.length, ...Buffer.from(value)];
  const flags = 2 | (username === undefined ? 0 : 0x80) | (password === undefined ? 0 : 0x40);
  const body = [...text("MQTT"), version, flags, 0, 60];
  if (version === 5) body.push(0);
  body.push(...text("any"));
  for (const field of [username, password]) if (field !== undefined) body.push(...text(field));
  return Buffer.from([0x10, body.length, ...body]);
}

/** All bytes that answer a CONNECT over TLS, and the socket. */
async function answerOf(
  { fixture }: CertificateFixture,
  certificate: Certificate | undefined,
  login: Login,
): Promise<{ socket: TLSSocket; bytes: Buffer }> {
  const shown = certificate === undefined ? {} : {
    cert: await Deno.readTextFile(certificate.certificate),
    key: await Deno.readTextFile(certificate.key),
  };
  const port = fixture.gateway.tlsPort!;
  const socket = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false, ...shown });
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk)).on("error", () => {});
  socket.write(connectBytes(login));
  const bytes = await waitFor(() => chunks.length > 0 ? Buffer.concat(chunks) : undefined, {
    what: "an answer",
    withinMs: WITHIN_MS,
  });
  return { socket, bytes };
}

Deno.test({
  name: "mosquitto_pub logs in with its certificate, without a password, in both versions",
  ignore: ignore || publisher === undefined,
  async fn() {
    await using tls = await start();
    const own = await tls.make({ commonName: "p/d1" });
    for (const version of ["mqttv311", "mqttv5"]) {
      for (const user of [[], ["-u", "p/d1"]]) {
        const to = ["-h", "127.0.0.1", "-p", `${tls.fixture.gateway.tlsPort}`];
        const files = ["--cafile", tls.server.certificate, "--cert", own.certificate];
        const message = ["-t", "v1/p/d1/properties", "-q", "1", "-m", JSON.stringify({ version })];
        const args = [...to, ...files, "--key", own.key, "-V", version, ...user, ...message];
        const { success, stderr } = await new Deno.Command(publisher!, { args }).output();
        assert.ok(success, new TextDecoder().decode(stderr));
      }
    }
    const sent = tls.fixture.ingress.bodies("properties");
    const versions = sent.map(({ samples }) => samples[0].values.version);
    assert.deepEqual(versions, ["mqttv311", "mqttv311", "mqttv5", "mqttv5"]);
  },
});

Deno.test({
  name: "mosquitto_pub with another device's certificate gets what a wrong password gets",
  ignore: ignore || publisher === undefined,
  async fn() {
    await using tls = await start();
    const other = await tls.make({ commonName: "p/d2" });
    const run = async (...login: string[]) => {
      const to = ["-h", "127.0.0.1", "-p", `${tls.fixture.gateway.tlsPort}`, "-V", "mqttv5"];
      const message = ["-t", "v1/p/d1/properties", "-m", "{}", "-u", "p/d1"];
      const args = [...to, "--cafile", tls.server.certificate, ...message, ...login];
      const { success, stderr } = await new Deno.Command(publisher!, { args }).output();
      return [success, new TextDecoder().decode(stderr)];
    };
    const wrong = await run("-P", "wrong");
    assert.equal(wrong[0], false);
    assert.deepEqual(await run("--cert", other.certificate, "--key", other.key), wrong);
    assert.equal(tls.fixture.ingress.messages.length, 0);
  },
});

Deno.test({
  name: "a foreign, expired, self-made or nameless certificate gets what a wrong password gets",
  ignore,
  async fn() {
    await using tls = await start();
    const foreignCa = await tls.make({ commonName: "somebody", issuer: "itself" });
    const cases: [string, Certificate | undefined, Login][] = [
      ["none", undefined, {}],
      ["a name alone", undefined, { username: "p/d1" }],
      ["another CA's", await tls.make({ commonName: "p/d1", issuer: foreignCa }), {}],
      ["made by itself", await tls.make({ commonName: "p/d1", issuer: "itself" }), {}],
      ["expired", await tls.make({ commonName: "p/d1", days: -1 }), {}],
      ["of servers", await tls.make({ commonName: "p/d1", usage: "serverAuth" }), {}],
      ["of no device", await tls.make({ commonName: "pump 1" }), {}],
      ["of an unknown one", await tls.make({ commonName: "p/x1" }), {}],
      ["of another one", await tls.make({ commonName: "p/d2" }), { username: "p/d1" }],
      ["with a wrong password", await tls.make({ commonName: "p/d1" }), {
        username: "p/d1",
        password: "wrong",
      }],
    ];
    for (const version of [4, 5] as const) {
      const expected = version === 5 ? [0x20, 3, 0, 0x86, 0] : [0x20, 2, 0, 5];
      for (const [what, certificate, login] of cases) {
        // Of failures of one address only so many are heard in a minute.
        await tls.fixture.clock.advance(61_000);
        const { socket, bytes } = await answerOf(tls, certificate, { ...login, version });
        assert.deepEqual([...bytes], expected, `${what}, version ${version}`);
        socket.destroy();
      }
    }
    assert.deepEqual(new Set(tls.fixture.refusals), new Set(["bad_credentials"]));
    assert.equal(tls.fixture.gateway.figures.loginsRefused, 2 * cases.length);
    assert.equal(tls.fixture.ingress.messages.length, 0);
  },
});

Deno.test({
  name: "failures with certificates count for their address as those with passwords do",
  ignore,
  async fn() {
    await using tls = await start();
    const own = await tls.make({ commonName: "p/d1" });
    for (let i = 0; i < 10; i++) {
      const { socket, bytes } = await answerOf(tls, own, { username: "p/d2" });
      assert.equal(bytes[3], 0x86);
      socket.destroy();
    }
    const { socket, bytes } = await answerOf(tls, own, {});
    assert.equal(bytes[3], 0x9f);
    socket.destroy();
  },
});

Deno.test({
  name: "organization and common name name a device too; a disabled one is told so",
  ignore,
  async fn() {
    await using tls = await start();
    const own = await tls.make({ organization: "p", commonName: "d1" });
    const { socket, bytes } = await answerOf(tls, own, { username: "p/d1" });
    assert.equal(bytes[3], 0);
    socket.destroy();
    tls.fixture.directory.disabled.add("d1");
    const refused = await answerOf(tls, own, {});
    assert.equal(refused.bytes[3], 0x87);
    refused.socket.destroy();
  },
});

Deno.test({
  name: "without a client CA no certificate is a login, and none is one on a plain socket",
  ignore,
  async fn() {
    await using tls = await start(false);
    const own = await tls.make({ commonName: "p/d1" });
    const { socket, bytes } = await answerOf(tls, own, {});
    assert.equal(bytes[3], 0x86);
    socket.destroy();
    await using other = await start();
    using plain = await RawMqtt.open(other.fixture.gateway.port, { version: 5 });
    plain.sendBytes(connectBytes({}));
    assert.equal((await plain.next("connack")).reasonCode, 0x86);
  },
});

Deno.test({
  name: "mqtt.js logs in with its certificate by WebSocket, and is closed when that ends",
  ignore,
  async fn() {
    await using certificates = new Certificates();
    const server = await certificates.make({ commonName: "server", altName: "IP:127.0.0.1" });
    const ca = await certificates.make({ commonName: "makers of pumps" });
    const own = await certificates.make({ commonName: "p/d1", issuer: ca });
    const cert = await Deno.readTextFile(own.certificate);
    const endsAtMs = Date.parse(new X509Certificate(cert).validTo);
    await using fixture = await startMqttFixture({
      tls: { ...server, clientCa: ca.certificate },
      startMs: endsAtMs - 5_000,
    });
    const { gateway, clock, ingress } = fixture;
    const client = await connectAsync(gateway.urls("127.0.0.1").wss!, {
      reconnectPeriod: 0,
      keepalive: 0,
      protocolVersion: 4,
      ca: await Deno.readTextFile(server.certificate),
      cert,
      key: await Deno.readTextFile(own.key),
    });
    await client.publishAsync("v1/p/d1/properties", '{"a":1}', { qos: 1 });
    assert.equal(ingress.bodies("properties").length, 1);
    await clock.advance(4_000);
    assert.equal(gateway.connections, 1);
    await clock.advance(2_000);
    await waitFor(() => gateway.connections === 0, { what: "the end", withinMs: WITHIN_MS });
    assert.equal(gateway.figures.closed.certificate_expired, 1);
    await client.endAsync(true);
  },
});
