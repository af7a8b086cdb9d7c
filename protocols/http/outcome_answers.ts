/** Refusals of the registry as problems. */
import { ConflictError, InvalidError, NotFoundError } from "../../runtime/errors.ts";
import type { Outcome } from "../../actors/registry/outcome.ts";
import { ProblemError } from "./problem.ts";

/**
 * The value of an accepted outcome.
 * @param prefix Put before the paths of issues: `query.` for what stood in the URL.
 * @throws {InvalidError | NotFoundError | ConflictError | ProblemError} As the refusal says.
 */
export function valueOf<T>(outcome: Outcome<T>, prefix = ""): T {
  if (outcome.ok) return outcome.value;
  switch (outcome.code) {
    case "invalid": {
      const issues = outcome.issues.map((issue) => ({ ...issue, path: prefix + issue.path }));
      throw new InvalidError(outcome.message, issues);
    }
    case "not_found":
      throw new NotFoundError(outcome.message);
    case "exists":
    case "in_use":
      throw new ConflictError(outcome.message);
    case "breaking":
      throw new ProblemError("breaking-change", outcome.message, { members: outcome.facts ?? {} });
    case "stale":
      throw new ProblemError("precondition-failed", outcome.message);
  }
}
