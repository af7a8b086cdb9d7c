import assert from "node:assert/strict";
import fc from "fast-check";
import { Buffer } from "node:buffer";
import { readSeed } from "../../test/support/seed.ts";
import { encodeBinary, upgradeOf, WebSocketReader } from "./web_socket.ts";

const ZEROS = [0, 0, 0, 0];

/** A frame of a client. */
function frame(first: number, payload: Uint8Array, mask: number[] = [1, 2, 3, 4]): Buffer {
  const { length } = payload;
  const header = length < 126 ? [first, 128 | length] : [first, 254, length >> 8, length & 255];
  return Buffer.from([...header, ...mask, ...payload.map((byte, i) => byte ^ mask[i & 3]!)]);
}

function readAll(chunks: readonly Uint8Array[]) {
  const pongs: string[] = [];
  const reader = new WebSocketReader((pong) => pongs.push(Buffer.from(pong).toString("hex")));
  const read: number[] = [];
  for (const chunk of chunks) {
    const copy = Uint8Array.from(chunk);
    read.push(...copy.subarray(0, reader.read(copy)));
  }
  return { read, pongs, fault: reader.fault, isEnded: reader.isEnded };
}

Deno.test("payload is the same however frames and chunks are cut", () => {
  const seed = readSeed();
  const piece = fc.record({
    payload: fc.uint8Array({ maxLength: 400 }),
    mask: fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 4, maxLength: 4 }),
    isFinal: fc.boolean(),
    hasPing: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(piece, { minLength: 1, maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1 }),
      (pieces, cuts) => {
        let isContinued = false;
        const frames = pieces.flatMap(({ payload, mask, isFinal, hasPing }) => {
          const first = (isFinal ? 128 : 0) | (isContinued ? 0 : 2);
          isContinued = !isFinal;
          const ping = hasPing ? [frame(0x89, Uint8Array.of(7), mask)] : [];
          return [frame(first, payload, mask), ...ping];
        });
        const bytes = Buffer.concat(frames);
        const chunks: Uint8Array[] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          chunks.push(bytes.subarray(at, at += cuts[i % cuts.length]!));
        }
        const { read, pongs, fault } = readAll(chunks);
        assert.deepEqual(read, pieces.flatMap(({ payload }) => [...payload]));
        assert.deepEqual(pongs, pieces.filter(({ hasPing }) => hasPing).map(() => "8a0107"));
        assert.equal(fault, 0);
      },
    ),
    { seed },
  );
});

Deno.test("what breaks the framing ends it with its status, and nothing after it is read", () => {
  const wrong: [string, Buffer, number][] = [
    ["text", frame(0x81, Buffer.from("hi")), 1003],
    ["not masked", Buffer.from([0x82, 1, 5]), 1002],
    ["a reserved bit", frame(0xc2, Uint8Array.of(1)), 1002],
    ["an unknown opcode", frame(0x83, Uint8Array.of(1)), 1002],
    ["an unknown control opcode", frame(0x8b, Uint8Array.of(1)), 1002],
    ["a ping in parts", frame(0x09, Uint8Array.of(1)), 1002],
    ["a long ping", frame(0x89, new Uint8Array(126)), 1002],
    ["a continuation of nothing", frame(0x80, Uint8Array.of(1)), 1002],
    ["a length beyond counting", Buffer.from([0x82, 255, ...Array(8).fill(255), ...ZEROS]), 1002],
  ];
  const good = frame(0x82, Uint8Array.of(9));
  for (const [what, bytes, status] of wrong) {
    const { read, fault } = readAll([Buffer.concat([good, bytes, good])]);
    assert.deepEqual([read, fault], [[9], status], what);
  }
  const opened = Buffer.concat([frame(0x02, Uint8Array.of(9)), good]);
  assert.equal(readAll([opened]).fault, 1002, "a new message within one");
  const closed = readAll([Buffer.concat([good, frame(0x88, Uint8Array.of(3, 232)), good])]);
  assert.deepEqual([closed.read, closed.isEnded, closed.fault], [[9], true, 0]);
});

Deno.test("frames that we send have the shortest length, and no mask", () => {
  for (const [length, header] of [[0, "8200"], [125, "827d"], [126, "827e007e"]] as const) {
    const sent = Buffer.from(encodeBinary(new Uint8Array(length)));
    assert.equal(sent.subarray(0, sent.length - length).toString("hex"), header);
  }
  const long = Buffer.from(encodeBinary(new Uint8Array(65_536)));
  assert.equal(long.subarray(0, 10).toString("hex"), "827f0000000000010000");
});

const REQUEST = [
  "GET /mqtt?x=1 HTTP/1.1",
  "Host: roost",
  "upgrade: WebSocket",
  "Connection: keep-alive, Upgrade",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Protocol: mqttv3.1, mqtt",
];

Deno.test("an opening request is answered as RFC 6455 shows", () => {
  const { ok, response } = upgradeOf(REQUEST.join("\r\n"));
  assert.ok(ok);
  assert.match(
    response,
    /^HTTP\/1.1 101 .*\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/s,
  );
  assert.match(response, /\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n$/);
});

Deno.test("a request for anything else is refused", () => {
  const changed: [number, string, number][] = [
    [0, "GET /other HTTP/1.1", 404],
    [0, "POST /mqtt HTTP/1.1", 400],
    [0, "GET /mqtt HTTP/1.0", 400],
    [0, "GET", 400],
    [1, "no colon", 400],
    [2, "Upgrade: h2c", 426],
    [3, "Connection: close", 426],
    [4, "Sec-WebSocket-Key: short", 400],
    [5, "Sec-WebSocket-Version: 8", 426],
    [6, "Sec-WebSocket-Protocol: chat", 400],
    [6, "Other: mqtt", 400],
  ];
  for (const [index, line, status] of changed) {
    const { ok, response } = upgradeOf(REQUEST.with(index, line).join("\r\n"));
    assert.equal(ok, false);
    assert.equal(response.split(" ")[1], String(status), line);
    assert.match(response, /\r\nConnection: close\r\n\r\n$/);
  }
});
