import assert from "node:assert/strict";
import { seededRandom } from "../../runtime/random.ts";
import { startRoost, type TestRoost } from "../support/roost.ts";
import { readSeed } from "../support/seed.ts";
import { letPass, waitFor } from "../support/wait.ts";

const SCOPES = ["products:write", "devices:read", "devices:write"];
const IN_FLIGHT = 8;
const FIRST_MS = 10_000;

interface Told {
  readonly status: number;
  readonly text: string;
  readonly etag: string | null;
  readonly location: string | null;
}

/** Undefined: the connection broke before the answer. */
async function create(roost: TestRoost, key: string, device: string): Promise<Told | undefined> {
  try {
    const answer = await fetch(`${roost.urls.http}/api/v1/devices`, {
      method: "POST",
      headers: {
        "Authorization": `Bearer ${key}`,
        "Content-Type": "application/json",
        "Idempotency-Key": `create ${device}`,
      },
      body: JSON.stringify({ product: "pump", device }),
    });
    return {
      status: answer.status,
      text: await answer.text(),
      etag: answer.headers.get("etag"),
      location: answer.headers.get("location"),
    };
  } catch {
    return undefined;
  }
}

Deno.test("after kill -9 each keyed request has its first answer, done before or not", async () => {
  const seed = readSeed();
  await using roost = await startRoost();
  const api = await roost.api();
  await api.createProduct({ key: "pump" });
  const key = await api.createKey("program", SCOPES);
  const first = new Map<string, Told | undefined>();
  let next = 0;
  let isKilled = false;
  const createSome = async () => {
    while (!isKilled) {
      const device = `d-${next++}`;
      first.set(device, await create(roost, key, device));
    }
  };
  const running = Promise.all(Array.from({ length: IN_FLIGHT }, createSome));
  await waitFor(() => first.size >= IN_FLIGHT, { what: "first answers", withinMs: FIRST_MS });
  await letPass(seededRandom(seed).fraction() * 100);
  isKilled = true;
  await roost.kill();
  await running;
  await roost.start();
  assert.ok([...first.values()].some((told) => told?.status === 201));
  for (const [device, told] of first) {
    const again = await create(roost, key, device);
    assert.equal(again?.status, 201, `seed ${seed}, ${device}: ${again?.text}`);
    assert.equal(typeof JSON.parse(again!.text).secret, "string", device);
    if (told !== undefined) assert.deepEqual(again, told, `seed ${seed}, ${device}`);
    const third = await create(roost, key, device);
    assert.deepEqual(third, again, `seed ${seed}, ${device}`);
  }
});
