/** What went wrong with a request, as pages show it. */

/** RFC 9457, as the API writes it. */
export interface ProblemDocument {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly hint?: string;
  readonly errors?: readonly {
    readonly path: string;
    readonly rule: string;
    readonly message: string;
  }[];
  readonly changes?: unknown;
}

export class ApiError extends Error {
  /** 0: no answer came. */
  readonly status: number;
  readonly problem: ProblemDocument | undefined;
  readonly requestId: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(options: {
    readonly status: number;
    readonly problem?: ProblemDocument | undefined;
    readonly requestId?: string | undefined;
    readonly retryAfterMs?: number | undefined;
  }) {
    super(options.problem?.detail ?? `HTTP ${options.status}`);
    this.name = "ApiError";
    this.status = options.status;
    this.problem = options.problem;
    this.requestId = options.requestId;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** `conflict` of `urn:roost:problem:conflict`. */
  get code(): string {
    return this.problem?.type.split(":").at(-1) ??
      (this.status === 0 ? "unreachable" : "unknown");
  }
}
