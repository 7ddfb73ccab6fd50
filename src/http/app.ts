// The request handler: authenticates readers, serves repository files directly, passes everything else to the Koa routes.
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { RepositoryName } from "../base/names.ts";
import { NotCached } from "../publishing/resource.ts";
import type { ServedRepository } from "../publishing/served-repository.ts";
import { AccessLog } from "./access-log.ts";
import type { Reader, ReaderLimits } from "./basic-auth.ts";
import { BasicAuth, defaultReaderLimits } from "./basic-auth.ts";
import { pathToRoot, wantsHtml } from "./browsers.ts";
import type { ConnectionLimits } from "./connections.ts";
import { defaultConnectionLimits } from "./connections.ts";
import type { ErrorPage, ErrorResponse } from "./error-responses.ts";
import { errorResponseOf, HttpError, methodNotAllowed, sendErrorResponse } from "./error-responses.ts";
import type { MirrorLimits, SharedSessions } from "./mirror-sessions.ts";
import { defaultMirrorLimits, MirrorSessions } from "./mirror-sessions.ts";
import { isKey, isRepositoryPage } from "./page-paths.ts";
import type { PingLimits } from "./ping-endpoint.ts";
import { defaultPingLimits } from "./ping-endpoint.ts";
import type { ClientCounter } from "./rate-limiter.ts";
import { RateLimiterMemory } from "./rate-limiter.ts";
import type { RequestObserver } from "./request-context.ts";
import { HttpRequestContext } from "./request-context.ts";
import type { Routes, RoutesOptions } from "./routes.ts";
import type { Audience } from "./send-resource.ts";
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

/** What several servers of one fleet know together about clients. */
export interface FleetMemory {
  /**
   * Opens a counter that all servers share; setting its `points` changes its limit.
   * @param name distinguishes it from other counters
   * @param durationSeconds how long after its first event a client begins anew
   */
  readonly counter: (name: string, durationSeconds: number) => ClientCounter;
  readonly sessions: SharedSessions;
  /** @returns why clients should use other servers; undefined if this one knows all that the others announce */
  readonly notReady: () => string | undefined;
}

export interface AppOptions
  extends CommonOptions,
    Omit<RoutesOptions, "pingLimits" | "pingRateOf" | "fleetNotReady" | "log" | "behindProxy"> {
  /** Undefined: this is the only server. Must be the same in all options of an app. */
  readonly fleet?: FleetMemory | undefined;
  /** A repository with readers is private: only they can read it. */
  readonly readers?: ReadonlyMap<RepositoryName, readonly Reader[]>;
}

/** An app in a process that has only files, and passes all other requests on to the process that publishes them. */
export interface ForwardingAppOptions extends CommonOptions {
  /** Public repositories only. */
  readonly repositories: ReadonlyMap<RepositoryName, RepositoryFiles>;
  /** Answers a request elsewhere. @throws HttpError if that is impossible; then nothing is sent */
  readonly forward: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  /** The sessions of clients in the other processes with the same repositories. */
  readonly sessions: SharedSessions;
}

type RepositoryFiles = Pick<ServedRepository, "name" | "findNow" | "find">;

interface CommonOptions {
  readonly limits?: Partial<HttpLimits>;
  /** Whether requests come from a trusted proxy, which sets X-Forwarded-Proto and appends the client to X-Forwarded-For. */
  readonly behindProxy?: boolean;
  readonly observer: RequestObserver;
  readonly clock: Clock;
  readonly log: Log;
  /**
   * Renders the page that browsers get for an error.
   * @param root the path from the page to the front page
   * @param repository the repository that the request was for, if the client may know that it exists
   * @returns undefined: they get the same text as other clients, as without this function
   */
  readonly errorPage?: (
    error: ErrorResponse,
    root: string,
    repository: RepositoryName | undefined,
  ) => ErrorPage | undefined | Promise<ErrorPage>;
  /** Receives a line for each request; none by default. */
  readonly accessLog?: Log | undefined;
  /**
   * Called with each unexpected error, which is answered with status 500 unless this returns another error to answer
   * with.
   */
  readonly unexpected?: (thrown: unknown) => HttpError | undefined;
}

export interface App<Options = AppOptions> {
  /** The request handler; `startServer` makes it listen on a port. */
  readonly listener: RequestListener;
  readonly sessions: MirrorSessions;
  /** Answers requests that come from now on by other options. Sessions and counts of failed logins and pings stay. */
  reconfigure(options: Options): void;
}

/** Loads the Koa routes. They take a tenth of a start, and the first answer to apt needs none of them. */
export const loadRoutes = () => import("./routes.ts");

export function createApp<Options extends AppOptions | ForwardingAppOptions>(options: Options): App<Options> {
  const memory = new ClientMemory(options);
  let answer = handlerOf(options, memory);
  return {
    listener: (request, response) => answer(request, response),
    sessions: memory.sessions,
    reconfigure(changed) {
      answer = handlerOf(changed, memory);
    },
  };
}

/** All limits of clients are for a minute. */
const countedSeconds = 60;

/** Sessions, failed logins and pings of clients, which outlive a change of the options. */
class ClientMemory {
  readonly sessions: MirrorSessions;
  readonly failedLogins: ClientCounter;
  readonly #pingRates = new Map<RepositoryName, ClientCounter>();
  readonly #fleet: FleetMemory | undefined;

  constructor(options: AppOptions | ForwardingAppOptions) {
    const { limits, behindProxy = false, clock } = options;
    this.#fleet = "forward" in options ? undefined : options.fleet;
    this.failedLogins = this.#openCounter("failed-logins");
    const shared = "forward" in options ? options.sessions : this.#fleet?.sessions;
    this.sessions = new MirrorSessions({ ...defaultHttpLimits, ...limits }, { behindProxy, clock, shared });
  }

  configure(limits: HttpLimits, behindProxy: boolean): void {
    this.sessions.configure(limits, behindProxy);
    this.failedLogins.points = limits.failedLoginsPerMinute;
    for (const rate of this.#pingRates.values()) rate.points = limits.pingsPerMinute;
  }

  pingRateOf(name: RepositoryName, { pingsPerMinute }: PingLimits): ClientCounter {
    const known = this.#pingRates.get(name) ?? this.#openCounter(`pings:${name}`);
    known.points = pingsPerMinute;
    this.#pingRates.set(name, known);
    return known;
  }

  #openCounter(name: string): ClientCounter {
    if (this.#fleet !== undefined) return this.#fleet.counter(name, countedSeconds);
    return new RateLimiterMemory({ points: 0, duration: countedSeconds });
  }
}

/** Answers a request that is not for a file. */
type AnswerOther = (
  request: IncomingMessage,
  response: ServerResponse,
  received: {
    readonly context: HttpRequestContext;
    readonly audience: Audience;
    readonly fail: (thrown: unknown) => void;
  },
) => Promise<void>;

function routesOf(options: AppOptions, memory: ClientMemory, limits: HttpLimits, basicAuth: BasicAuth): AnswerOther {
  const { tokens, metricsToken, publicUrl, behindProxy, metrics, furtherRoutes, fleet, log } = options;
  const openRoutes = async (): Promise<Routes> => {
    const { createRoutes } = await loadRoutes();
    return createRoutes(
      {
        repositories: options.repositories,
        tokens,
        pingLimits: limits,
        pingRateOf: (name) => memory.pingRateOf(name, limits),
        metricsToken,
        publicUrl,
        behindProxy: behindProxy ?? false,
        metrics,
        log,
        ...(fleet !== undefined && { fleetNotReady: fleet.notReady }),
        ...(furtherRoutes !== undefined && { furtherRoutes }),
      },
      basicAuth,
    );
  };
  let routes: Promise<Routes> | undefined;
  return async (request, response, received) => {
    response.setHeader("X-Request-Id", received.context.id);
    routes ??= openRoutes();
    (await routes)(request, response, received);
  };
}

function forwarding({ forward }: ForwardingAppOptions): AnswerOther {
  return async (request, response, { context }) => {
    context.isPassedOn = true;
    try {
      await forward(request, response);
    } catch (thrown) {
      context.isPassedOn = false;
      throw thrown;
    }
  };
}

function handlerOf(options: AppOptions | ForwardingAppOptions, memory: ClientMemory): RequestListener {
  const limits = { ...defaultHttpLimits, ...options.limits };
  const { log, behindProxy = false, unexpected, errorPage } = options;
  const isForwarding = "forward" in options;
  const readers = isForwarding ? undefined : options.readers;
  memory.configure(limits, behindProxy);
  const accessLog = options.accessLog === undefined ? undefined : new AccessLog(options.accessLog, behindProxy);
  const contextOptions = { clock: options.clock, observer: options.observer, behindProxy, accessLog };
  const { sessions, failedLogins: failures } = memory;
  const basicAuth = new BasicAuth(readers ?? new Map(), limits, { behindProxy, log, failures });
  const repositories: ReadonlyMap<string, RepositoryFiles> = options.repositories;
  const answerOther = isForwarding ? forwarding(options) : routesOf(options, memory, limits, basicAuth);

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const context = new HttpRequestContext(request, response, contextOptions, sessions.of(request));
    const failing = (thrown: unknown): void => void fail(thrown, context, response);
    try {
      checkHostHeader(request);
      const { mount, rest, trailingSlash } = context.path();
      const repository = repositories.get(mount);
      const audience = repository !== undefined && basicAuth.isPrivate(mount) ? "private" : "public";
      if (audience === "private" && !isKey(rest)) await basicAuth.admit(mount, request, context.id);
      const toRoutes = () => answerOther(request, response, { context, audience, fail: failing });
      // Nearly all requests are for repository files: they bypass Koa, which is much slower.
      if (repository === undefined || isRepositoryPage(mount, rest)) return await toRoutes();
      context.setFirstByteTimeout(limits.firstByteTimeoutMs);
      // Browsers get pages of directories; other clients never found anything there.
      if (trailingSlash && wantsHtml(request)) return await toRoutes();
      checkMethod(request);
      const resource = trailingSlash
        ? undefined
        : (repository.findNow(rest, context.session) ?? (await repository.find(rest, context)));
      if (resource !== undefined) {
        const field = context.session?.publicationField;
        if (field !== undefined) response.setHeader(...field);
        return await sendResource(resource, request, response, context, audience);
      }
      if (isForwarding || (!trailingSlash && wantsHtml(request))) return await toRoutes();
      throw new HttpError("request/not-found", `${repository.name} has no ${rest}`);
    } catch (thrown) {
      if (isForwarding && thrown instanceof NotCached)
        await answerOther(request, response, { context, audience: "public", fail: failing }).catch(failing);
      else await fail(thrown, context, response);
    }
  };

  const fail = async (thrown: unknown, context: HttpRequestContext, response: ServerResponse): Promise<void> => {
    let errorResponse = errorResponseOf(thrown);
    // If the client has disconnected, the failure is only a consequence of that.
    if (errorResponse.status === 500 && !context.signal.aborted) {
      log.error({ requestId: context.id, err: thrown }, "request failed");
      errorResponse = errorResponseOf(unexpected?.(thrown) ?? thrown);
    }
    const page = wantsHtml(response.req) ? await pageOf(errorResponse, context) : undefined;
    sendErrorResponse(response, errorResponse, context.id, page);
  };

  const pageOf = async (
    errorResponse: ErrorResponse,
    { target, mount = "" }: HttpRequestContext,
  ): Promise<ErrorPage | undefined> => {
    // Without a password, nobody learns from a page whether a repository exists.
    const isOutside = errorResponse.status === 401 || errorResponse.status === 429;
    const repository = isOutside ? undefined : repositories.get(mount)?.name;
    try {
      return await errorPage?.(errorResponse, pathToRoot(target), repository);
    } catch {
      // Browsers then get the text that other clients get.
      return undefined;
    }
  };

  return (request, response) => void answer(request, response);
}

/** Matches a host with an optional port, and the empty string. @see RFC 3986 3.2.2 */
const hostField = /^(?:\[[0-9a-f:.]+\]|[a-z0-9._~!$&'()*+,;=%-]*)(?::\d*)?$/i;

/**
 * Rejects several Host headers: a proxy in front of the server might use another one than the server does.
 * @throws HttpError
 * @see RFC 9112 3.2
 */
function checkHostHeader({ rawHeaders, headers }: IncomingMessage): void {
  let count = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at];
    if (name?.length === 4 && name.toLowerCase() === "host") count += 1;
  }
  if (count > 1) throw new HttpError("request/malformed", "a request must have exactly one Host header");
  if (!hostField.test(headers.host ?? "")) {
    throw new HttpError("request/malformed", "the Host header is not a host with an optional port");
  }
}

/** @throws HttpError */
function checkMethod({ method = "" }: IncomingMessage): void {
  if (method !== "GET" && method !== "HEAD") throw methodNotAllowed(method, "GET, HEAD");
}
