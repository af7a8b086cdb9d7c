/** What the API promises of every route alike, held against the route table. */
import assert from "node:assert/strict";
import { deadLetter, HttpHarness } from "../../test/support/http_harness.ts";
import type { Route } from "./route.ts";

const NO_RATE = { rate: { perSecond: 1e9, burst: 1e9 } };

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly schema: { readonly enum?: readonly string[] };
}

interface Fixture {
  readonly harness: HttpHarness;
  readonly owner: Record<string, string>;
  /** By name of the route: its parameters in the document. */
  readonly parameters: ReadonlyMap<string, readonly Parameter[]>;
}

async function opened(): Promise<Fixture> {
  const harness = await HttpHarness.start(NO_RATE);
  await harness.provision();
  for (let id = 1; id <= 3; id++) harness.letters.push(deadLetter(id));
  for (const key of ["one", "two"]) await harness.products.create({ key });
  for (const device of ["a", "b"]) await harness.devices.create({ product: "pump", device });
  const owner = await harness.login("owner");
  for (let i = 0; i < 3; i++) await harness.key("devices:read");
  for (const name of ["A", "B", "C"]) await harness.groups.create("default", { name });
  for (const id of ["north", "south"]) await harness.projects.create({ id });
  for (const role of ["operator", "viewer"] as const) await harness.login(role);
  const document = await (await harness.send("GET", "/openapi.json")).json();
  const parameters = new Map(harness.app.routes.map((route) => {
    const operation = document.paths[route.path][route.method];
    return [route.name, (operation.parameters ?? []) as Parameter[]];
  }));
  return { harness, owner, parameters };
}

/** Routes that page by `limit` and `cursor` through `items`. */
function listsOf({ harness, parameters }: Fixture): Route[] {
  return harness.app.routes.filter(({ name }) => {
    const names = parameters.get(name)!.map((parameter) => parameter.name);
    return names.includes("cursor") && names.includes("sort");
  });
}

Deno.test("each list pages in each of its orders, and refuses cursors and fields of others", async () => {
  const fixture = await opened();
  const { harness, owner: headers, parameters } = fixture;
  await using _ = harness;
  const lists = listsOf(fixture);
  assert.deepEqual(lists.map(({ path }) => path).sort(), [
    "/api/v1/cluster/dead-letters",
    "/api/v1/devices",
    "/api/v1/groups",
    "/api/v1/keys",
    "/api/v1/products",
    "/api/v1/projects",
    "/api/v1/users",
  ]);
  for (const { name, path } of lists) {
    const get = async (query: string) => {
      const answer = await harness.send("GET", `${path}?${query}`, { headers });
      return { status: answer.status, body: await answer.json() };
    };
    const sorts = parameters.get(name)!.find((parameter) => parameter.name === "sort")!.schema
      .enum!;
    assert.ok(sorts.length >= 2, name);
    const all = (await get("limit=500")).body.items;
    assert.ok(all.length >= 3, name);
    for (const sort of ["", ...sorts.map((sort) => `&sort=${sort}`)]) {
      const items: unknown[] = [];
      const cursors: string[] = [];
      for (let cursor = "";;) {
        const { status, body } = await get(`limit=1${sort}${cursor}`);
        assert.equal(status, 200, `${name} ${sort} ${JSON.stringify(body)}`);
        assert.ok(body.items.length <= 1);
        items.push(...body.items);
        if (body.nextCursor === null) break;
        cursors.push(body.nextCursor);
        cursor = `&cursor=${encodeURIComponent(body.nextCursor)}`;
      }
      assert.equal(items.length, all.length, `${name} ${sort}`);
      const text = (list: unknown[]) => list.map((item) => JSON.stringify(item)).sort();
      assert.deepEqual(text(items), text(all), `${name} ${sort}`);
      const other = sorts.find((one) => `&sort=${one}` !== sort);
      const foreign = await get(`sort=${other}&cursor=${encodeURIComponent(cursors[0]!)}`);
      assert.equal(foreign.status, 400, `${name} ${sort} as ${other}`);
      assert.equal(foreign.body.errors[0].path, "query.cursor", name);
    }
    for (
      const sort of ["", "surprise", "-", "createdat", `${sorts[0]},${sorts[1]}`, "constructor"]
    ) {
      const { status, body } = await get(`sort=${sort}`);
      assert.equal(status, 400, `${name} ${sort}`);
      assert.equal(body.errors[0].path, "query.sort");
      for (const field of sorts.filter((one) => !one.startsWith("-"))) {
        assert.ok(body.errors[0].message.includes(field), `${name} names ${field}`);
      }
    }
    assert.equal((await get("count=true&limit=1")).body.count, all.length, name);
    assert.equal((await get("limit=1")).body.count, undefined, name);
    for (const count of ["", "1", "yes"]) assert.equal((await get(`count=${count}`)).status, 400);
  }
});
