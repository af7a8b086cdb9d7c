import assert from "node:assert/strict";
import { LIMITS } from "../../runtime/limits.ts";
import { silentLogger } from "../../runtime/logger.ts";
import type { StoredGatewayRow } from "../../runtime/log/partition_log.ts";
import { FakeIngress } from "../../test/support/fake_ingress.ts";
import { createManualClock } from "../../test/support/manual_clock.ts";
import { createFigures } from "./figures.ts";
import { type GatewayState, keepSession } from "./gateway_state.ts";
import { OwedWrites } from "./owed_writes.ts";
import { encodeSession, Session } from "./session.ts";
import { SessionSweep } from "./session_sweep.ts";

const PAGE_MS = 1_000;

function sessionEndedAt(endedAtMs: number): Session {
  const session = new Session(1);
  session.endedAtMs = endedAtMs;
  return session;
}

Deno.test("a session that left memory while its page was read is left alone", async () => {
  const ingress = new FakeIngress({ isAutomatic: true });
  const clock = createManualClock(1_000_000);
  const read = Promise.withResolvers<StoredGatewayRow[]>();
  const state = {
    ingress,
    clock,
    logger: silentLogger,
    readRows: () => read.promise,
    figures: createFigures({ bytes: 0 }, { count: 0 }, () => ({ count: 0, bytes: 0 })),
    owed: new OwedWrites(ingress),
    byDevice: new Map(),
    away: new Map(),
    evicted: undefined,
    isDraining: false,
  } as Partial<GatewayState> as GatewayState;
  using _sweep = new SessionSweep(state);
  await clock.advance(PAGE_MS);
  // Both rows were read as expired; then `p/back` came and went, and so many others that it left.
  for (const key of ["p/back", "p/gone"]) {
    ingress.rows.set(`mqtt/${key}`, encodeSession(sessionEndedAt(0)));
  }
  const rows = await ingress.readRows({ prefix: "mqtt/", after: "", limit: 10 });
  keepSession(state, "p/back", sessionEndedAt(clock.nowMs()));
  for (let i = 0; i < LIMITS.mqttAwaySessionsMax; i++) {
    keepSession(state, `p/other-${i}`, sessionEndedAt(clock.nowMs()));
  }
  assert.equal(state.away.has("p/back"), false);
  read.resolve(rows);
  await clock.settle();
  await clock.settle();
  assert.deepEqual([...ingress.rows.keys()], ["mqtt/p/back"]);
  assert.equal(state.evicted, undefined);
});
