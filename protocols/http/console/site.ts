/**
 * Serves the console, and until it is built the page that says so. Assets are immutable and
 * compressed ahead; every path of a page of the console answers with its one document.
 */
import { messageOf } from "../../../runtime/errors.ts";
import type { Clock } from "../../../runtime/clock.ts";
import type { Logger } from "../../../runtime/logger.ts";
import type { BuildProgress } from "./build_progress.ts";
import { loadSiteFiles, type SiteFile, type SiteFiles } from "./site_files.ts";
import {
  languageOf,
  WAITING_PROGRESS_PATH,
  WAITING_SCRIPT,
  WAITING_SCRIPT_PATH,
  WAITING_STYLE,
  WAITING_STYLE_PATH,
  waitingPage,
  waitingView,
} from "./waiting_page.ts";

/**
 * Nothing inline, nothing evaluated, nothing from elsewhere. Styles that scripts set go through
 * CSSOM, which needs no `unsafe-inline`. Pictures: `blob:` for what the API gives and charts save,
 * `data:` for those of the style sheet.
 */
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; " +
  "img-src 'self' blob: data:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; " +
  "form-action 'self'; frame-ancestors 'none'; object-src 'none'";

const HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy": POLICY,
  "cross-origin-opener-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
};

/** Paths of others, where no page of the console can be. */
const FOREIGN = /^\/(?:api|ingest|docs|openapi\.json|livez|readyz|metrics|assets)(?:\/|$)/;
const DOCUMENT = "index.html";
/** Between two looks for a build that somebody else may have made. */
const LOOK_MS = 2_000;

export interface SiteOptions {
  readonly clock: Clock;
  readonly logger: Logger;
}

export class ConsoleSite {
  readonly #options: SiteOptions;
  #files: SiteFiles | undefined;
  #progress: BuildProgress = { phase: "looking" };
  /** Where the build of the current sources will be, once that is known. */
  #folder: URL | undefined;
  #lookedAtMs = -LOOK_MS;

  constructor(options: SiteOptions) {
    this.#options = options;
  }

  get progress(): BuildProgress {
    return this.#progress;
  }

  set progress(progress: BuildProgress) {
    if (this.#files === undefined && progress.phase !== "ready") {
      this.#progress = progress;
    }
  }

  /** @returns Whether the build is there; it is served from then on. */
  async open(folder: URL): Promise<boolean> {
    this.#folder = folder;
    const files = await loadSiteFiles(folder);
    if (files === undefined) return false;
    this.#files = files;
    this.#progress = { phase: "ready" };
    return true;
  }

  /** Undefined: the path is none of the console's. */
  async respond(request: Request, path: string): Promise<Response | undefined> {
    if (request.method !== "GET" && request.method !== "HEAD") return undefined;
    if (this.#files === undefined) await this.#look();
    const files = this.#files;
    if (files === undefined) return this.#waiting(request, path);
    if (path === WAITING_PROGRESS_PATH) return this.#view(request);
    const file = files.get(path.slice(1));
    if (file !== undefined && path !== `/${DOCUMENT}`) {
      return send(file, request);
    }
    const isPage = path === "/" ||
      (!FOREIGN.test(path) && acceptsPage(request));
    return isPage ? send(files.get(DOCUMENT)!, request) : undefined;
  }

  /** A person may have made the build by hand, after the one at the start had failed. */
  async #look(): Promise<void> {
    const { clock, logger } = this.#options;
    const nowMs = clock.monotonicMs();
    if (this.#folder === undefined || nowMs - this.#lookedAtMs < LOOK_MS) {
      return;
    }
    this.#lookedAtMs = nowMs;
    try {
      await this.open(this.#folder);
    } catch (fault) {
      logger.warn("console cannot be read", { fault: messageOf(fault) });
    }
  }

  #waiting(request: Request, path: string): Response | undefined {
    if (path === WAITING_PROGRESS_PATH) return this.#view(request);
    if (path === WAITING_SCRIPT_PATH) {
      return small(WAITING_SCRIPT, "text/javascript");
    }
    if (path === WAITING_STYLE_PATH) return small(WAITING_STYLE, "text/css");
    if (path !== "/" && (FOREIGN.test(path) || !acceptsPage(request))) {
      return undefined;
    }
    const language = languageOf(request.headers.get("accept-language"));
    return small(waitingPage(this.#progress, language), "text/html");
  }

  #view(request: Request): Response {
    const language = languageOf(request.headers.get("accept-language"));
    return small(
      JSON.stringify(waitingView(this.#progress, language)),
      "application/json",
    );
  }
}

function small(text: string, type: string): Response {
  const headers = {
    "content-type": `${type}; charset=utf-8`,
    "cache-control": "no-store",
  };
  return new Response(text, { headers: { ...HEADERS, ...headers } });
}

function send(file: SiteFile, request: Request): Response {
  const headers = new Headers(HEADERS);
  headers.set("etag", file.etag);
  headers.set("vary", "accept-encoding");
  headers.set(
    "cache-control",
    file.isImmutable ? "public, max-age=31536000, immutable" : "no-cache",
  );
  if (isKnown(request, file.etag)) {
    return new Response(null, { status: 304, headers });
  }
  headers.set("content-type", file.type);
  const accepted = request.headers.get("accept-encoding") ?? "";
  const isBr = file.br !== undefined && accepts(accepted, "br");
  const isGz = !isBr && file.gz !== undefined && accepts(accepted, "gzip");
  if (isBr) headers.set("content-encoding", "br");
  else if (isGz) headers.set("content-encoding", "gzip");
  return new Response(isBr ? file.br : isGz ? file.gz : file.plain, {
    headers,
  });
}

function isKnown(request: Request, etag: string): boolean {
  const tags = request.headers.get("if-none-match")?.split(",").map((tag) => tag.trim());
  return tags?.some((tag) => tag === etag || tag === `W/${etag}` || tag === "*") ?? false;
}

/** `gzip;q=0` refuses it. */
function accepts(header: string, encoding: string): boolean {
  return header.split(",").some((part) => {
    const [name, weight] = part.trim().split(/\s*;\s*q=/);
    return name === encoding && Number(weight ?? 1) > 0;
  });
}

/** A navigation of a browser; programs that ask for an unknown path get a problem document. */
function acceptsPage(request: Request): boolean {
  return request.headers.get("accept")?.includes("text/html") ?? false;
}
