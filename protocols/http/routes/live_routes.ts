/** The live feed: what changes, as it changes, over one response that does not end. */
import { z } from "@hono/zod-openapi";
import {
  keyedTopic,
  type LiveTopic,
  parseTopic,
  PLAIN_TOPICS,
} from "../../../actors/live/topics.ts";
import { assert } from "../../../runtime/errors.ts";
import { LIMITS } from "../../../runtime/limits.ts";
import { assertAllowed, credentialOf } from "../guard.ts";
import { LIVE_HEADERS, type LiveFeeds, policiesOf } from "../live_feeds.ts";
import type { HttpPorts } from "../ports.ts";
import { createRoute, type Route } from "../route.ts";
import { requireDevice } from "./device_access.ts";

const TOPICS_MAX = LIMITS.liveTopicsMax;
const LIST = [...PLAIN_TOPICS, "device/{product}/{device}"].map((one) => `\`${one}\``).join(", ");
const TOPICS = z.string().min(1).transform((text, context): LiveTopic[] => {
  const names = [...new Set(text.split(","))];
  const topics = names.map(parseTopic);
  const unknown = topics.indexOf(undefined);
  if (names.length <= TOPICS_MAX && unknown === -1) return topics as LiveTopic[];
  context.addIssue({
    code: "custom",
    message: unknown === -1
      ? `Cannot follow ${names.length} topics: liveTopicsMax is ${TOPICS_MAX}`
      : `Cannot follow "${names[unknown]!.slice(0, 80).toWellFormed()}": there is no such topic`,
  });
  return z.NEVER;
}).openapi({
  type: "string",
  description: `Topics, comma-separated, 1 to ${TOPICS_MAX}: ${LIST}.`,
  example: "ledger,device/pump/p-1",
});
const EXAMPLE = "retry: 2000\nid: 1700000000000-41\nevent: hello\n" +
  'data: {"at":1700000000000,"topics":["device/pump/p-1"]}\n\n' +
  "id: 1700000000000-42\nevent: change\n" +
  'data: {"topic":"device/pump/p-1","at":1700000000500,"value":{"type":"properties",' +
  '"samples":[{"at":1700000000500,"values":{"temperature":21.5}}]}}\n\n';

export function liveRoutes(ports: HttpPorts, feeds: LiveFeeds): Route[] {
  return [createRoute({
    method: "get",
    path: "/api/v1/live",
    tag: "live",
    summary: "Follows what changes",
    description: "Server-Sent Events. `hello` comes first: what is read after it misses nothing. " +
      "`change` has `topic`, `at` and `value`; `gap` names topics of which events were missed, " +
      "which are to be read again. `Last-Event-ID` resumes, or leads to a `gap`. Each topic needs " +
      "the role, or the scope, of the route that it keeps up to date. Values of a device have a " +
      "`type`: `properties`, `event`, `presence`, `call`, `shadow` or `refused`.",
    query: z.strictObject({ topics: TOPICS }),
    responses: {
      200: {
        description: "Events, until either side closes. A comment every 15 s of silence.",
        mediaType: "text/event-stream",
        schema: z.string(),
        example: EXAMPLE,
      },
    },
    problems: ["not-found", "overloaded", "unavailable"],
    async handle({ query: { topics }, caller, request }) {
      assert(caller !== undefined, "the policy lets only callers in");
      for (const topic of topics) {
        for (const policy of policiesOf(topic)) assertAllowed(policy, caller);
        if (topic.type === "device") await requireDevice(ports, caller, topic);
      }
      if (request.method === "HEAD") return new Response(null, { headers: LIVE_HEADERS });
      const { headers } = request;
      const lastEventId = headers.get("last-event-id") ?? undefined;
      const keyed = topics.map((topic) => keyedTopic(topic, caller.project));
      return await feeds.open({
        caller,
        credential: credentialOf(headers)!,
        topics: keyed,
        lastEventId,
      });
    },
  })];
}
