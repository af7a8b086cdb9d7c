import assert from "node:assert/strict";
import { printConfig, readConfig, renderSample } from "./config.ts";
import { CONFIG_FIELDS } from "./config_schema.ts";
import { InvalidError } from "./errors.ts";

function read(env: Record<string, string>, file?: string, args: string[] = []) {
  const readFile = (path: string) => {
    if (file === undefined) throw new Error(`no such file: ${path}`);
    return file;
  };
  return readConfig({
    env,
    args: file === undefined ? args : ["--config", "r.json", ...args],
    readFile,
  });
}

function refusal(env: Record<string, string>, file?: string, args: string[] = []): string {
  try {
    read(env, file, args);
  } catch (fault) {
    assert(fault instanceof InvalidError);
    return fault.message.replace("The configuration is refused.\n", "");
  }
  throw new Error("it was accepted");
}

Deno.test("without anything set the defaults are on loopback", () => {
  const { config } = read({});
  assert.equal(config.listen, "127.0.0.1");
  assert.deepEqual([config.http.port, config.mqtt.port, config.coap.port, config.tcp.port], [
    8080,
    1883,
    5683,
    1884,
  ]);
  assert.equal(config.data.dir, "./data");
  assert.equal(config.owner.password, undefined);
});

Deno.test("the environment wins over the file and the file over the defaults", () => {
  const file = `{ "http": { "port": 1 }, // a "comment" \n "mqtt": { "port": 2 } }`;
  const { config } = read({ ROOST__MQTT__PORT: "3", ROOST__NODE__ROLES: "gateway, api" }, file);
  assert.deepEqual([config.http.port, config.mqtt.port, config.tcp.port], [1, 3, 1884]);
  assert.deepEqual(config.node.roles, ["gateway", "api"]);
});

Deno.test("a value out of bounds is refused by the name it was set with", () => {
  assert.equal(
    refusal({ ROOST__HTTP__PORT: "70000" }),
    "Cannot accept ROOST__HTTP__PORT 70000: it must be 0 to 65535",
  );
  assert.equal(
    refusal({ ROOST__HTTP__PORT: "80 80" }),
    'Cannot accept ROOST__HTTP__PORT "80 80": it must be 0 to 65535',
  );
  assert.equal(
    refusal({}, `{"http": {"port": -1}}`),
    "Cannot accept http.port in r.json -1: it must be 0 to 65535",
  );
  assert.equal(
    refusal({ ROOST__NODE__ROLES: "gateway,king" }),
    'Cannot accept ROOST__NODE__ROLES ["gateway","king"]: it must be one or more of gateway, ' +
      "worker, camera, api",
  );
  assert.equal(
    refusal({ ROOST__LISTEN: "localhost" }),
    'Cannot accept ROOST__LISTEN "localhost": it must be an IPv4 or IPv6 address',
  );
});

Deno.test("a secret that is refused is not shown", () => {
  assert.equal(
    refusal({ ROOST__OWNER__PASSWORD: "short-one" }),
    "Cannot accept ROOST__OWNER__PASSWORD: it must be 12 to 128 characters",
  );
});

Deno.test("unknown variables, fields and arguments are refused with what is known", () => {
  assert.equal(
    refusal({ ROOST__HTTP__PROT: "1" }),
    "Unknown setting ROOST__HTTP__PROT: known are ROOST__HTTP__PORT",
  );
  assert.match(refusal({ ROOST__PROT: "" }), /^Unknown setting ROOST__PROT: known/);
  assert.equal(refusal({}, `{"http": {"prot": 1}}`), "Unknown setting http.prot in r.json");
  assert.equal(
    refusal({}, `{"http": 1}`),
    "Cannot accept http in r.json: it must be an object",
  );
  assert.match(refusal({}, undefined, ["--prnt-config"]), /^Unknown argument --prnt-config/);
  assert.match(refusal({}, `{"http": `), /^Cannot read the configuration file r.json: /);
});

Deno.test("a store's URL is refused: this version runs embedded only", () => {
  for (const store of ["REDIS", "MYSQL", "ELASTICSEARCH"]) {
    const message = refusal({ [`ROOST__${store}__URL`]: "redis://:secret@host" });
    assert.match(
      message,
      new RegExp(`^Cannot accept ROOST__${store}__URL: this version runs embed`),
    );
    assert(!message.includes("secret"));
  }
});

Deno.test("an empty variable counts as unset and a shared port is refused unless it is 0", () => {
  assert.equal(read({ ROOST__REDIS__URL: "" }).config.redis.url, undefined);
  assert.match(refusal({ ROOST__MQTT__PORT: "8080" }), /the port is that of http.port, too/);
  assert.equal(read({ ROOST__MQTT__PORT: "0", ROOST__HTTP__PORT: "0" }).config.mqtt.port, 0);
});

Deno.test("TLS takes a certificate with its key, and then a port of its own", () => {
  const [certificate, key] = ["ROOST__MQTT__TLS_CERTIFICATE", "ROOST__MQTT__TLS_KEY"];
  assert.match(refusal({ [certificate]: "a.pem" }), /mqtt.tlsKey .*mqtt.tlsCertificate needs it/);
  assert.match(refusal({ [key]: "a.pem" }), /mqtt.tlsCertificate .*mqtt.tlsKey needs it/);
  assert.match(refusal({ ROOST__MQTT__TLS_CLIENT_CA: "a.pem" }), /mqtt.tlsClientCa needs it/);
  const both = { [certificate]: "a.pem", [key]: "b.pem" };
  assert.equal(read(both).config.mqtt.tlsPort, 8883);
  const same = { ROOST__MQTT__TLS_PORT: "1883" };
  assert.match(refusal({ ...both, ...same }), /TLS_PORT 1883: the port is that of mqtt.port, too/);
  assert.equal(read(same).config.mqtt.tlsPort, 1883, "nothing listens there");
});

Deno.test("the configuration is frozen", () => {
  const { config } = read({});
  assert.throws(() => Object.assign(config.http, { port: 1 }), TypeError);
});

Deno.test("print-config shows every field and no secret", () => {
  const { config, isPrintRequested } = read(
    { ROOST__OWNER__PASSWORD: "correct-horse-battery" },
    undefined,
    ["--print-config"],
  );
  assert(isPrintRequested);
  assert.equal(JSON.parse(printConfig(config)).owner.password, "(redacted)");
  assert.equal(JSON.parse(printConfig(config)).http.port, 8080);
});

Deno.test("the sample configuration is that of the schema and reads as the defaults", async () => {
  const sample = await Deno.readTextFile(new URL("../deploy/roost.sample.jsonc", import.meta.url));
  assert.equal(sample, renderSample(), "run: deno task sample");
  assert.deepEqual(read({}, sample).config, read({}).config);
  for (const field of CONFIG_FIELDS) assert(sample.includes(field.variable), field.variable);
});
