import assert from "node:assert/strict";
import { examplesOf, scriptOf, withAddresses } from "./doc_examples.ts";

Deno.test("only marked blocks are examples", () => {
  const page =
    "a\n```sh example\necho 1\n```\n```sh\nno\n```\n- b\n  ```ts example\n  f();\n  ```\n";
  assert.deepEqual(examplesOf(page), [
    { language: "sh", line: 2, code: "echo 1\n" },
    { language: "ts", line: 9, code: "f();\n" },
  ]);
});

Deno.test("a mark on what cannot run and an open fence are refused", () => {
  assert.throws(() => examplesOf("```json example\n{}\n```\n"), /must be sh or ts/);
  assert.throws(() => examplesOf("```sh example\n"), /not closed/);
});

Deno.test("addresses of pages become those of the running process", () => {
  const ports = { http: 1, mqtt: 2 };
  assert.equal(withAddresses("curl http://localhost:8080/x", ports), "curl http://127.0.0.1:1/x");
  assert.equal(withAddresses("mosquitto_pub -h h -t t", ports), "mosquitto_pub -p 2 -h h -t t");
  assert.equal(withAddresses("mosquitto_sub -p 1883 -t t", ports), "mosquitto_sub -p 2 -t t");
  assert.equal(withAddresses("port 18080 and :80801", ports), "port 18080 and :80801");
});

Deno.test("a failing example ends its script", async () => {
  const script = scriptOf(examplesOf("```sh example\nfalse\necho reached\n```\n"));
  const { success, stdout } = await new Deno.Command("bash", { args: ["-c", script] }).output();
  assert.equal(success, false);
  assert.doesNotMatch(new TextDecoder().decode(stdout), /reached/);
});
