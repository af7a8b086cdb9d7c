import assert from "node:assert/strict";
import { seededRandom } from "../../runtime/random.ts";
import { JOB_LIMITS } from "../../runtime/job_limits.ts";
import { openTestRegistry } from "../../test/support/test_registry.ts";
import { hashSecret, isSameHash } from "../device/secret.ts";
import { deviceImport } from "./device_import.ts";
import { JobFiles } from "./job_files.ts";
import { Jobs } from "./jobs.ts";

const SLICES = 4;
const DEVICES = SLICES * JOB_LIMITS.jobSliceDevices;

async function openScene() {
  const registry = await openTestRegistry();
  const { store, clock, folder, devices, products } = registry;
  await products.create({ key: "pump" });
  const random = seededRandom(5);
  const jobs = new Jobs({ store, clock, random });
  const path = `${folder}/jobs`;
  const id = jobs.createId();
  const text = Array.from({ length: DEVICES }, (_, n) => `{"product":"pump","device":"d-${n}"}\n`);
  {
    await using upload = await new JobFiles({ path }).write(id, "in");
    await upload.write(new TextEncoder().encode(text.join("")));
  }
  const input = { format: "ndjson" };
  const kind = "deviceImport";
  assert.ok((await jobs.create({ project: "default", kind, input, createdBy: "u", id })).ok);
  return {
    ...registry,
    /** The job as a start finds it. */
    open: async (advanceIn: Jobs["advanceIn"] = (...place) => jobs.advanceIn(...place)) => {
      const files = new JobFiles({ path });
      const job = (await jobs.start(id))!;
      return await deviceImport({ jobs: { advanceIn }, files, devices, random }).open(job);
    },
    jobs,
    secrets: () =>
      Deno.readTextFileSync(`${path}/${id}.out`).trimEnd().split("\n")
        .map((line) => JSON.parse(line) as { device: string; secret: string }),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
}

Deno.test("after a crash behind any slice no device is made twice, and no secret is lost", async () => {
  for (let crashAfter = 1; crashAfter <= SLICES; crashAfter++) {
    await using scene = await openScene();
    {
      await using work = await scene.open();
      for (let i = 0; i < crashAfter; i++) await work.step();
    } // Nothing but the slices themselves said how far it was.
    await using work = await scene.open();
    let result;
    while (result === undefined) ({ result } = await work.step());
    const { created, existing } = result as { created: number; existing: number };
    assert.deepEqual([created, existing], [DEVICES, 0], `after ${crashAfter} slices`);
    const secrets = scene.secrets();
    assert.equal(secrets.length, DEVICES);
    const rows = await scene.store.db.selectFrom("devices").select(["device", "secret_hash"])
      .execute();
    const hashes = new Map(rows.map((row) => [row.device, row.secret_hash]));
    for (const { device, secret } of secrets) {
      assert.ok(isSameHash(hashes.get(device)!, hashSecret(secret)), device);
    }
  }
});

Deno.test("what a slice wrote that was not committed is cut off", async () => {
  await using scene = await openScene();
  let isBroken = false;
  await using work = await scene.open((...place) => {
    if (isBroken) return Promise.reject(new Error("the disk is gone"));
    return scene.jobs.advanceIn(...place);
  });
  await work.step();
  const before = scene.secrets().length;
  isBroken = true;
  await assert.rejects(work.step(), /the disk is gone/);
  assert.equal(scene.secrets().length, before);
  isBroken = false;
  let result;
  while (result === undefined) ({ result } = await work.step());
  assert.equal((result as { created: number }).created, DEVICES);
  assert.equal(scene.secrets().length, DEVICES);
});
