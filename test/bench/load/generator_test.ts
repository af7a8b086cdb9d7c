import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import mqttPacket from "mqtt-packet";
import { readAcknowledged } from "./acknowledged.ts";
import { type LoadOptions, writeDevices } from "./options.ts";
import { bodyTemplate, SEQUENCE } from "./payload.ts";
import { runLoad, startLoad } from "./start_load.ts";

/** What a peer read, by client id in order of arrival, and how it treats connections. */
interface Peer extends AsyncDisposable {
  readonly port: number;
  readonly received: Map<string, number[]>;
}

Deno.test("the generator counts what a server acknowledged, and keeps it in its ledger", async () => {
  await using peer = startPeer({});
  await using files = startFiles(3);
  const report = await runLoad({
    ...files.options(peer),
    inFlight: 4,
    messagesPerDevice: 100,
  });
  assert.equal(report.acknowledged, 300);
  assert.equal(report.sent, 300);
  assert.equal(report.outOfOrder, 0);
  assert.equal(report.bodyBytes, bodyTemplate().length);
  const ledger = readAcknowledged(files.acknowledgedFile);
  assert.equal(ledger.length, 300);
  for (const [client, sequences] of peer.received) {
    const device = Number(client.split("-").at(-1));
    const kept = ledger.filter((one) => one.device === device).map((one) => one.sequence);
    assert.deepEqual(kept, sequences);
  }
});

Deno.test("a broken connection is opened again, and no message is sent twice", async () => {
  await using peer = startPeer({ closeAfter: 37 });
  await using files = startFiles(2);
  const report = await runLoad({
    ...files.options(peer),
    inFlight: 8,
    durationMs: 600,
    isReconnecting: true,
  });
  assert.ok(report.reconnects >= 2, `${report.reconnects} reconnects`);
  assert.equal(report.acknowledged + report.abandoned, report.sent);
  for (const sequences of peer.received.values()) {
    assert.equal(new Set(sequences).size, sequences.length, "a message came twice");
  }
  const ledger = readAcknowledged(files.acknowledgedFile);
  assert.equal(ledger.length, report.acknowledged);
});

Deno.test("acknowledgements out of order are noticed", async () => {
  await using peer = startPeer({ isSwapping: true });
  await using files = startFiles(1);
  const report = await runLoad({ ...files.options(peer), inFlight: 2, messagesPerDevice: 10 });
  assert.ok(report.outOfOrder > 0);
});

Deno.test("a paced run keeps its rate and stops at SIGTERM with a report", async () => {
  await using peer = startPeer({});
  await using files = startFiles(5);
  await using load = startLoad({
    ...files.options(peer),
    inFlight: 8,
    durationMs: 60_000,
    ratePerSecond: 500,
  });
  await load.connected;
  while (receivedBy(peer) < 200) await peerHeard(peer);
  load.stop();
  const report = await load.report;
  assert.ok(report.acknowledged >= 200 && report.skipped === 0);
  const seconds = report.measuredMs / 1_000;
  assert.ok(Math.abs(report.sent / seconds - 500) < 100, `${report.sent} in ${seconds} s`);
});

function receivedBy(peer: Peer): number {
  return [...peer.received.values()].reduce((sum, one) => sum + one.length, 0);
}

const listeners = new Set<() => void>();

function peerHeard(_peer: Peer): Promise<void> {
  return new Promise((resolve) => listeners.add(resolve));
}

/** A server of a few lines on mqtt-packet: reads, acknowledges, misbehaves as asked. */
function startPeer(
  manner: { readonly closeAfter?: number; readonly isSwapping?: boolean },
): Peer {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const received = new Map<string, number[]>();
  const served: Promise<void>[] = [];
  const accepting = (async () => {
    for await (const connection of listener) served.push(serve(connection, received, manner));
  })();
  return {
    port: (listener.addr as Deno.NetAddr).port,
    received,
    [Symbol.asyncDispose]: async () => {
      listener.close();
      await accepting;
      await Promise.all(served);
    },
  };
}

async function serve(
  connection: Deno.TcpConn,
  received: Map<string, number[]>,
  manner: { readonly closeAfter?: number; readonly isSwapping?: boolean },
): Promise<void> {
  using socket = connection;
  const parser = mqttPacket.parser({ protocolVersion: 4 });
  const answers: Uint8Array[] = [];
  let sequences: number[] = [];
  let count = 0;
  parser.on("packet", (packet) => {
    if (packet.cmd === "connect") {
      sequences = received.get(packet.clientId) ?? [];
      received.set(packet.clientId, sequences);
      answers.push(Uint8Array.of(0x20, 2, 0, 0));
    } else if (packet.cmd === "publish") {
      count++;
      sequences.push(JSON.parse(String(packet.payload))[SEQUENCE]);
      answers.push(Uint8Array.of(0x40, 2, packet.messageId! >> 8, packet.messageId! & 255));
    }
  });
  const bytes = new Uint8Array(65_536);
  try {
    for (let n = await socket.read(bytes); n !== null; n = await socket.read(bytes)) {
      parser.parse(Buffer.from(bytes.slice(0, n)));
      if (manner.closeAfter !== undefined && count >= manner.closeAfter) return;
      if (manner.isSwapping && answers.length > 1) answers.reverse();
      for (const answer of answers.splice(0)) await socket.write(answer);
      for (const listener of listeners) listener();
      listeners.clear();
    }
  } catch (fault) {
    if (!isDisconnect(fault)) throw fault;
  }
}

function isDisconnect(fault: unknown): boolean {
  return fault instanceof Deno.errors.ConnectionReset || fault instanceof Deno.errors.BrokenPipe;
}

function startFiles(devices: number) {
  const directory = Deno.makeTempDirSync({ prefix: "roost-generator-" });
  const devicesFile = `${directory}/devices`;
  const acknowledgedFile = `${directory}/acknowledged`;
  writeDevices(
    devicesFile,
    Array.from({ length: devices }, (_, i) => ({ product: "p", device: `d-${i}`, secret: "s" })),
  );
  return {
    acknowledgedFile,
    options: (peer: Peer): LoadOptions => ({
      wire: "mqtt",
      host: "127.0.0.1",
      port: peer.port,
      devicesFile,
      inFlight: 1,
      durationMs: 20_000,
      acknowledgedFile,
    }),
    [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }),
  };
}
