import assert from "node:assert/strict";
import { findPeer, requirePeer, startMosquitto } from "./peers.ts";

const broker = await requirePeer("mosquitto");
const publisher = await requirePeer("mosquitto_pub");
const subscriber = await requirePeer("mosquitto_sub");

Deno.test({
  name: "mosquitto starts on a free port and its clients reach it",
  ignore: broker === undefined || publisher === undefined || subscriber === undefined,
  fn: async () => {
    await using mosquitto = await startMosquitto();
    const to = ["-h", "127.0.0.1", "-p", String(mosquitto.port), "-t", "a/b"];
    const publish = new Deno.Command(publisher!, { args: [...to, "-r", "-q", "1", "-m", "21.5"] });
    assert((await publish.output()).success);
    const receive = new Deno.Command(subscriber!, { args: [...to, "-C", "1", "-W", "10"] });
    const { stdout } = await receive.output();
    assert.equal(new TextDecoder().decode(stdout), "21.5\n");
  },
});

Deno.test("a tool that cannot be unpacked is missing, not an error", async () => {
  const file = await Deno.makeTempFile();
  try {
    // No folder can be made below a file.
    assert.equal(
      await findPeer("mosquitto_pub", { dir: `${file}/peers`, isPathUsed: false }),
      undefined,
    );
  } finally {
    await Deno.remove(file);
  }
});
