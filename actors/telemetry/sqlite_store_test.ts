import { systemClock } from "../../runtime/clock.ts";
import { testTelemetryStore } from "../../test/contract/telemetry_contract.ts";
import { SqliteTelemetryStore } from "./sqlite_store.ts";

testTelemetryStore(
  "sqlite",
  () => new SqliteTelemetryStore({ path: ":memory:", clock: systemClock }),
);
