import assert from "node:assert/strict";
import { curlCommand, mosquittoCommand } from "./commands.ts";

const LOGIN = { product: "pump", device: "p-1", secret: "it's $(secret)" };

Deno.test("a command names the node as the person reaches it, and runs nothing of a secret", () => {
  const mqtt = mosquittoCommand(LOGIN, { mqtt: "mqtt://127.0.0.1:1884" }, "plant.example");
  assert.match(mqtt, /-h plant\.example -p 1884 /);
  assert.ok(mqtt.includes(`-P 'it'\\''s $(secret)'`));
  assert.match(mqtt, /-t v1\/pump\/p-1\/properties/);
  const own = mosquittoCommand(LOGIN, { mqtt: "mqtt://[2001:db8::1]:1883" }, "plant.example");
  assert.match(own, /-h 2001:db8::1 -p 1883 /);
  const curl = curlCommand({ ...LOGIN, secret: "abc" }, "http://plant.example:8080");
  assert.match(curl, /-u pump\/p-1:abc /);
  assert.match(curl, /http:\/\/plant\.example:8080\/ingest\/v1\/pump\/p-1\/properties$/);
});
