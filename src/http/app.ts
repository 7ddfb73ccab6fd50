// The application: who may read, the short way of what APT asks for, routes for all else, an answer to every failure.
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Clock } from "../base/clock.ts";
import type { RepositoryName } from "../base/names.ts";
import type { Resource } from "../publishing/resource.ts";
import type { ServedRepository } from "../publishing/served-repository.ts";
import type { Reader, ReaderLimits } from "./basic-auth.ts";
import { BasicAuth, defaultReaderLimits } from "./basic-auth.ts";
import type { ConnectionLimits } from "./connections.ts";
import { defaultConnectionLimits } from "./connections.ts";
import { HttpError, methodNotAllowed, problemOf, sendProblem, traceOf } from "./error-responses.ts";
import type { MirrorLimits } from "./mirror-sessions.ts";
import { defaultMirrorLimits, MirrorSessions } from "./mirror-sessions.ts";
import type { PingLimits } from "./ping-endpoint.ts";
import { defaultPingLimits } from "./ping-endpoint.ts";
import { isKey, isOwnPage } from "./repository-pages.ts";
import type { RequestObserver } from "./request-context.ts";
import { HttpRequestContext } from "./request-context.ts";
import type { RoutesOptions } from "./routes.ts";
import { createRoutes } from "./routes.ts";
import { defaultFirstByteTimeoutMs, sendResource } from "./send-resource.ts";

export interface HttpLimits extends PingLimits, ReaderLimits, ConnectionLimits, MirrorLimits {
  readonly firstByteTimeoutMs: number;
}

export const defaultHttpLimits: HttpLimits = {
  ...defaultPingLimits,
  ...defaultReaderLimits,
  ...defaultConnectionLimits,
  ...defaultMirrorLimits,
  firstByteTimeoutMs: defaultFirstByteTimeoutMs,
};

export interface AppOptions extends Omit<RoutesOptions, "pingLimits"> {
  /** A repository that has readers here is for them alone. */
  readonly readers?: ReadonlyMap<RepositoryName, readonly Reader[]>;
  /** Whether a proxy of ours tells whom it asks for, as the last one in X-Forwarded-For. */
  readonly behindProxy?: boolean;
  readonly limits?: Partial<HttpLimits>;
  readonly observer: RequestObserver;
  readonly clock: Clock;
  /** Told of what nobody expected, and is answered with 500. */
  readonly unexpected?: (thrown: unknown) => void;
}

/** Makes the application; `startServer` brings it to a port. */
export function createApp(options: AppOptions): RequestListener {
  const limits = { ...defaultHttpLimits, ...options.limits };
  const { log, behindProxy = false, unexpected } = options;
  const desk = new BasicAuth(options.readers ?? new Map(), limits, { behindProxy, log });
  const sessions = new MirrorSessions(limits, { behindProxy, clock: options.clock });
  const repositories: ReadonlyMap<string, ServedRepository> = options.repositories;
  const routes = createRoutes({ ...options, pingLimits: limits }, desk);

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const asker = new HttpRequestContext(request, response, options, sessions.of(request));
    try {
      demandOneHost(request);
      const { mount, rest } = asker.path();
      const repository = repositories.get(mount);
      const audience = repository !== undefined && desk.isPrivate(mount) ? "private" : "public";
      if (audience === "private" && !isKey(rest)) await desk.admit(mount, request);
      // APT's own requests take this short way past Koa: they are nearly all that there is.
      if (repository === undefined || isOwnPage(mount, rest)) {
        routes(request, response, { asker, audience, fail: (thrown) => fail(thrown, asker, response) });
        return;
      }
      asker.mustHearWithin(limits.firstByteTimeoutMs);
      await sendResource(await resourceOf(repository, asker, request), request, response, asker, audience);
    } catch (thrown) {
      fail(thrown, asker, response);
    }
  };

  const fail = (thrown: unknown, asker: HttpRequestContext, response: ServerResponse): void => {
    const problem = problemOf(thrown);
    // Who has gone away needs no answer, and what their going broke is no fault.
    if (problem.status === 500 && !asker.signal.aborted) {
      log.error({ code: problem.code, error: traceOf(thrown) }, "a request failed");
      unexpected?.(thrown);
    }
    sendProblem(response, problem);
  };

  return (request, response) => void answer(request, response);
}

/** A host and a port, or nothing. @see RFC 3986 3.2.2 */
const hostField = /^(?:\[[0-9a-f:.]+\]|[a-z0-9._~!$&'()*+,;=%-]*)(?::\d*)?$/i;

/**
 * With two of them, a proxy before us might take another one for the right one than we do.
 * @throws HttpError
 * @see RFC 9112 3.2
 */
function demandOneHost({ rawHeaders, headers }: IncomingMessage): void {
  let count = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at];
    if (name?.length === 4 && name.toLowerCase() === "host") count += 1;
  }
  if (count > 1) throw new HttpError("request/malformed", "a request has one Host header, and not several");
  if (!hostField.test(headers.host ?? "")) {
    throw new HttpError("request/malformed", "the Host header is not a host with an optional port");
  }
}

async function resourceOf(
  repository: ServedRepository,
  asker: HttpRequestContext,
  { method = "" }: IncomingMessage,
): Promise<Resource> {
  if (method !== "GET" && method !== "HEAD") throw methodNotAllowed(method, "GET, HEAD");
  const { rest, trailingSlash } = asker.path();
  const resource = trailingSlash ? undefined : await repository.find(rest, asker);
  if (resource === undefined) throw new HttpError("request/not-found", `${repository.name} has no ${rest}`);
  return resource;
}
