import assert from "node:assert/strict";
import { FakeLog } from "../../test/support/fake_log.ts";
import { waitFor } from "../../test/support/wait.ts";
import { UnavailableError } from "../errors.ts";
import type { SegmentClass } from "./partition_log.ts";
import { LogTail, type Tail, type TailRead } from "./log_tail.ts";
import { connectTailPort, serveTailPort } from "./tail_port.ts";

const DECODER = new TextDecoder();
const NOTHING = { added: [], removed: [], views: [] };
/** Device `a/b` is of partition 1, `a/c` of 2, and so on. */
const partitionOf = (address: string) => address.charCodeAt(address.length - 1) - 97;

class CountingLog extends FakeLog {
  reads = 0;
  listeners = 0;

  override readTicks(...request: Parameters<FakeLog["readTicks"]>) {
    this.reads++;
    return super.readTicks(...request);
  }

  override onAppended(listener: () => void): () => void {
    this.listeners++;
    const stop = super.onAppended(listener);
    return () => {
      this.listeners--;
      stop();
    };
  }
}

function put(log: FakeLog, address: string, body: string, of: SegmentClass = "ingress"): void {
  log.append(partitionOf(address), [{ to: address, body }], of);
}

function linesOf(read: TailRead): string[] {
  return read.records.map((one) => `${one.class} ${one.address} ${DECODER.decode(one.body)}`);
}

/** What comes until nothing more does: the marker is put last. */
async function takeUpTo(tail: Tail, marker: string): Promise<string[]> {
  const lines: string[] = [];
  while (!lines.some((line) => line.endsWith(marker))) lines.push(...linesOf(await tail.take()));
  return lines;
}

Deno.test("a tail gives what the watched actors get, record and project, from the head on", async () => {
  const log = new CountingLog();
  put(log, "device/a/b", "before");
  using tail = new LogTail(log, partitionOf);
  await tail.change({ added: ["device/a/b"], removed: [], views: [] });
  put(log, "device/a/c", "of another");
  put(log, "device/a/bb", "of another, in the same partition");
  put(log, "device/a/b", "1");
  put(log, "device/a/b", "2", "record");
  put(log, "device/a/b", "3", "view");
  put(log, "device/a/b", "again", "replay");
  put(log, "device/a/b", "sent", "sent");
  put(log, "device/a/b", "end");
  assert.deepEqual(await takeUpTo(tail, "end"), [
    "ingress device/a/b 1",
    "record device/a/b 2",
    "view device/a/b 3",
    "ingress device/a/b end",
  ]);
});

Deno.test("a tail gives all rows of a watched view, whoever projects them", async () => {
  const log = new CountingLog();
  using tail = new LogTail(log, partitionOf);
  await tail.change({ ...NOTHING, views: ["presence", 'q"'] });
  put(log, "device/a/b", '{"view":"presence","key":"a/b"}', "view");
  put(log, "device/a/c", '{"view":"presences","key":"a/c"}', "view");
  put(log, "device/a/d", '{"view":"presence","key":"a/d"}', "ingress");
  put(log, "device/a/c", '{"view":"q\\"","key":"end"}', "view");
  assert.deepEqual(await takeUpTo(tail, 'end"}'), [
    'view device/a/b {"view":"presence","key":"a/b"}',
    'view device/a/c {"view":"q\\"","key":"end"}',
  ]);
});

Deno.test("without interest the log is not listened to, and nothing is read", async () => {
  const log = new CountingLog();
  using tail = new LogTail(log, partitionOf);
  put(log, "device/a/b", "1");
  await tail.change({ added: ["device/a/b", "device/a/c"], removed: [], views: ["presence"] });
  assert.equal(log.listeners, 1);
  await tail.change({ added: [], removed: ["device/a/b"], views: [] });
  put(log, "device/a/b", "given up");
  put(log, "device/a/c", "end");
  assert.deepEqual(await takeUpTo(tail, "end"), ["ingress device/a/c end"]);
  await tail.change({ added: [], removed: ["device/a/c"], views: [] });
  assert.equal(log.listeners, 0);
  const before = log.reads;
  put(log, "device/a/c", "nobody asks");
  await Promise.resolve();
  assert.equal(log.reads, before);
  await tail.change({ added: ["device/a/c"], removed: [], views: [] });
  put(log, "device/a/c", "new");
  assert.deepEqual(linesOf(await tail.take()), ["ingress device/a/c new"]);
});

Deno.test("what nobody takes is dropped whole at its bound, and counted", async () => {
  const log = new CountingLog();
  using tail = new LogTail(log, partitionOf, 1_000);
  await tail.change({ ...NOTHING, added: ["device/a/b"] });
  for (let i = 0; i < 20; i++) put(log, "device/a/b", `${i} ${"x".repeat(100)}`);
  await waitFor(() => log.reads >= 1, { what: "the tail to read", withinMs: 5_000 });
  await new Promise<void>((resolve) => queueMicrotask(resolve));
  const read = await tail.take();
  const numbers = read.records.map(({ body }) => Number(DECODER.decode(body).split(" ")[0]));
  assert.equal(read.missed + numbers.length, 20);
  assert.ok(numbers.length > 0 && numbers.length < 5, `${numbers}`);
  assert.equal(numbers.at(-1), 19, "the newest are kept");
});

Deno.test("a log that cannot be read is a gap, and the tail goes on at the head", async () => {
  const log = new CountingLog();
  using tail = new LogTail(log, partitionOf);
  await tail.change({ ...NOTHING, added: ["device/a/b"] });
  const readTicks = log.readTicks.bind(log);
  log.readTicks = () => Promise.reject(new Error("disk image is malformed"));
  put(log, "device/a/b", "lost");
  assert.deepEqual(await tail.take(), { records: [], missed: 1 });
  log.readTicks = readTicks;
  put(log, "device/a/b", "new");
  assert.deepEqual(linesOf(await tail.take()), ["ingress device/a/b new"]);
});

Deno.test("a tail comes through a port, and ends with it", async () => {
  const log = new CountingLog();
  const { port1, port2 } = new MessageChannel();
  using server = serveTailPort(port1, log, partitionOf);
  const tail = connectTailPort(port2);
  await tail.change({ ...NOTHING, added: ["device/a/b"] });
  const taken = tail.take();
  log.append(1, [{ to: "device/a/b", body: "1" }, { to: "device/a/b", body: "23" }]);
  const read = await taken;
  assert.deepEqual(linesOf(read), ["ingress device/a/b 1", "ingress device/a/b 23"]);
  assert.equal(read.records[0]!.acceptedAtMs, 1_767_225_600_000);
  const waiting = tail.take();
  tail[Symbol.dispose]();
  await assert.rejects(waiting, UnavailableError);
  await assert.rejects(tail.change(NOTHING), UnavailableError);
  server[Symbol.dispose]();
  assert.equal(log.listeners, 0);
});
