import assert from "node:assert/strict";
import { FakeLog } from "../../test/support/fake_log.ts";
import { waitFor } from "../../test/support/wait.ts";
import { CodecError, UnavailableError } from "../errors.ts";
import { connectReaderPort, serveReaderPort } from "./reader_port.ts";

const until = (what: string, isTrue: () => boolean | Promise<boolean>) =>
  waitFor(isTrue, { what, withinMs: 10_000, everyMs: 2 });

function connect(log: FakeLog) {
  const { port1, port2 } = new MessageChannel();
  const server = serveReaderPort(port1, log, "views");
  const client = connectReaderPort(port2);
  return {
    client,
    server,
    [Symbol.dispose]() {
      client[Symbol.dispose]();
      server[Symbol.dispose]();
    },
  };
}

Deno.test("ticks come through a port as they are in the log, which keeps its bytes", async () => {
  const log = new FakeLog();
  const first = log.append(1, [{ to: "device/a/b", body: "{}" }, { to: "device/a/c", body: "[]" }]);
  const second = log.append(2, [{ to: "device/a/d", body: "{}" }]);
  log.append(2, [{ to: "device/a/d", body: "{}" }], "view");
  using line = connect(log);
  assert.deepEqual(await line.client.readTicks(0, ["ingress"], 1e6), {
    ticks: [{ tick: 1, segments: [first] }, { tick: 2, segments: [second] }],
    cursor: 3,
  });
  assert.deepEqual(await line.client.readTicks(3, ["ingress"], 1e6), { ticks: [], cursor: 3 });
  assert.ok(first.bytes.length > 0, "the log's own bytes were transferred away");
});

Deno.test("a cursor is saved under the reader's name", async () => {
  const log = new FakeLog();
  using line = connect(log);
  await line.client.saveCursor(7);
  assert.deepEqual(log.saved, [{ reader: "views", tick: 7 }]);
});

Deno.test("waiting ends at once if there is more, else with the next append", async () => {
  const log = new FakeLog();
  log.append(1, [{ to: "device/a/b", body: "{}" }]);
  using line = connect(log);
  await line.client.waitForMore(0);
  let isOver = false;
  const wait = line.client.waitForMore(1).then(() => isOver = true);
  await line.client.saveCursor(1); // Answered after the wait was asked for.
  assert.equal(isOver, false);
  log.append(1, [{ to: "device/a/b", body: "{}" }]);
  await wait;
});

Deno.test("a fault of the log is rejected at the reader, told apart by who acts", async () => {
  const log = new FakeLog();
  using line = connect(log);
  log.saveCursor = () => Promise.reject(new CodecError("damaged"));
  await assert.rejects(line.client.saveCursor(1), CodecError);
  log.saveCursor = () => Promise.reject(new Error("closed"));
  await assert.rejects(line.client.saveCursor(1), UnavailableError);
});

Deno.test("disposing the reader's end rejects what is under way", async () => {
  const log = new FakeLog();
  using line = connect(log);
  const wait = line.client.waitForMore(5);
  line.client[Symbol.dispose]();
  await assert.rejects(wait, UnavailableError);
  await assert.rejects(line.client.readTicks(0, ["view"], 1), UnavailableError);
  await until("the server is closed as well", () => (line.server[Symbol.dispose](), true));
});
