import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { UnavailableError } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { KeptAnswers } from "../../actors/registry/kept_answers.ts";
import { deadLetter, HttpHarness, ORIGIN } from "../../test/support/http_harness.ts";
import { requestOf } from "../../test/support/http_requests.ts";
import { createHttpApp } from "./http_app.ts";

type Headers = Record<string, string>;

const NO_RATE = { rate: { perSecond: 1e9, burst: 1e9 } };
const DEVICES = "/api/v1/devices";
const THERE = { product: "pump", device: "p-1", id: "default" };

interface Told {
  readonly status: number;
  readonly text: string;
  readonly etag: string | null;
  readonly location: string | null;
  readonly type: string | null;
  readonly isReplayed: boolean;
  readonly retryAfter: string | null;
}

async function told(answer: Response): Promise<Told> {
  const { status, headers } = answer;
  return {
    status,
    text: await answer.text(),
    etag: headers.get("etag"),
    location: headers.get("location"),
    type: headers.get("content-type"),
    isReplayed: headers.get("idempotent-replayed") === "true",
    retryAfter: headers.get("retry-after"),
  };
}

async function opened(overrides = {}): Promise<{ harness: HttpHarness; owner: Headers }> {
  const harness = await HttpHarness.start({ ...NO_RATE, ...overrides });
  await harness.provision();
  for (let id = 1; id <= 3; id++) harness.letters.push(deadLetter(id));
  return { harness, owner: await harness.login("owner") };
}

function post(harness: HttpHarness, path: string, json: unknown, headers: Headers, key?: string) {
  const sent = key === undefined ? headers : { ...headers, "idempotency-key": key };
  return harness.send("POST", path, { json, headers: sent }).then(told);
}

function codeOf({ text }: Told): string {
  return JSON.parse(text).type.replace("urn:roost:problem:", "");
}

Deno.test("each POST of a caller is done once for one key, and answers the same again", async () => {
  const { harness, owner } = await opened();
  await using _ = harness;
  // Bodies that are streamed are not compared.
  const routes = harness.app.routes.filter(({ method, policy, bodyBytesMax }) =>
    method === "post" && policy.type === "caller" && bodyBytesMax !== undefined
  );
  assert.ok(routes.length >= 8);
  for (const route of routes) {
    const { path, json } = requestOf(route, THERE);
    const first = await post(harness, path, json, owner, route.name);
    assert.ok(!first.isReplayed, route.name);
    const effects = [harness.killed.length, harness.letters.length, await countsOf(harness)];
    const again = await post(harness, path, json, owner, route.name);
    assert.deepEqual(again, { ...first, isReplayed: true }, route.name);
    const after = [harness.killed.length, harness.letters.length, await countsOf(harness)];
    assert.deepEqual(after, effects, `${route.name} does nothing twice`);
    const reused = await post(harness, path, { ...json as object, x: 1 }, owner, route.name);
    assert.deepEqual([reused.status, codeOf(reused)], [422, "idempotency-key-reused"], route.name);
    const elsewhere = await post(harness, "/api/v1/products", { key: "p" }, owner, route.name);
    assert.equal(elsewhere.status, 422, route.name);
  }
  assert.equal(await harness.products.get("p"), undefined);
});

async function countsOf(harness: HttpHarness): Promise<(number | null)[]> {
  const { devices, products, keys, users, projects } = harness;
  const { finder } = harness.ports;
  const { version } = (await devices.get("pump", "p-1"))!;
  const inProject = [await keys.count("default"), await users.count("default")];
  return [version, await finder.count({}), await products.count({}), await projects.count({})]
    .concat(inProject);
}

Deno.test("a route says which field of its answer is shown once, and if a password is in its body", async () => {
  await using harness = await HttpHarness.start();
  const document = await (await harness.send("GET", "/openapi.json")).json();
  for (const route of harness.app.routes.filter((each) => each.isRepeatable)) {
    const { responses, parameters, requestBody } = document.paths[route.path].post;
    const shown = ["200", "201"].flatMap((status) => {
      const schema = responses[status]?.content?.["application/json"].schema;
      const name = schema?.$ref?.replace("#/components/schemas/", "");
      return Object.entries(allOf(document.components.schemas[name] ?? schema ?? {}, document));
    }).filter(([, field]) =>
      /shown this once/i.test((field as { description?: string }).description!)
    )
      .map(([name]) => name);
    assert.deepEqual(shown, route.secretField === undefined ? [] : [route.secretField], route.name);
    const { schema: asked = {} } = requestBody.content["application/json"] ?? {};
    const body = JSON.stringify(resolved(asked, document));
    assert.equal(route.hasPassword, body.includes('"password":'), route.name);
    const names = parameters.map((parameter: { name: string }) => parameter.name);
    assert.ok(names.includes("Idempotency-Key"), route.name);
  }
});

// deno-lint-ignore no-explicit-any -- a JSON document
function allOf(schema: any, document: any): Record<string, unknown> {
  const parts = (schema.allOf ?? []).map((part: { $ref?: string }) =>
    part.$ref ? document.components.schemas[part.$ref.replace("#/components/schemas/", "")] : part
  );
  return Object.assign(
    {},
    schema.properties,
    ...parts.map((part: object) => allOf(part, document)),
  );
}

/** A schema with all that it refers to in place. */
// deno-lint-ignore no-explicit-any -- a JSON document
function resolved(schema: any, document: any): unknown {
  return JSON.parse(JSON.stringify(schema), (_key, value) => {
    const name = value?.$ref?.replace("#/components/schemas/", "");
    return name === undefined ? value : resolved(document.components.schemas[name], document);
  });
}

Deno.test("what is kept of a request with a password does not help to guess it", async () => {
  const { harness, owner } = await opened();
  await using _ = harness;
  const json = { name: "ann", role: "viewer", password: "a long password" };
  const users = "/api/v1/users";
  const first = await post(harness, users, json, owner, "k");
  assert.equal(first.status, 201);
  assert.deepEqual(await post(harness, users, json, owner, "k"), { ...first, isReplayed: true });
  const elsewhere = await post(harness, users, json, await harness.login("owner"), "k");
  assert.equal(elsewhere.status, 422, "its hash is made with the session's own token");
  const { print } = harness.answerOptions.store.reader.prepareOne("select print from answers")()!;
  const guess = createHash("sha256").update(JSON.stringify(["POST", users, ""]))
    .update("null").update(JSON.stringify(json)).digest();
  assert.notDeepEqual(new Uint8Array(print as Uint8Array), new Uint8Array(guess));
});

Deno.test("a secret is shown again to the credential it was for, and is nowhere stored", async () => {
  const { harness, owner } = await opened();
  await using _ = harness;
  const program = await harness.key("devices:write");
  const json = { product: "pump", device: "p-2" };
  const first = await post(harness, DEVICES, json, program, "k");
  const { secret } = JSON.parse(first.text);
  assert.equal(typeof secret, "string");
  assert.equal((await post(harness, DEVICES, json, program, "k")).text, first.text);

  const newKey = { name: "k", scopes: ["devices:read"] };
  const shown = await post(harness, "/api/v1/keys", newKey, owner, "k");
  assert.equal((await post(harness, "/api/v1/keys", newKey, owner, "k")).text, shown.text);
  const elsewhere = await harness.login("owner");
  const again = await post(harness, "/api/v1/keys", newKey, elsewhere, "k");
  assert.equal(again.status, 201);
  assert.deepEqual(JSON.parse(again.text), { ...JSON.parse(shown.text), key: null });

  const files = [...Deno.readDirSync(harness.directory)].filter(({ isFile }) => isFile)
    .map(({ name }) => name);
  assert.ok(files.includes("registry.db"));
  for (const name of files) {
    const bytes = new TextDecoder("latin1").decode(
      Deno.readFileSync(`${harness.directory}/${name}`),
    );
    assert.ok(!bytes.includes(secret), name);
    assert.ok(!bytes.includes(JSON.parse(shown.text).key), name);
  }
});

Deno.test("callers do not meet in one key, and a restart changes nothing", async () => {
  const { harness } = await opened();
  await using _ = harness;
  const [one, other] = [await harness.key("devices:write"), await harness.key("devices:write")];
  const json = { product: "pump", device: "p-2" };
  const first = await post(harness, DEVICES, json, one, "k");
  assert.equal(first.status, 201);
  assert.equal((await post(harness, DEVICES, json, other, "k")).status, 409, "done, not replayed");
  assert.equal((await post(harness, DEVICES, json, one)).status, 409, "without a key: done again");
  using app = createHttpApp(harness.ports);
  const request = new Request(`http://localhost${DEVICES}`, {
    method: "POST",
    headers: { ...one, "idempotency-key": "k", "content-type": "application/json" },
    body: JSON.stringify(json),
  });
  assert.deepEqual(await told(await app.fetch(request, ORIGIN)), { ...first, isReplayed: true });
});

Deno.test("final refusals are kept; what could not be taken is not", async () => {
  const { harness, owner } = await opened();
  await using _ = harness;
  const json = { product: "lamp", device: "l-1" };
  const missing = await post(harness, DEVICES, json, owner, "a");
  assert.deepEqual([missing.status, missing.type], [404, "application/problem+json"]);
  await harness.products.create({ key: "lamp" });
  assert.deepEqual(await post(harness, DEVICES, json, owner, "a"), {
    ...missing,
    isReplayed: true,
  });
  assert.equal((await post(harness, DEVICES, json, owner, "b")).status, 201);
  const rotate = `${DEVICES}/lamp/l-1/credentials/rotate`;
  const stale = { ...owner, "if-match": '"x"' };
  assert.equal((await post(harness, rotate, {}, stale, "c")).status, 412);
  assert.equal((await post(harness, rotate, {}, owner, "c")).status, 422, "another If-Match");
  const letters = "/api/v1/cluster/dead-letters";
  assert.equal((await post(harness, `${letters}/replay`, { ids: ["9"] }, owner, "e")).status, 200);
  const other = await post(harness, `${letters}/discard`, { ids: ["9"] }, owner, "e");
  assert.equal(other.status, 422, "another path with the same body");
  for (
    const bad of [{ ...json, name: "\n" }, { ...json, nmae: "x" }, { ...json, secret: "short" }]
  ) {
    assert.equal((await post(harness, DEVICES, bad, owner, "d")).status, 400);
  }
  assert.equal((await post(harness, DEVICES, { ...json, device: "l-2" }, owner, "d")).status, 201);
});

Deno.test("a key is 1 to 128 printable ASCII characters", async () => {
  const { harness, owner } = await opened();
  await using _ = harness;
  for (const key of ["", "x".repeat(129), "ü", "a\tb", "\u007f"]) {
    const refused = await post(harness, "/api/v1/products", { key: "x" }, owner, key);
    assert.equal(refused.status, 400, JSON.stringify(key));
    assert.equal(JSON.parse(refused.text).errors[0].path, "header.Idempotency-Key");
  }
  assert.equal(await harness.products.get("x"), undefined);
  for (const [index, key] of ["x", "~".repeat(128), "a b", '"quoted"'].entries()) {
    const json = { key: `x-${index}` };
    assert.equal((await post(harness, "/api/v1/products", json, owner, key)).status, 201, key);
    assert.ok((await post(harness, "/api/v1/products", json, owner, key)).isReplayed, key);
  }
});

Deno.test("while the first request is under way, the second is told to come again", async () => {
  const { harness, owner } = await opened();
  await using _ = harness;
  const json = { path: "gateways/http" };
  let end!: (isKilled: boolean) => void;
  const killChild = (path: readonly string[]) => {
    harness.killed.push(path.join("/"));
    return new Promise<boolean>((resolve) => end = resolve);
  };
  using app = createHttpApp({ ...harness.ports, cluster: { ...harness.ports.cluster, killChild } });
  const kill = (key: string) =>
    Promise.resolve(app.fetch(
      new Request("http://localhost/api/v1/cluster/tree/kill", {
        method: "POST",
        headers: { ...owner, "idempotency-key": key, "content-type": "application/json" },
        body: JSON.stringify(json),
      }),
      ORIGIN,
    )).then(told);
  const first = kill("k");
  while (harness.killed.length === 0) await Promise.resolve();
  const second = await kill("k");
  assert.deepEqual([second.status, second.retryAfter], [409, "1"]);
  assert.equal(codeOf(second), "idempotency-in-progress");
  end(true);
  assert.equal((await first).status, 204);
  assert.deepEqual(await kill("k"), { ...await first, isReplayed: true });
  assert.equal(harness.killed.length, 1);
  const many = await Promise.all(
    Array.from(
      { length: 8 },
      () => post(harness, DEVICES, { product: "pump", device: "p-9" }, owner, "many"),
    ),
  );
  const statuses = many.map(({ status }) => status);
  assert.ok(statuses.includes(201) && statuses.every((one) => one === 201 || one === 409));
  assert.ok(many.every((one) => one.status === 201 || codeOf(one) === "idempotency-in-progress"));
});

Deno.test("what fails is not remembered, and what cannot be kept is not done", async () => {
  const { harness, owner } = await opened();
  await using _ = harness;
  let isDown = true;
  const down = () => Promise.reject(new UnavailableError("database", "Cannot use the database"));
  const { answers, cluster } = harness.ports;
  const app = (over: object) => createHttpApp({ ...harness.ports, ...over });
  const send = async (path: string, json: unknown, key: string, over: object) => {
    using own = app(over);
    const request = new Request(`http://localhost${path}`, {
      method: "POST",
      headers: { ...owner, "idempotency-key": key, "content-type": "application/json" },
      body: JSON.stringify(json),
    });
    return await told(await own.fetch(request, ORIGIN));
  };
  const keepNothing = {
    answers: {
      find: answers.find.bind(answers),
      fullForMs: answers.fullForMs.bind(answers),
      keep: down,
    },
  };
  for (
    const [path, json] of [
      [DEVICES, { product: "pump", device: "p-2" }],
      ["/api/v1/products", { key: "lamp" }],
      ["/api/v1/keys", { name: "k", scopes: ["devices:read"] }],
      ["/api/v1/users", { name: "ann", role: "viewer", password: "a long password" }],
      ["/api/v1/projects", { id: "plant", owner: { name: "bob", password: "a long password" } }],
      ["/api/v1/projects/default/owners", { name: "eve", password: "a long password" }],
      [`${DEVICES}/pump/p-1/credentials/rotate`, {}],
    ] as const
  ) {
    const before = await countsOf(harness);
    const refused = await send(path, json, path, keepNothing);
    assert.deepEqual([refused.status, refused.retryAfter], [503, "1"], path);
    assert.deepEqual(await countsOf(harness), before, `${path} did nothing`);
    assert.ok((await send(path, json, path, {})).status < 300, "and can be sent again");
  }
  const replay = "/api/v1/cluster/dead-letters/replay";
  const flaky = {
    cluster: {
      ...cluster,
      replayDeadLetters: (ids: readonly number[]) =>
        isDown ? down() : cluster.replayDeadLetters(ids),
    },
  };
  assert.equal((await send(replay, { ids: ["1"] }, "r", flaky)).status, 503);
  isDown = false;
  assert.equal((await send(replay, { ids: ["1"] }, "r", flaky)).text, '{"replayed":1}');
  // It is done, and nothing can undo it: it is answered, though it cannot be kept.
  assert.equal((await send(replay, { ids: ["2"] }, "s", keepNothing)).text, '{"replayed":1}');
  assert.ok(harness.logged.some((line) => line.includes("answer not kept")));
});

Deno.test("a call that was not answered in time is not made again", async () => {
  const harness = await HttpHarness.start(NO_RATE);
  await using _ = harness;
  await harness.provision({ properties: [], services: [{ identifier: "restart" }] });
  const owner = await harness.login("owner");
  const path = `${DEVICES}/pump/p-1/services/restart`;
  const call = (key: string) => post(harness, path, { timeoutMs: 1_000 }, owner, key);
  harness.ingress.isSilent = true;
  const first = await call("k");
  assert.deepEqual([first.status, codeOf(first)], [504, "outcome-unknown"]);
  harness.ingress.isSilent = false;
  assert.deepEqual(await call("k"), { ...first, isReplayed: true });
});

Deno.test("a project's keys are bounded: a new one is 429, known ones are answered", async () => {
  const { harness, owner } = await opened();
  await using _ = harness;
  const { clock } = harness;
  const answers = new KeptAnswers({
    ...harness.answerOptions,
    bounds: { entriesMax: 2, bytesMax: 1e9 },
  });
  using app = createHttpApp({ ...harness.ports, answers });
  const create = async (key: string | undefined, name: string) => {
    const headers = { ...owner, "content-type": "application/json" };
    const request = new Request("http://localhost/api/v1/products", {
      method: "POST",
      headers: key === undefined ? headers : { ...headers, "idempotency-key": key },
      body: JSON.stringify({ key: name }),
    });
    return await told(await app.fetch(request, ORIGIN));
  };
  assert.equal((await create("1", "a")).status, 201);
  await clock.advance(5_000);
  assert.equal((await create("2", "b")).status, 201);
  const full = await create("3", "c");
  assert.equal(full.status, 429);
  assert.equal(full.retryAfter, String((LIMITS.answersKeptMs - 5_000) / 1_000));
  assert.equal(await harness.products.get("c"), undefined);
  assert.ok((await create("1", "a")).isReplayed);
  assert.equal((await create(undefined, "c")).status, 201, "without a key it can be done");
});
