import { testTelemetryStore } from "../../test/contract/telemetry_contract.ts";
import { MemoryTelemetryStore } from "./memory_store.ts";

testTelemetryStore("memory", () => new MemoryTelemetryStore());
