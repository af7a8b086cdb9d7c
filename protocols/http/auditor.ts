/**
 * One row of the audit for each write through the API: who, what, from where, and what became of it.
 * A change of the registry has its row in its own transaction; for everything else it is appended
 * before the answer goes out. Refusals are bounded by network and in all, those beyond only counted.
 */
import { type AuditActor, type AuditEntry } from "../../actors/audit/audit_row.ts";
import type { AuditLog } from "../../actors/audit/audit_log.ts";
import { AuditScope, withinScope } from "../../actors/audit/audit_scope.ts";
import { DEFAULT_PROJECT } from "../../actors/registry/registry_store.ts";
import type { Clock } from "../../runtime/clock.ts";
import { messageOf } from "../../runtime/errors.ts";
import { LIMITS } from "../../runtime/limits.ts";
import type { Logger } from "../../runtime/logger.ts";
import { parseDocument } from "./json_document.ts";
import type { Caller } from "./ports.ts";
import { problemOf } from "./problem.ts";
import type { Route } from "./route.ts";
import { TokenBuckets } from "./token_buckets.ts";

export interface AuditedRequest {
  readonly caller: Caller | undefined;
  readonly url: URL;
  /** Its body, where it has been read. */
  readonly bytes: Uint8Array;
  readonly remote: string;
}

/** Fields whose values are secrets wherever they stand. */
const SECRET_FIELD = /password|passphrase|secret|token|private|masterKey/i;
const HIDDEN = "(hidden)";
const API = "/api/v1/";
const OBJECT_CHARACTERS_MAX = 512;
const ALL = "all";

export class Auditor {
  readonly #audit: Pick<AuditLog, "append">;
  readonly #logger: Logger;
  readonly #byNetwork: TokenBuckets;
  readonly #ofAll: TokenBuckets;
  /** Refusals without a row, since the last one with it. */
  #uncounted = 0;

  constructor(audit: Pick<AuditLog, "append">, clock: Clock, logger: Logger) {
    this.#audit = audit;
    this.#logger = logger;
    const perMinute = (burst: number) => ({ perSecond: burst / 60, burst });
    this.#byNetwork = new TokenBuckets(
      perMinute(LIMITS.auditFailuresPerNetworkMax),
      clock,
      LIMITS.httpCallersMax,
    );
    this.#ofAll = new TokenBuckets(perMinute(LIMITS.auditFailuresMax), clock, 1);
  }

  /** Does it, and writes its row; what is thrown goes on. */
  async serve(
    route: Route,
    request: AuditedRequest,
    handle: () => Promise<Response> | Response,
  ): Promise<Response> {
    if (!isAudited(route)) return await handle();
    const scope = new AuditScope(entryOf(route, request));
    try {
      const response = await withinScope(scope, async () => await handle());
      if (response.status >= 400) await this.refused(scope.entry, `status-${response.status}`);
      else if (!scope.isWritten) await this.#append(scope.entry, "ok");
      return response;
    } catch (fault) {
      const code = problemOf(fault)?.code ?? "internal";
      // A store that took no change takes no row of it either.
      if (code === "unavailable") this.#lost(scope.entry, code, fault);
      else if (!scope.isWritten) await this.refused(scope.entry, code);
      throw fault;
    }
  }

  /** A write that its caller may not do: it came to no handler. */
  async forbidden(route: Route, request: AuditedRequest, fault: unknown): Promise<void> {
    if (!isAudited(route) || request.caller === undefined) return;
    await this.refused(entryOf(route, request), problemOf(fault)?.code ?? "internal");
  }

  async refused(entry: AuditEntry, outcome: string): Promise<void> {
    const hasRoom = this.#byNetwork.take(entry.remote).isAllowed && this.#ofAll.take(ALL).isAllowed;
    if (!hasRoom) {
      this.#uncounted++;
      return;
    }
    const uncounted = this.#uncounted;
    this.#uncounted = 0;
    const detail = uncounted === 0
      ? entry.detail
      : { ...entry.detail as object, refusalsWithoutRow: uncounted };
    await this.#append({ ...entry, detail }, outcome);
  }

  async #append(entry: AuditEntry, outcome: string): Promise<void> {
    try {
      await this.#audit.append(entry, outcome);
    } catch (fault) { // What was done is done: its caller is told so all the same.
      this.#lost(entry, outcome, fault);
    }
  }

  #lost({ action, object }: AuditEntry, outcome: string, fault: unknown): void {
    this.#logger.error("audit row lost", { action, object, outcome, fault: messageOf(fault) });
  }
}

function isAudited({ method, policy, path }: Route): boolean {
  return method !== "get" && policy.type !== "device" && path.startsWith(API);
}

function entryOf(route: Route, { caller, url, bytes, remote }: AuditedRequest): AuditEntry {
  const parsed = bytes.length === 0 ? undefined : parseDocument(bytes);
  const body = parsed?.ok === true ? parsed.value : undefined;
  const query = Object.fromEntries(url.searchParams);
  const asked = Object.keys(query).length === 0 ? body ?? {} : { query, body };
  return {
    project: caller?.project ?? DEFAULT_PROJECT,
    actor: actorOf(caller, body),
    action: route.action,
    object: url.pathname.slice(API.length, API.length + OBJECT_CHARACTERS_MAX),
    detail: bounded(withoutSecrets(asked)),
    remote,
  };
}

/** Of a log-in: the name that was tried. */
function actorOf(caller: Caller | undefined, body: unknown): AuditActor {
  if (caller !== undefined) return { type: caller.type, id: caller.id, name: caller.name };
  const name = (body as { name?: unknown } | undefined)?.name;
  const tried = typeof name === "string" ? name.slice(0, LIMITS.nameCharactersMax) : "";
  return { type: "user", id: "", name: tried.toWellFormed() };
}

function withoutSecrets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutSecrets);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [
      name,
      SECRET_FIELD.test(name) ? HIDDEN : withoutSecrets(field),
    ]),
  );
}

/** A long one by the names of its fields. */
function bounded(detail: unknown): unknown {
  const { length } = JSON.stringify(detail);
  if (length <= LIMITS.auditDetailCharactersMax) return detail;
  const names = Array.isArray(detail) ? [] : Object.keys(detail as object);
  const fields = names.slice(0, 20).map((name) => name.slice(0, 64));
  return { fields, characters: length };
}
