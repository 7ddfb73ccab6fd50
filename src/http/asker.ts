// One request from its arrival to its end: what it asks for, whether somebody still waits for it, and how it went.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "../base/clock.ts";
import { isOwnPage } from "./getting-started.ts";
import { RequestRefused } from "./problems.ts";
import type { RequestPath } from "./request-path.ts";
import { parseRequestPath } from "./request-path.ts";

/** What requests are counted by. */
export type RequestClass = "index" | "by-hash" | "package" | "ping" | "page" | "other";

/** Told of every request once its reply is complete, or was cut. */
export interface RequestObserver {
  answered(requestClass: RequestClass, status: number | "cut", durationSeconds: number): void;
}

export interface Asker {
  /** Aborted when the client goes away, or when nothing could be sent in time. Made when it is first asked for. */
  readonly signal: AbortSignal;
  /** @throws RequestRefused */
  path(): RequestPath;
  /** Gives up when no reply has begun so long after its turn on the connection has come and the signal was asked for. */
  mustHearWithin(milliseconds: number): void;
}

const clientGone = new Error("the client went away");

/** Begins to watch a request. */
export function askerOf(
  request: IncomingMessage,
  response: ServerResponse,
  { clock, observer }: { readonly clock: Clock; readonly observer: RequestObserver },
): Asker {
  const startedMs = clock();
  // Few replies have to be waited for, and making this costs more than all the rest of watching.
  let asking: AbortController | undefined;
  let path: RequestPath | undefined;
  let deadline: NodeJS.Timeout | undefined;
  let patienceMs: number | undefined;
  let ended = false;
  const end = () => {
    if (ended) return;
    ended = true;
    clearTimeout(deadline);
    const complete = response.writableFinished;
    if (!complete) asking?.abort(clientGone);
    observer.answered(classOf(path), complete ? response.statusCode : "cut", (clock() - startedMs) / 1000);
  };
  response.once("close", end);
  // A pipelined request whose turn has not come hears of its connection's end only here.
  request.once("aborted", end);
  const watch = (controller: AbortController) => {
    if (patienceMs === undefined || ended) return;
    deadline = setTimeout(() => {
      if (!response.headersSent)
        controller.abort(new RequestRefused("server/slow-source", "the source gave nothing in time"));
    }, patienceMs);
  };
  return {
    get signal() {
      if (asking !== undefined) return asking.signal;
      const controller = new AbortController();
      asking = controller;
      if (ended && !response.writableFinished) controller.abort(clientGone);
      if (response.socket === null) response.once("socket", () => watch(controller));
      else watch(controller);
      return controller.signal;
    },
    path() {
      path ??= parseRequestPath(request.url ?? "");
      return path;
    },
    mustHearWithin(milliseconds) {
      patienceMs = milliseconds;
    },
  };
}

function classOf(path: RequestPath | undefined): RequestClass {
  if (path === undefined) return "other";
  const { mount, rest } = path;
  if (mount === "-") return "ping";
  if (mount === "metrics" || mount === "healthz" || mount === "readyz") return "other";
  if (isOwnPage(mount, rest)) return "page";
  if (rest.includes("/by-hash/")) return "by-hash";
  return rest.startsWith("dists/") || !/\.(deb|udeb|dsc|tar\.[a-z0-9]+|diff\.gz|asc)$/.test(rest) ? "index" : "package";
}
