/** A device logs in with a certificate of openssl's, in the real program as it is configured. */
import assert from "node:assert/strict";
import { Certificates } from "../support/certificates.ts";
import { freePort } from "../support/free_port.ts";
import { requirePeer } from "../support/peers.ts";
import { startRoost } from "../support/roost.ts";
import { waitFor } from "../support/wait.ts";

const publisher = await requirePeer("mosquitto_pub");
const ignore = publisher === undefined || await requirePeer("openssl") === undefined;

Deno.test({
  name:
    "mosquitto_pub reports with its certificate where its product takes them, and not elsewhere",
  ignore,
  async fn() {
    await using certificates = new Certificates();
    const server = await certificates.make({ commonName: "server", altName: "IP:127.0.0.1" });
    const ca = await certificates.make({ commonName: "makers" });
    const port = freePort();
    await using roost = await startRoost({
      env: {
        ROOST__MQTT__TLS_CERTIFICATE: server.certificate,
        ROOST__MQTT__TLS_KEY: server.key,
        ROOST__MQTT__TLS_CLIENT_CA: ca.certificate,
        ROOST__MQTT__TLS_PORT: String(port),
      },
    });
    const api = await roost.api();
    const products = [["certified", ["x509"]], ["secret", ["secret"]]] as const;
    for (const [key, credentials] of products) {
      const body = { key, name: key, mode: "open", credentials };
      await api.request("POST", "/api/v1/products", body);
      await api.createDevice(key, "one");
    }
    const send = async (product: string): Promise<string> => {
      const own = await certificates.make({ commonName: `${product}/one`, issuer: ca });
      const to = ["-h", "127.0.0.1", "-p", String(port), "--cafile", server.certificate];
      const login = ["--cert", own.certificate, "--key", own.key, "-V", "mqttv5", "-q", "1"];
      const message = ["-t", `v1/${product}/one/properties`, "-m", '{"a":1}'];
      const args = [...to, ...login, ...message];
      const { success, stderr } = await new Deno.Command(publisher!, { args }).output();
      return success ? "" : new TextDecoder().decode(stderr);
    };
    assert.equal(await send("certified"), "");
    await waitFor(async () => (await api.properties("certified", "one"))["a"]?.value === 1, {
      what: "what it reported",
      withinMs: 20_000,
    });
    assert.match(await send("secret"), /bad user name or password/i);
  },
});
