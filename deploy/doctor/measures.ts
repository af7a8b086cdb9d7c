/** What this host can do, measured on its own disk through the product's own stores. */
import { join } from "node:path";
import { partitionOfActor } from "../../actors/behaviours.ts";
import { SqliteTelemetryStore } from "../../actors/telemetry/sqlite_store.ts";
import type { StoredSample } from "../../actors/telemetry/store.ts";
import type { Clock } from "../../runtime/clock.ts";
import { UnavailableError } from "../../runtime/errors.ts";
import { createStderrLogger } from "../../runtime/logger.ts";
import { openDurableLog } from "../../runtime/log/open_log.ts";
import { packRecord } from "../../runtime/log/record.ts";
import { DOCTOR_PREFIX, openWorkFolder } from "../../runtime/store/work_folder.ts";
import { undoneAtInterrupt } from "../interrupt.ts";
import { DOCTOR_LIMITS } from "./doctor_limits.ts";
import { connectionsOf, descriptorLimits } from "./host_checks.ts";
import type { RunningHolder } from "./holder.ts";

/** Messages of one append: what gathers while the append before it becomes durable. */
const MESSAGES_PER_APPEND = 256;
const SAMPLES_PER_WRITE = 1_000;
const VALUES = { temperature: 21.537, pressure: 1.013, humidity: 55.25 };
const POINTS_PER_SAMPLE = Object.keys(VALUES).length;
const BODY = new TextEncoder().encode(JSON.stringify(VALUES));

/** @param folder On the disk of the data; everything is made in a folder of its own and removed. */
export async function measureHost(
  folder: string,
  holder: RunningHolder | undefined,
  clock: Clock,
): Promise<Record<string, number>> {
  // A name of its own: where the folder is everybody's, a known one could be a link elsewhere.
  const own = Deno.makeTempDirSync({ dir: folder, prefix: DOCTOR_PREFIX });
  using work = openWorkFolder(own);
  if (work === undefined) throw new UnavailableError("measures", `${own} is in use`);
  using _ = undoneAtInterrupt(() => work[Symbol.dispose]());
  return await measuresIn(own, holder, clock);
}

async function measuresIn(
  own: string,
  holder: RunningHolder | undefined,
  clock: Clock,
): Promise<Record<string, number>> {
  const messages = await measureLog(own, clock);
  const points = await measurePoints(own, clock);
  const { soft, hard } = descriptorLimits(holder?.pid) ?? { soft: Infinity, hard: Infinity };
  const { available } = Deno.systemMemoryInfo();
  return {
    "messages made durable, per second": messages,
    "points stored, per second": points,
    "connections, by descriptors and memory": Math.floor(Math.min(
      connectionsOf(Math.max(soft, hard)),
      available / 2 / DOCTOR_LIMITS.bytesPerConnection,
    )),
  };
}

/** Appends of the ingress, without sockets and actors: what the disk and the log's thread allow. */
async function measureLog(dataDir: string, clock: Clock): Promise<number> {
  await using log = openDurableLog({
    dataDir,
    readers: [],
    partitionOf: partitionOfActor,
    clock,
    logger: createStderrLogger(clock, "error"),
    hooks: {},
    onUnusable: () => {},
  });
  const address = "device/doctor/d-1";
  const record = packRecord({ to: address, budget: 1 }, BODY);
  const bytes = new Uint8Array(record.length * MESSAGES_PER_APPEND);
  for (let at = 0; at < bytes.length; at += record.length) bytes.set(record, at);
  const segment = { partition: partitionOfActor(address), count: MESSAGES_PER_APPEND, bytes };
  let sequence = 0;
  return await ratePerSecond(clock, async () => {
    const append = { incarnation: "doctor", sequence: ++sequence, segments: [segment], rows: [] };
    await log.append(append);
    return MESSAGES_PER_APPEND;
  });
}

async function measurePoints(folder: string, clock: Clock): Promise<number> {
  await using store = new SqliteTelemetryStore({ path: join(folder, "telemetry.db"), clock });
  const startMs = clock.nowMs() - 3_600_000;
  let offset = 0;
  return await ratePerSecond(clock, async () => {
    const samples = Array.from({ length: SAMPLES_PER_WRITE }, (_, at): StoredSample => ({
      device: `doctor/d-${at % 100}`,
      atMs: startMs + offset,
      partition: 0,
      offset: offset++,
      position: 0,
      values: BODY,
    }));
    await store.write({ samples, cursor: offset });
    await store.compact();
    return SAMPLES_PER_WRITE * POINTS_PER_SAMPLE;
  });
}

/** @param work Returns how many it did. */
async function ratePerSecond(clock: Clock, work: () => Promise<number>): Promise<number> {
  const startedMs = clock.monotonicMs();
  let done = 0;
  let tookMs = 0;
  while (tookMs < DOCTOR_LIMITS.measureMs) {
    done += await work();
    tookMs = clock.monotonicMs() - startedMs;
  }
  return done / tookMs * 1_000;
}
