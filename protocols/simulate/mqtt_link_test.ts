import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { createManualClock } from "../../test/support/manual_clock.ts";
import { MqttLink } from "./mqtt_link.ts";

const CONNACK_OK = Uint8Array.of(0x20, 3, 0, 0, 0);
const PUBLISH_TO_A = Uint8Array.of(
  0x32,
  13,
  0,
  8,
  ...new TextEncoder().encode("v1/p/d/a"),
  0,
  7,
  0,
);

Deno.test("a link that was closed hears nothing more, though its peer still speaks", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const target = { host: "127.0.0.1", port: (server.address() as { port: number }).port };
  const accepted = once(server, "connection");
  const opened = Promise.withResolvers<void>();
  const topics: string[] = [];
  const heard: string[] = [];
  const first = Promise.withResolvers<void>();
  const link = new MqttLink({
    target,
    login: { product: "p", device: "d", secret: "s" },
    clock: createManualClock(0),
    onMessage: (topic) => {
      topics.push(topic);
      first.resolve();
    },
  }, {
    opened: () => opened.resolve(),
    acknowledged: () => void heard.push("acknowledged"),
    refused: () => void heard.push("refused"),
    closed: () => void heard.push("closed"),
  });
  const [peer] = await accepted as [Socket];
  peer.write(CONNACK_OK);
  await opened.promise;
  peer.write(PUBLISH_TO_A);
  await first.promise;
  const ended = once(peer, "end");
  link.close();
  peer.write(PUBLISH_TO_A);
  peer.resume();
  await ended;
  peer.end();
  server.close();
  await once(server, "close");
  assert.deepEqual([topics, heard], [["a"], []]);
});
