/** All routes but those of the document, which is made from these. */
import type { Ingest } from "../ingest.ts";
import type { LiveFeeds } from "../live_feeds.ts";
import type { HttpPorts } from "../ports.ts";
import type { Route } from "../route.ts";
import { auditRoutes } from "./audit_routes.ts";
import { callRoutes } from "./call_routes.ts";
import { clusterRoutes } from "./cluster_routes.ts";
import { deadLetterRoutes } from "./dead_letter_routes.ts";
import { deviceRoutes } from "./device_routes.ts";
import { eventRoutes } from "./event_routes.ts";
import { messageRoutes } from "./message_routes.ts";
import { endpointRoutes } from "./endpoint_routes.ts";
import { groupRoutes } from "./group_routes.ts";
import { healthRoutes } from "./health_routes.ts";
import { importRoutes } from "./import_routes.ts";
import { ingestRoutes } from "./ingest_routes.ts";
import { jobRoutes } from "./job_routes.ts";
import { keyRoutes } from "./key_routes.ts";
import { liveRoutes } from "./live_routes.ts";
import { modelRoutes } from "./model_routes.ts";
import { masterKeyRoutes } from "./master_key_routes.ts";
import { partitionRoutes } from "./partition_routes.ts";
import { productRoutes } from "./product_routes.ts";
import { projectRoutes } from "./project_routes.ts";
import { sessionRoutes } from "./session_routes.ts";
import { shadowRoutes } from "./shadow_routes.ts";
import { telemetryRoutes } from "./telemetry_routes.ts";
import { userRoutes } from "./user_routes.ts";

export function createRoutes(ports: HttpPorts, ingest: Ingest, feeds: LiveFeeds): Route[] {
  return [
    ...ingestRoutes(ingest),
    ...sessionRoutes(ports),
    ...projectRoutes(ports),
    ...userRoutes(ports),
    ...keyRoutes(ports),
    ...auditRoutes(ports),
    ...masterKeyRoutes(ports),
    ...productRoutes(ports),
    ...modelRoutes(ports),
    ...deviceRoutes(ports),
    ...groupRoutes(ports),
    ...shadowRoutes(ports),
    ...callRoutes(ports),
    ...telemetryRoutes(ports),
    ...eventRoutes(ports),
    ...messageRoutes(ports),
    ...liveRoutes(ports, feeds),
    ...jobRoutes(ports),
    ...importRoutes(ports),
    ...clusterRoutes(ports),
    ...deadLetterRoutes(ports),
    ...partitionRoutes(ports),
    ...endpointRoutes(ports),
    ...healthRoutes(ports),
  ];
}
