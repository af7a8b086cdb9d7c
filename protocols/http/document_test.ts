import assert from "node:assert/strict";
import { HttpHarness } from "../../test/support/http_harness.ts";
import { POLICIES } from "./policy.ts";

// deno-lint-ignore no-explicit-any -- a JSON document
type Json = any;

async function documentOf(harness: HttpHarness): Promise<Json> {
  const answer = await harness.send("GET", "/openapi.json");
  assert.equal(answer.status, 200);
  return await answer.json();
}

function operationsOf(document: Json): [string, Json][] {
  return Object.entries<Json>(document.paths).flatMap(([path, methods]) =>
    Object.entries<Json>(methods).map(([method, operation]): [string, Json] => [
      `${method.toUpperCase()} ${path}`,
      operation,
    ])
  );
}

Deno.test("the document has every route of the policy table, and no other", async () => {
  await using harness = await HttpHarness.start();
  const document = await documentOf(harness);
  assert.match(document.openapi, /^3\.1\./);
  const names = operationsOf(document).map(([name]) => name);
  assert.deepEqual(names.sort(), Object.keys(POLICIES).sort());
});

Deno.test("each operation says who may call it, what it answers and how it refuses", async () => {
  await using harness = await HttpHarness.start();
  const document = await documentOf(harness);
  const ids = new Set<string>();
  for (const [name, operation] of operationsOf(document)) {
    assert.ok(operation.summary, name);
    assert.match(operation.description, /Access: /, name);
    assert.ok(!ids.has(operation.operationId), `${name}: ${operation.operationId} is taken`);
    ids.add(operation.operationId);
    const policy = POLICIES[name]!;
    if (policy.type === "caller") {
      assert.deepEqual(operation.security[0], { session: [] }, name);
      const scope = operation.security[1]?.key?.[0];
      assert.equal(scope, policy.scope === "any" ? undefined : policy.scope, name);
      assert.equal(operation.security[1] === undefined, policy.scope === undefined, name);
      assert.ok(operation.responses[401] && operation.responses[403], name);
    }
    for (const [status, response] of Object.entries<Json>(operation.responses)) {
      assert.ok(response.description, `${name} ${status}`);
      for (const [type, content] of Object.entries<Json>(response.content ?? {})) {
        assert.ok(content.schema && content.example !== undefined, `${name} ${status} ${type}`);
        if (Number(status) >= 400) assert.equal(type, "application/problem+json");
      }
      if (status === "429" || status === "503") assert.ok(response.headers["Retry-After"], name);
    }
    const body = operation.requestBody?.content["application/json"];
    if (body !== undefined) assert.ok(body.schema && body.example !== undefined, name);
    for (const parameter of operation.parameters ?? []) {
      assert.ok(parameter.schema.description, `${name} ${parameter.name}`);
      assert.ok(parameter.schema.example !== undefined, `${name} ${parameter.name}`);
    }
  }
});

Deno.test("each field of each schema has a description, and each reference leads somewhere", async () => {
  await using harness = await HttpHarness.start();
  const document = await documentOf(harness);
  const walk = (schema: Json, path: string, visit: (schema: Json, path: string) => void): void => {
    if (typeof schema !== "object" || schema === null) return;
    visit(schema, path);
    for (const [key, value] of Object.entries<Json>(schema)) {
      if (key !== "example") walk(value, `${path}/${key}`, visit);
    }
  };
  const missing: string[] = [];
  walk(document, "#", (schema, path) => {
    if (typeof schema.$ref === "string") {
      const name = schema.$ref.replace("#/components/schemas/", "");
      assert.ok(document.components.schemas[name], `${path}: ${schema.$ref}`);
    }
    if (schema.type !== "object" || typeof schema.properties !== "object") return;
    for (const [field, property] of Object.entries<Json>(schema.properties)) {
      const isSaid = property.description || property.$ref || field === "items" ||
        (property.allOf ?? property.anyOf)?.some((each: Json) => each.$ref || each.description);
      if (!isSaid) missing.push(`${path}/${field}`);
    }
  });
  assert.deepEqual(missing, []);
});

Deno.test("examples of answers are what the routes answer", async () => {
  await using harness = await HttpHarness.start();
  await harness.provision();
  const document = await documentOf(harness);
  const headers = await harness.login("owner");
  const paths = ["/api/v1/devices/{product}/{device}", "/api/v1/products/{product}"]
    .concat(["/api/v1/session", "/api/v1/cluster/ledger", "/api/v1/cluster/tree", "/readyz"]);
  for (const path of paths) {
    const url = path.replace("{product}", "pump").replace("{device}", "p-1");
    const body = await (await harness.send("GET", url, { headers })).json();
    const { example } = document.paths[path].get.responses[200].content["application/json"];
    assert.deepEqual(Object.keys(body).sort(), Object.keys(example).sort(), path);
  }
});

Deno.test("the page of the document shows every route, with nothing fetched or run", async () => {
  await using harness = await HttpHarness.start();
  const page = await (await harness.send("GET", "/docs")).text();
  for (const name of Object.keys(POLICIES)) assert.ok(page.includes(`<code>${name}</code>`), name);
  assert.doesNotMatch(page, /<script|<link|src=|https?:\/\//);
  const front = await harness.send("GET", "/");
  assert.equal(front.headers.get("content-type"), "text/html; charset=utf-8");
  assert.match(await front.text(), /href="\/docs"/);
});
