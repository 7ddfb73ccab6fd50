// One request from its arrival to its end: what it asks for, whether somebody still waits for it, and how it went.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "../base/clock.ts";
import type { ClientSession, RequestContext } from "../publishing/served-repository.ts";
import { HttpError } from "./error-responses.ts";
import { isOwnPage } from "./repository-pages.ts";
import type { RequestPath } from "./request-path.ts";
import { parseRequestPath } from "./request-path.ts";

/** What requests are counted by. */
export type RequestClass = "index" | "by-hash" | "package" | "ping" | "page" | "other";

/** Told of every request once its reply is complete, or was cut. */
export interface RequestObserver {
  answered(requestClass: RequestClass, status: number | "cut", durationSeconds: number): void;
}

const clientGone = new Error("the client went away");

/**
 * Made at the arrival of a request, which it watches from then on. A class for a reason: V8 gives each object literal
 * with an accessor a shape of its own, which outlives two collections and made up half of all the work.
 */
export class HttpRequestContext implements RequestContext {
  readonly session: ClientSession | undefined;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #clock: Clock;
  readonly #observer: RequestObserver;
  readonly #startedMs: number;
  // Few replies have to be waited for, and making this costs more than all the rest of watching.
  #asking: AbortController | undefined = undefined;
  #path: RequestPath | undefined = undefined;
  #deadline: NodeJS.Timeout | undefined = undefined;
  #patienceMs: number | undefined = undefined;
  #ended = false;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    { clock, observer }: { readonly clock: Clock; readonly observer: RequestObserver },
    session: ClientSession | undefined,
  ) {
    this.session = session;
    this.#request = request;
    this.#response = response;
    this.#clock = clock;
    this.#observer = observer;
    this.#startedMs = clock();
    const end = () => this.#end();
    response.on("close", end);
    // A pipelined request whose turn has not come hears of its connection's end only here.
    request.on("aborted", end);
  }

  /** Aborted when the client goes away, or when nothing could be sent in time. Made when it is first asked for. */
  get signal(): AbortSignal {
    if (this.#asking !== undefined) return this.#asking.signal;
    const controller = new AbortController();
    this.#asking = controller;
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

  /** Gives up when no reply has begun so long after its turn on the connection came and the signal was asked for. */
  mustHearWithin(milliseconds: number): void {
    this.#patienceMs = milliseconds;
  }

  #setDeadline(controller: AbortController): void {
    if (this.#patienceMs === undefined || this.#ended) return;
    this.#deadline = setTimeout(() => {
      if (!this.#response.headersSent)
        controller.abort(new HttpError("server/slow-source", "the source gave nothing in time"));
    }, this.#patienceMs);
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#deadline);
    const complete = this.#response.writableFinished;
    if (!complete) this.#asking?.abort(clientGone);
    const seconds = (this.#clock() - this.#startedMs) / 1000;
    this.#observer.answered(classOf(this.#path), complete ? this.#response.statusCode : "cut", seconds);
  }
}

function classOf(path: RequestPath | undefined): RequestClass {
  if (path === undefined) return "other";
  const { mount, rest } = path;
  if (mount === "-") return "ping";
  if (mount === "metrics" || mount === "healthz" || mount === "readyz") return "other";
  if (isOwnPage(mount, rest)) return "page";
  if (rest.includes("/by-hash/")) return "by-hash";
  return rest.startsWith("dists/") || !/\.([du]?deb|dsc|tar\.[a-z0-9]+|diff\.gz|asc)$/.test(rest) ? "index" : "package";
}
