import assert from "node:assert/strict";
import fc from "fast-check";
import { LIMITS } from "../../runtime/limits.ts";
import type { Issue } from "../../runtime/errors.ts";
import type { DeviceDirectory } from "./directory.ts";
import type { Values } from "./messages.ts";
import { decodeEvent, decodeUplink } from "./uplink.ts";
import { decodeReply } from "./uplink_reply.ts";

const NOW_MS = 1_700_000_000_000;
const encode = (text: string) => new TextEncoder().encode(text);

/** Keeps scalars, refuses numbers above 100; counts how often it was asked to explain. */
class Directory implements DeviceDirectory {
  explained = 0;
  login(): never {
    throw new Error("not asked here");
  }
  loginByCertificate(): never {
    throw new Error("not asked here");
  }
  validate(_product: string, values: Values) {
    this.explained++;
    const kept: Record<string, never> = {};
    const refused: Issue[] = [];
    for (const [path, value] of Object.entries(values)) {
      if (typeof value === "number" && value > 100) {
        refused.push({ path, rule: "max", message: `Cannot accept ${value}: max is 100` });
      } else kept[path] = value as never;
    }
    return { values: kept, refused };
  }
  accepts(_product: string, values: Values) {
    return Object.values(values).every((value) => !(typeof value === "number" && value > 100));
  }
  eventIssues(_product: string, event: string, data: unknown, path: string): Issue[] {
    const isRefused = event === "refused" || (data as { bad?: unknown } | null)?.bad !== undefined;
    const at = path === "" ? "bad" : `${path}.bad`;
    return isRefused ? [{ path: at, rule: "unknown", message: "Cannot accept bad" }] : [];
  }
  callIssues(_product: string, service: string, part: string, value: unknown): Issue[] {
    return this.eventIssues("", service, value, part);
  }
  projectOf() {
    return "default";
  }
  lateDaysMax() {
    return 30;
  }
  onRevoked() {
    return () => {};
  }
}

function decode(text: string | Uint8Array, directory = new Directory()) {
  const payload = typeof text === "string" ? encode(text) : text;
  return decodeUplink(payload, directory, "p", NOW_MS);
}

function messageOf(text: string, directory = new Directory()) {
  const decoded = decode(text, directory);
  assert.ok(decoded.ok, decoded.ok ? "" : decoded.detail);
  return JSON.parse(decoded.parts.map((part) => new TextDecoder().decode(part)).join(""));
}

function refusalOf(text: string | Uint8Array) {
  const decoded = decode(text);
  return decoded.ok ? "accepted" : decoded.code;
}

Deno.test("a flat object is passed on as it came", () => {
  const directory = new Directory();
  const payload = encode(' {"a": 1.50, "b": "ü", "c": true}\n');
  const decoded = decodeUplink(payload, directory, "p", NOW_MS);
  assert.ok(decoded.ok);
  assert.equal(decoded.parts[1], payload);
  assert.equal(decoded.points, 3);
  assert.equal(directory.explained, 0);
  assert.deepEqual(messageOf('{"a":1}'), { type: "properties", samples: [{ values: { a: 1 } }] });
});

Deno.test("timed samples and arrays become the samples of one message", () => {
  const at = NOW_MS - 1;
  assert.deepEqual(messageOf(`{"at":${at},"values":{"a":1}}`).samples, [{ at, values: { a: 1 } }]);
  assert.deepEqual(messageOf(`{"values":{"a":1}}`).samples, [{ values: { a: 1 } }]);
  assert.deepEqual(messageOf(`[{"a":1},{"at":${at}.4,"values":{"b":2}}]`).samples, [
    { values: { a: 1 } },
    { at, values: { b: 2 } },
  ]);
  // A property may be called so, too.
  assert.deepEqual(messageOf('{"values":5,"at":1}').samples, [{ values: { values: 5, at: 1 } }]);
  assert.deepEqual(messageOf('{"values":{"a":1},"b":2}').samples, [
    { values: { values: { a: 1 }, b: 2 } },
  ]);
});

Deno.test("refused points have their path, and the rest is kept", () => {
  const decoded = decode('[{"a":1,"b":101},{"at":5,"values":{"c":1}},{"values":{"d":102,"e":1}}]');
  assert.ok(decoded.ok);
  assert.deepEqual(decoded.refused.map(({ path, rule }) => [path, rule]), [
    ["0.b", "max"],
    ["1.at", "late"],
    ["2.values.d", "max"],
  ]);
  assert.equal(decoded.points, 2);
  const nothing = decode('{"a":101}');
  assert.ok(!nothing.ok);
  assert.deepEqual([nothing.code, nothing.refused.length], ["off_model", 1]);
});

Deno.test("times are taken within their bounds and refused beyond", () => {
  const day = 86_400_000;
  const timed = (at: unknown) => refusalOf(`{"at":${at},"values":{"a":1}}`);
  assert.equal(timed(NOW_MS + LIMITS.aheadMsMax), "accepted");
  assert.equal(timed(NOW_MS + LIMITS.aheadMsMax + 1), "time_out_of_range");
  assert.equal(timed(NOW_MS - 30 * day), "accepted");
  assert.equal(timed(NOW_MS - 30 * day - 1), "time_out_of_range");
  assert.equal(timed(-1), "time_out_of_range");
  assert.equal(timed('"2024"'), "off_model");
  assert.equal(timed("null"), "off_model");
  assert.equal(timed("1e999"), "malformed");
});

Deno.test("hostile payloads are refused for what they are", () => {
  const malformed = [
    "",
    "{",
    "null",
    "5",
    '"text"',
    "{}",
    "[]",
    "[5]",
    "[[]]",
    '{"a":NaN}',
    '{"a":1e999}',
    '{"a":"\\ud800"}',
    '{"\\ud800":1}',
    '{"__proto__":1}',
    '{"\\u005f_proto__":{"x":1}}',
    '{"a":{"b":[{"__proto__":1}]}}',
    '{"a":[1e999]}',
    "\ufeff" + '{"a":1}',
    `{"a":${"[".repeat(100)}${"]".repeat(100)}}`,
    "[".repeat(30_000) + "]".repeat(30_000),
  ];
  for (const text of malformed) assert.equal(refusalOf(text), "malformed", text.slice(0, 40));
  assert.equal(refusalOf(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)), "malformed");
  assert.equal(refusalOf(Uint8Array.of(0x22, 0xc0, 0x80, 0x22)), "malformed", "overlong");
  assert.equal(refusalOf(new Uint8Array(LIMITS.payloadBytesMax + 1)), "too_large");
});

Deno.test("a message has at most pointsPerMessageMax points, empty samples counted", () => {
  const max = LIMITS.pointsPerMessageMax;
  const flat = (count: number) =>
    `{${Array.from({ length: count }, (_, i) => `"p${i}":${i % 9}`).join(",")}}`;
  assert.equal(refusalOf(flat(max)), "accepted");
  assert.equal(refusalOf(flat(max + 1)), "too_many_points");
  assert.equal(refusalOf(`[${flat(max - 1)},{"x":1}]`), "accepted");
  assert.equal(refusalOf(`[${flat(max)},{"x":1}]`), "too_many_points");
  assert.equal(refusalOf(`[${"{},".repeat(max)}{"x":1}]`), "too_many_points");
});

Deno.test("numbers that grow when they are written again do not grow past the bound", () => {
  const many = `[${"1e20,".repeat(9_000)}101]`;
  assert.equal(refusalOf(`[{"a":${many}}]`), "too_large");
});

Deno.test("an event is passed on with its time, if it has one", () => {
  const event = (text: string) => {
    const decoded = decodeEvent(encode(text), "opened", new Directory(), "p", NOW_MS);
    if (!decoded.ok) return decoded.code;
    return JSON.parse(decoded.parts.map((part) => new TextDecoder().decode(part)).join(""));
  };
  assert.deepEqual(event('{"by": "x"}'), { type: "event", event: "opened", data: { by: "x" } });
  assert.deepEqual(event("{}"), { type: "event", event: "opened", data: {} });
  const at = NOW_MS - 1;
  assert.deepEqual(event(`{"at":${at},"data":[1]}`), {
    type: "event",
    event: "opened",
    at,
    data: [1],
  });
  assert.deepEqual(event('{"data":1}'), { type: "event", event: "opened", data: 1 });
  assert.deepEqual(event('{"data":1,"x":2}').data, { data: 1, x: 2 });
  assert.equal(event('{"at":1,"data":{}}'), "time_out_of_range");
  for (const text of ["5", "[]", "null", '{"a":{"__proto__":1}}', '{"a":"\\udc00"}']) {
    assert.equal(event(text), "malformed", text);
  }
});

Deno.test("an event off the model is refused whole, with the paths of what is wrong", () => {
  for (
    const [text, path] of [['{"bad":1,"a":2}', "bad"], ['{"at":1,"data":{"bad":1}}', "data.bad"]]
  ) {
    const decoded = decodeEvent(encode(text!), "opened", new Directory(), "p", NOW_MS);
    assert.ok(!decoded.ok);
    assert.equal(decoded.code, "off_model");
    assert.deepEqual(decoded.refused.map((issue) => issue.path), [path]);
  }
});

function replyOf(text: string) {
  const call = { service: "restart", callId: "c1" };
  const decoded = decodeReply(encode(text), call, new Directory(), "p");
  if (!decoded.ok) return decoded.code;
  const message = JSON.parse(new TextDecoder().decode(decoded.parts[0]!));
  assert.deepEqual(Object.keys(message), ["type", "callId", "answer"]);
  return { answer: message.answer, paths: decoded.refused.map(({ path }) => path) };
}

Deno.test("an answer to a call is an output or an error", () => {
  const kept = (answer: unknown) => ({ answer, paths: [] });
  assert.deepEqual(
    replyOf('{"ok":true,"output":{"a":[1]}}'),
    kept({ ok: true, output: { a: [1] } }),
  );
  assert.deepEqual(replyOf('{"ok":true}'), kept({ ok: true, output: {} }));
  assert.deepEqual(replyOf('{"ok":true,"more":1}'), kept({ ok: true, output: {} }));
  assert.deepEqual(replyOf('{"ok":false,"error":"jammed"}'), kept({ ok: false, error: "jammed" }));
  assert.deepEqual(replyOf('{"ok":false}'), kept({ ok: false, error: "" }));
  const long = replyOf(`{"ok":false,"error":"${"x".repeat(5_000)}"}`);
  assert.ok(typeof long === "object" && long.answer.error.length === 1_024);
  for (
    const text of [
      "",
      "[]",
      "null",
      "{}",
      '{"ok":1}',
      '{"ok":false,"error":1}',
      '{"ok":true,"output":{"__proto__":1}}',
      '{"ok":true,"output":"\\ud800"}',
    ]
  ) assert.equal(replyOf(text), "malformed", text);
});

Deno.test("an output off the model, or too large, fails the call with the reason", () => {
  const bad = replyOf('{"ok":true,"output":{"bad":1}}');
  assert.deepEqual(bad, {
    answer: { ok: false, error: "The output was refused: output.bad: Cannot accept bad" },
    paths: ["output.bad"],
  });
  const large = replyOf(`{"ok":true,"output":{"text":"${"x".repeat(32_768)}"}}`);
  assert.ok(typeof large === "object");
  assert.match(large.answer.error, /output of 32779 B: callOutputBytesMax is 32768/);
});

Deno.test("whatever is accepted is JSON with the values that were sent", () => {
  const value = fc.oneof(
    fc.double({ noDefaultInfinity: true, noNaN: true, max: 100 }),
    fc.string(),
    fc.boolean(),
  );
  const name = fc.stringMatching(/^[a-z][A-Za-z0-9_.:-]{0,20}$/);
  const sample = fc.dictionary(name, value, { minKeys: 1, maxKeys: 8, noNullPrototype: true });
  fc.assert(fc.property(fc.oneof(sample, fc.array(sample, { minLength: 1 })), (json) => {
    const text = JSON.stringify(json);
    fc.pre(!text.includes('"values"'));
    const wellFormed = (Array.isArray(json) ? json : [json]).every((one) =>
      Object.values(one).every((each) => typeof each !== "string" || each.isWellFormed())
    );
    fc.pre(wellFormed);
    const { samples } = messageOf(text);
    const expected = (Array.isArray(json) ? json : [json]).map((values) => ({ values }));
    assert.deepEqual(samples, JSON.parse(JSON.stringify(expected)));
  }));
});
