// The context of one request: its path, an abort signal, and its outcome for the metrics.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "../base/clock.ts";
import type { RequestContext } from "../publishing/served-repository.ts";
import type { AccessLog, RequestEnd } from "./access-log.ts";
import { HttpError } from "./error-responses.ts";
import type { RequestSession } from "./mirror-sessions.ts";
import { isRepositoryPage } from "./page-paths.ts";
import { requestIdOf } from "./request-id.ts";
import type { RequestPath } from "./request-path.ts";
import { parseRequestPath } from "./request-path.ts";

/** The classes by which metrics count requests. */
export type RequestClass = "index" | "by-hash" | "package" | "ping" | "page" | "other";

/** Receives the outcome of each request. */
export interface RequestObserver {
  /** Called when the response is complete or was cut. */
  answered(
    requestClass: RequestClass,
    status: number | "cut",
    durationSeconds: number,
    /** The first name of the path, which may be that of a repository. */
    mount: string | undefined,
  ): void;
}

const clientGone = new Error("the client disconnected");

/**
 * Created when a request arrives. It is a class because V8 gives each object literal with an accessor its own hidden
 * class; those survived two garbage collections and cost half of the CPU time.
 */
export class HttpRequestContext implements RequestContext {
  /** In each log line about the request, and in its response. */
  readonly id: string;
  readonly session: RequestSession | undefined;
  /** Whether another process answers the request: then that one counts and logs it, and limits its duration. */
  isPassedOn = false;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #clock: Clock;
  readonly #observer: RequestObserver;
  readonly #startedMs: number;
  readonly #logEnd: ((end: RequestEnd) => void) | undefined;
  // Created on demand: few responses need it, and creating it costs more than the rest of this class.
  #controller: AbortController | undefined = undefined;
  #path: RequestPath | undefined = undefined;
  #deadline: NodeJS.Timeout | undefined = undefined;
  #firstByteTimeoutMs: number | undefined = undefined;
  #ended = false;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    {
      clock,
      observer,
      behindProxy,
      accessLog,
    }: {
      readonly clock: Clock;
      readonly observer: RequestObserver;
      readonly behindProxy: boolean;
      readonly accessLog: AccessLog | undefined;
    },
    session: RequestSession | undefined,
  ) {
    this.id = requestIdOf(request, behindProxy);
    this.session = session;
    this.#request = request;
    this.#response = response;
    this.#clock = clock;
    this.#observer = observer;
    this.#startedMs = clock();
    this.#logEnd = accessLog?.begin(request, response);
    const end = () => this.#end();
    response.on("close", end);
    // The response of a pipelined request that is still queued emits no "close" when the connection ends.
    request.on("aborted", end);
  }

  /** Aborted when the client disconnects, or when the first byte was not sent in time. */
  get signal(): AbortSignal {
    if (this.#controller !== undefined) return this.#controller.signal;
    const controller = new AbortController();
    this.#controller = controller;
    const response = this.#response;
    if (this.#ended && !response.writableFinished) controller.abort(clientGone);
    if (response.socket === null) response.once("socket", () => this.#setDeadline(controller));
    else this.#setDeadline(controller);
    return controller.signal;
  }

  /** @throws HttpError */
  path(): RequestPath {
    this.#path ??= parseRequestPath(this.#request.url ?? "");
    return this.#path;
  }

  /** The first name of the path; undefined if the path is malformed. */
  get mount(): string | undefined {
    return this.#path?.mount;
  }

  /** The request target as sent. */
  get target(): string {
    return this.#request.url ?? "";
  }

  /** Aborts the signal if no response has begun this long after it could be sent and the signal was first read. */
  setFirstByteTimeout(milliseconds: number): void {
    this.#firstByteTimeoutMs = milliseconds;
  }

  #setDeadline(controller: AbortController): void {
    if (this.#firstByteTimeoutMs === undefined || this.#ended) return;
    this.#deadline = setTimeout(() => {
      if (!this.#response.headersSent && !this.isPassedOn)
        controller.abort(new HttpError("server/slow-source", "the storage sent no data in time"));
    }, this.#firstByteTimeoutMs);
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#deadline);
    const complete = this.#response.writableFinished;
    if (!complete) this.#controller?.abort(clientGone);
    if (this.isPassedOn) return;
    const seconds = (this.#clock() - this.#startedMs) / 1000;
    const status = complete ? this.#response.statusCode : "cut";
    this.#observer.answered(classOf(this.#path), status, seconds, this.#path?.mount);
    this.#logEnd?.({ requestId: this.id, path: pathOf(this.#path), isComplete: complete, seconds });
  }
}

const pathOf = (path: RequestPath | undefined): string | undefined =>
  path && `/${path.mount}${path.rest === "" ? "" : `/${path.rest}`}${path.trailingSlash ? "/" : ""}`;

function classOf(path: RequestPath | undefined): RequestClass {
  if (path === undefined) return "other";
  const { mount, rest, trailingSlash } = path;
  if (mount === "-") return "ping";
  if (mount === "metrics" || mount === "healthz" || mount === "readyz") return "other";
  if (trailingSlash || isRepositoryPage(mount, rest)) return "page";
  if (rest.includes("/by-hash/")) return "by-hash";
  return rest.startsWith("dists/") || !/\.([du]?deb|dsc|tar\.[a-z0-9]+|diff\.gz|asc)$/.test(rest) ? "index" : "package";
}
