import assert from "node:assert/strict";
import { EventDecoder } from "./event_stream.ts";

Deno.test("events come out whole, wherever the text is cut", () => {
  const text =
    ': hello\n\nid: 1-1\nevent: change\ndata: {"a":1}\n\ndata: x\r\ndata: y\r\n\r\nevent: gap\n\n' +
    "id\ndata\n\n";
  const whole = new EventDecoder().push(text);
  assert.deepEqual(whole, [
    { event: "change", data: '{"a":1}', id: "1-1" },
    { event: "message", data: "x\ny", id: "1-1" },
    { event: "message", data: "", id: "" },
  ]);
  for (let cut = 1; cut < text.length; cut++) {
    const decoder = new EventDecoder();
    const found = [...decoder.push(text.slice(0, cut)), ...decoder.push(text.slice(cut))];
    assert.deepEqual(found, whole, `cut at ${cut}`);
  }
});
