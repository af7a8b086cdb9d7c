import assert from "node:assert/strict";
import type { Json } from "../../runtime/actor/behaviour.ts";
import { UnavailableError } from "../../runtime/errors.ts";
import { JOB_LIMITS } from "../../runtime/job_limits.ts";
import { LIMITS } from "../../runtime/limits.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { seededRandom } from "../../runtime/random.ts";
import { createManualClock } from "../../test/support/manual_clock.ts";
import { waitFor } from "../../test/support/wait.ts";
import type { Outcome } from "../registry/outcome.ts";
import { openRegistryStore } from "../registry/registry_store.ts";
import { JobError, type JobKind, type JobStep, type StoredJob } from "./job.ts";
import { JobFiles } from "./job_files.ts";
import { startJobRunner } from "./job_runner.ts";
import { Jobs } from "./jobs.ts";

const START_MS = 1_700_000_000_000;

async function openScene() {
  const directory = Deno.makeTempDirSync({ prefix: "roost-jobs-" });
  const clock = createManualClock(START_MS);
  const path = `${directory}/registry.db`;
  const store = await openRegistryStore({ path, clock, logger: silentLogger });
  const jobs = new Jobs({ store, clock, random: seededRandom(3) });
  const files = () => new JobFiles({ path: `${directory}/jobs` });
  return {
    clock,
    jobs,
    directory,
    files,
    run: (kind: JobKind, own = files()) =>
      startJobRunner({ jobs, files: own, kinds: [kind], clock, logger: silentLogger }),
    start: async (input: Json = {}) => {
      const made = await jobs.create({
        project: "default",
        kind: "telemetryExport",
        input,
        createdBy: "u1",
      });
      assert.ok(made.ok);
      return made.value.id;
    },
    until: (what: string, isTrue: () => Promise<boolean> | boolean) =>
      waitFor(async () => {
        await clock.advance(250);
        return await isTrue();
      }, { what, withinMs: 20_000 }),
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      Deno.removeSync(directory, { recursive: true });
    },
  };
}

/** Counts from its checkpoint to `to`. */
function counting(to: number, onStep: (n: number, job: StoredJob) => void = () => {}): JobKind {
  return {
    kind: "telemetryExport",
    open: (job) => {
      let n = (job.checkpoint as { n: number } | null)?.n ?? 0;
      return Promise.resolve({
        step: async (): Promise<JobStep> => {
          await Promise.resolve();
          onStep(n, job);
          n++;
          const at = { progress: n / to, checkpoint: { n } };
          return n < to ? at : { ...at, result: { counted: n } };
        },
        [Symbol.asyncDispose]: () => Promise.resolve(),
      });
    },
  };
}

Deno.test("what was under way when the runner stopped goes on behind its last progress", async () => {
  await using scene = await openScene();
  const id = await scene.start();
  const seen: number[] = [];
  const note = (n: number) => void seen.push(n);
  {
    await using _runner = scene.run(counting(1_000, note));
    await scene.until("some progress", async () => {
      return ((await scene.jobs.get("default", id))?.progress ?? 0) > 0.01;
    });
  }
  const before = seen.length;
  assert.ok(before < 1_000);
  assert.equal((await scene.jobs.get("default", id))!.status, "running");
  await using _runner = scene.run(counting(1_000, note));
  await scene.until("the end", async () => {
    return (await scene.jobs.get("default", id))?.status === "done";
  });
  const job = (await scene.jobs.get("default", id))!;
  assert.deepEqual(job.result, { counted: 1_000 });
  assert.equal(job.progress, 1);
  assert.equal(seen[before], before, "stopping stores how far it is");
});

Deno.test("a job that ends the process at each start fails, and says so", async () => {
  await using scene = await openScene();
  const id = await scene.start();
  for (let start = 1; start <= JOB_LIMITS.jobStartsMax; start++) {
    assert.equal((await scene.jobs.start(id))!.starts, start); // Then the process was killed.
  }
  await using _runner = scene.run(counting(3));
  await scene.until("the end", async () => {
    return (await scene.jobs.get("default", id))?.status === "failed";
  });
  const { problem } = (await scene.jobs.get("default", id))!;
  assert.equal(problem!.type, "urn:roost:problem:interrupted");
  assert.match(problem!.detail, /3 times without progress/);
});

Deno.test("progress forgives the starts before", async () => {
  await using scene = await openScene();
  const id = await scene.start();
  for (let i = 0; i < 10; i++) {
    await scene.jobs.start(id);
    assert.equal(await scene.jobs.advance(id, { progress: i / 10, checkpoint: { n: i } }), true);
  }
  await using _runner = scene.run(counting(20));
  await scene.until("the end", async () => {
    return (await scene.jobs.get("default", id))?.status === "done";
  });
});

Deno.test("a part that is down is waited for, for a while; a fault is told once, without its words", async () => {
  await using scene = await openScene();
  let isDown = true;
  const down = (n: number, { input }: StoredJob) => {
    if (input === "waits" && isDown && n === 5) throw new UnavailableError("telemetry", "away");
    if (input === "breaks") throw new TypeError("secret words");
    if (input === "cannot") throw new JobError("too-large", "Cannot write 2 B: the bound is 1");
  };
  const waits = await scene.start("waits");
  const breaks = await scene.start("breaks");
  const cannot = await scene.start("cannot");
  await using _runner = scene.run(counting(10, down));
  const statusOf = async (id: string) => (await scene.jobs.get("default", id))!.status;
  const failed = async () =>
    await statusOf(cannot) === "failed" && await statusOf(breaks) === "failed";
  await scene.until("the others", failed);
  assert.deepEqual((await scene.jobs.get("default", breaks))!.problem, {
    type: "urn:roost:problem:internal",
    detail: "The job failed; the log says why",
  });
  assert.deepEqual((await scene.jobs.get("default", cannot))!.problem, {
    type: "urn:roost:problem:too-large",
    detail: "Cannot write 2 B: the bound is 1",
  });
  await scene.until("its turn", async () => await statusOf(waits) === "running");
  isDown = false;
  await scene.until("the part to be back", async () => await statusOf(waits) === "done");
  isDown = true;
  const never = await scene.start("waits");
  await scene.until("the patience to end", async () => {
    await scene.clock.advance(30_000);
    return await statusOf(never) === "failed";
  });
  assert.equal(
    (await scene.jobs.get("default", never))!.problem!.type,
    "urn:roost:problem:unavailable",
  );
});

Deno.test("projects take turns, however many jobs one has", async () => {
  await using scene = await openScene();
  const { jobs } = scene;
  await scene.start();
  const open = async (project: string, count: number) => {
    await scene.clock.advance(1);
    for (let i = 0; i < count; i++) {
      const kind = "telemetryExport";
      assert.ok((await jobs.create({ project, kind, input: {}, createdBy: "u1" })).ok);
    }
  };
  await open("a", 6);
  await open("b", 6);
  await open("c", 1);
  const running: StoredJob[] = [];
  const take = async () => {
    const job = await jobs.next(running);
    if (job !== undefined) running.push(job);
    return job?.project;
  };
  const taken = [await take(), await take(), await take()];
  assert.deepEqual(taken, ["default", "a", "b"]);
  // The places of those that end go round: nobody waits behind all jobs of another one.
  for (const wanted of ["c", "a", "b", "a", "b", "a", "b"]) {
    const { id } = running.shift()!;
    await jobs.start(id);
    await jobs.finish(id, { result: {}, detail: undefined });
    assert.equal(await take(), wanted);
  }
});

Deno.test("a project has its share of the jobs that run, also when nobody else has any", async () => {
  await using scene = await openScene();
  const own = [await scene.start(), await scene.start(), await scene.start()];
  const project = "other";
  const made = async () => {
    const kind = "telemetryExport";
    const job = await scene.jobs.create({ project, kind, input: {}, createdBy: "u1" });
    assert.ok(job.ok);
    return job.value.id;
  };
  let isHeld = true;
  const held: JobKind = {
    kind: "telemetryExport",
    open: () =>
      Promise.resolve({
        step: () =>
          Promise.resolve({ progress: 0.5, checkpoint: 1, ...(!isHeld && { result: 1 }) }),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      }),
  };
  await using _runner = scene.run(held);
  const running = async () => {
    const { items } = valueOf(await scene.jobs.list("default", { status: "running", limit: 10 }));
    return items.map(({ id }) => id).sort();
  };
  await scene.until("two to run", async () => (await running()).length === 2);
  const other = await made();
  await scene.until("the other's to run", async () => {
    return (await scene.jobs.get(project, other))!.status === "running";
  });
  assert.deepEqual(await running(), own.slice(0, JOB_LIMITS.jobsRunningOfProjectMax).sort());
  isHeld = false;
  await scene.until("the end of all", async () => {
    const { items } = valueOf(await scene.jobs.list("default", { status: "done", limit: 10 }));
    return items.length === 3;
  });
});

Deno.test("a job that cannot even be ended is taken up again after a pause", async () => {
  await using scene = await openScene();
  const id = await scene.start();
  const { jobs } = scene;
  const fail = jobs.fail.bind(jobs);
  jobs.fail = () => Promise.reject(new Error("the disk is full"));
  let opened = 0;
  const open = () => {
    opened++;
    return Promise.reject(new TypeError("broken"));
  };
  await using _runner = scene.run({ kind: "telemetryExport", open });
  await scene.until("its first start", () => opened === 1);
  for (let i = 0; i < 20; i++) {
    await scene.clock.advance(250);
    assert.equal((await jobs.get("default", id))!.status, "running");
  }
  assert.equal(opened, 1);
  jobs.fail = fail;
  await scene.until("the end", async () => (await jobs.get("default", id))?.status === "failed");
});

Deno.test("a kind that this version does not have fails its job", async () => {
  await using scene = await openScene();
  const id = await scene.start();
  await using _runner = scene.run({ ...counting(3), kind: "rebuildViews" });
  await scene.until("the end", async () => {
    return (await scene.jobs.get("default", id))?.status === "failed";
  });
});

Deno.test("jobs that ended long ago, or are too many, are forgotten", async () => {
  await using scene = await openScene();
  const old = await scene.start();
  await scene.jobs.start(old);
  await scene.jobs.fail(old, { type: "urn:roost:problem:internal", detail: "x" });
  const open = await scene.start();
  await scene.clock.advance(JOB_LIMITS.jobEndedMs + 1);
  while (await scene.jobs.sweep());
  assert.equal(await scene.jobs.get("default", old), undefined);
  assert.ok(await scene.jobs.get("default", open), "an open one is not old");
});

Deno.test("files are bounded each, together, and by the disk; a crash's rest is removed", async () => {
  await using scene = await openScene();
  const path = `${scene.directory}/bounded`;
  let free = 1e12;
  const files = new JobFiles({
    path,
    fileBytesMax: 100,
    filesBytesMax: 150,
    freeBytes: () => free,
  });
  await using one = await files.write("a-1", "out");
  await one.write(new Uint8Array(90));
  await assert.rejects(one.write(new Uint8Array(11)), { code: "too-large" });
  await using two = await files.write("b-1", "in");
  await assert.rejects(two.write(new Uint8Array(61)), { code: "overloaded" });
  free = 2 * LIMITS.diskReserveBytes;
  await assert.rejects(two.write(new Uint8Array(1)), { code: "overloaded" });
  assert.equal(files.bytes, 90);
  await using again = await files.write("a-1", "out", 40);
  assert.equal(again.offset, 40);
  assert.equal(files.bytes, 40);
  const reopened = new JobFiles({ path });
  assert.equal(reopened.bytes, 40);
  assert.deepEqual(reopened.ids().sort(), ["a-1", "b-1"]);
  assert.equal(Deno.statSync(`${path}/a-1.out`).mode! & 0o777, 0o600);
  await reopened.remove("a-1", "out");
  await reopened.remove("a-1", "out");
  assert.equal(reopened.bytes, 0);

  const shared = new JobFiles({ path: `${scene.directory}/shared`, filesBytesOfProjectMax: 100 });
  shared.own("a-1", "one");
  shared.own("b-1", "one");
  shared.own("c-1", "two");
  await using mine = await shared.write("a-1", "in");
  await mine.write(new Uint8Array(60));
  await using more = await shared.write("b-1", "out");
  await assert.rejects(more.write(new Uint8Array(41)), /project's jobs have 60 B, .* is 100/);
  await using others = await shared.write("c-1", "out");
  await others.write(new Uint8Array(100));
  assert.deepEqual([shared.bytesOf("one"), shared.bytesOf("two")], [60, 100]);
  await shared.remove("a-1", "in");
  await more.write(new Uint8Array(100));
  assert.deepEqual([shared.bytesOf("one"), shared.bytes], [100, 200]);
  const later = new JobFiles({ path: `${scene.directory}/shared` });
  later.own("b-1", "one");
  later.own("b-1", "one");
  assert.deepEqual([later.bytesOf("one"), later.bytesOf("two")], [100, 0]);

  const kept = scene.files();
  await using stray = await kept.write("0-stray", "in");
  await stray.write(new Uint8Array(5));
  await using arriving = await kept.write(scene.jobs.createId(), "in");
  await arriving.write(new Uint8Array(7));
  await using _runner = scene.run(counting(1), kept);
  await scene.until("what is nobody's to be removed", () => kept.bytes === 7);
});

function valueOf<Value>(outcome: Outcome<Value>): Value {
  assert.ok(outcome.ok);
  return outcome.value;
}
