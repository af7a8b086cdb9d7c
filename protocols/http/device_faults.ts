/** What a device is told when something behind its request fails. */
import { messageOf } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";
import { problemOf, problemResponse } from "./problem.ts";

/** A known problem as such; anything else is logged, and told without its words. */
export function faultResponse(fault: unknown, instance: string, logger: Logger): Response {
  const problem = problemOf(fault);
  if (problem !== undefined) {
    return problemResponse(problem.code, problem.message, instance, problem.options);
  }
  logger.error("http request failed", { path: instance, fault: messageOf(fault) });
  return problemResponse("internal", "The request failed; the log says why", instance);
}
