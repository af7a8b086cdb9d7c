/** Jobs as they change: their own changes tell all there is. */
import type { Json } from "../../runtime/actor/behaviour.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Jobs } from "../job/jobs.ts";
import type { LiveHub, LiveSource } from "./live_hub.ts";
import { projectKey } from "./topics.ts";

const SOURCE: LiveSource = {
  types: ["jobs"],
  follow: () => Promise.resolve(),
  unfollow: () => {},
};

/** Returns what ends it. */
export function followJobs(jobs: Pick<Jobs, "onChange">, hub: LiveHub, clock: Clock): () => void {
  void hub.attach(SOURCE); // It has nothing to wait for.
  const unlisten = jobs.onChange((job, project) =>
    hub.publish(projectKey("jobs", project), job as unknown as Json, clock.nowMs())
  );
  return () => {
    unlisten();
    hub.detach(SOURCE);
  };
}
