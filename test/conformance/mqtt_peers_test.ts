/** Real clients against the gateway: mosquitto's and mqtt.js, MQTT 3.1.1 and 5. */
import assert from "node:assert/strict";
import { connectAsync, type IClientOptions } from "mqtt";
import { startMqttFixture } from "../support/mqtt_fixture.ts";
import { requirePeer } from "../support/peers.ts";
import { waitFor, within } from "../support/wait.ts";

const PREFIX = "v1/p/d1/";
const WITHIN_MS = 10_000;

const publisher = await requirePeer("mosquitto_pub");
const subscriber = await requirePeer("mosquitto_sub");

function args(port: number, version: string, more: string[]): string[] {
  const login = ["-u", "p/d1", "-P", "secret-of-d1"];
  return ["-h", "127.0.0.1", "-p", String(port), "-V", version, ...login, ...more];
}

for (const version of ["mqttv311", "mqttv5"]) {
  Deno.test({
    name: `mosquitto_pub ${version} is acknowledged at every QoS, and refused without its secret`,
    ignore: publisher === undefined,
    async fn() {
      await using fixture = await startMqttFixture();
      const { gateway, ingress } = fixture;
      const publish = (more: string[]) => {
        const all = args(gateway.port, version, ["-t", `${PREFIX}properties`, ...more]);
        return new Deno.Command(publisher!, { args: all, stderr: "piped" }).output();
      };
      for (const qos of [0, 1, 2]) {
        const message = JSON.stringify({ qos });
        const { success, stderr } = await publish(["-q", String(qos), "-m", message]);
        assert.ok(success, new TextDecoder().decode(stderr));
      }
      await waitFor(() => ingress.bodies("properties").length === 3, {
        what: "three messages",
        withinMs: WITHIN_MS,
      });
      const values = ingress.bodies("properties").map(({ samples }) => samples[0].values);
      assert.deepEqual(values, [{ qos: 0 }, { qos: 1 }, { qos: 2 }]);
      const refused = await publish(["-q", "1", "-m", "{}", "-P", "wrong"]);
      assert.equal(refused.success, false);
      assert.match(new TextDecoder().decode(refused.stderr), /not authori[sz]ed|bad user/i);
    },
  });

  Deno.test({
    name: `mosquitto_sub ${version} gets desired properties, also with a lasting session`,
    ignore: subscriber === undefined,
    async fn() {
      await using fixture = await startMqttFixture();
      const { gateway, ingress } = fixture;
      const more = ["-t", `${PREFIX}properties/set`, "-q", "1", "-C", "1", "-c", "-i", "me"];
      if (version === "mqttv5") more.push("-x", "3600");
      for (const visit of [1, 2]) {
        const command = new Deno.Command(subscriber!, {
          args: args(gateway.port, version, more),
          stdout: "piped",
          stderr: "piped",
        });
        const output = command.output();
        // Once for the session that is there again, once for the SUBSCRIBE.
        await waitFor(() => ingress.bodies("deliver").length === 2 * visit - 1, {
          what: `visit ${visit} to subscribe`,
          withinMs: WITHIN_MS,
          actual: () => ingress.bodies("deliver").length,
        });
        gateway.deliver("p", "d1", { type: "propertySet", version: visit, values: { on: true } });
        const { stdout, stderr } = await within(output, "mosquitto_sub to end", WITHIN_MS);
        const text = new TextDecoder().decode(stdout);
        assert.deepEqual(JSON.parse(text || "null"), { version: visit, values: { on: true } }, {
          // What it said helps to see why nothing came.
          cause: new TextDecoder().decode(stderr),
        } as never);
        await waitFor(() => gateway.connections === 0, { what: "its end", withinMs: WITHIN_MS });
      }
      assert.equal(gateway.figures.sessionsResumed, 1);
    },
  });
}

for (const protocolVersion of [4, 5] as const) {
  Deno.test(`mqtt.js with MQTT ${protocolVersion} keeps its order, its window and its session`, async () => {
    await using fixture = await startMqttFixture();
    const { gateway, ingress } = fixture;
    const options: IClientOptions = {
      protocolVersion,
      clean: false,
      clientId: "js",
      username: "p/d1",
      password: "secret-of-d1",
      reconnectPeriod: 0,
      ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 60 } } : {}),
    };
    const open = () => connectAsync(`mqtt://127.0.0.1:${gateway.port}`, options);
    const client = await open();
    const received: string[] = [];
    client.on("message", (topic, payload) => received.push(`${topic} ${payload}`));
    await client.subscribeAsync(`${PREFIX}#`, { qos: 1 });
    // mqtt.js does not keep to our Receive Maximum by itself.
    const sent = Array.from(
      { length: 900 },
      (_, n) =>
        client.publishAsync(`${PREFIX}properties`, JSON.stringify({ n }), {
          qos: n % 10 === 9 ? 2 : 1,
        }),
    );
    await within(Promise.all(sent), "all acknowledgements", WITHIN_MS);
    const numbers = ingress.bodies("properties").map(({ samples }) => samples[0].values.n);
    assert.deepEqual(numbers, Array.from({ length: 900 }, (_, n) => n));
    await client.publishAsync(`${PREFIX}properties`, "no json", { qos: 0 });
    await waitFor(() => received.length === 1, { what: "the error", withinMs: WITHIN_MS });
    gateway.deliver("p", "d1", { type: "propertySet", version: 1, values: { on: true } });
    await waitFor(() => received.length === 2, { what: "two messages", withinMs: WITHIN_MS });
    assert.match(received[0]!, /^v1\/p\/d1\/errors .*malformed/);
    assert.match(received[1]!, /^v1\/p\/d1\/properties\/set .*"on":true/);
    await client.endAsync();
    const again = await open();
    assert.equal(gateway.figures.sessionsResumed, 1);
    await again.endAsync();
  });
}
